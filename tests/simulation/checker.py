"""What must hold in every run, watched from outside: the messages that leave, the disks, the decided chains."""

from typing import TYPE_CHECKING

from consensus.events import Decision
from consensus.evidence import Evidence
from consensus.identifiers import Address, Digest, Height, Slot
from consensus.messages import Claim, Commit, Message, Prepare, PrePrepare, ViewChange

if TYPE_CHECKING:
    from tests.simulation.network import Host

Step = tuple[Address, Height, Slot]


class Checker:
    """Raises AssertionError at the first step that breaks safety."""

    def __init__(self) -> None:
        self.decided: dict[Height, Digest] = {}
        self.votes: dict[Step, Digest] = {}
        self.commits: dict[Step, Digest] = {}
        self.view_changes: dict[Step, Claim | None] = {}
        self.promises: dict[tuple[Address, Height], Slot] = {}

    def note_decided(self, host: "Host", decision: Decision) -> None:
        """Agreement and validity."""
        known = self.decided.setdefault(decision.height, decision.block)
        assert known == decision.block, f"fork at height {decision.height}"
        assert host.validate(decision.height, decision.proposal) is not None, "an invalid block was decided"

    def note_sent(self, host: "Host", message: Message) -> None:
        """An honest member signs one thing per step, keeps its promises, and sends nothing that is not durable."""
        match message:
            case PrePrepare() | Prepare():
                self._note_step(self.votes, host, message)
                voted = host.disk.sign_state.voted
                assert _covers(host, message, voted), "a vote was sent before it was durable"
                assert host.disk.voted is not None, "a vote was sent before its proposal was durable"
            case Commit():
                self._note_step(self.commits, host, message)
                prepared = host.disk.sign_state.prepared
                assert _covers(host, message, prepared), "a commit was sent before it was durable"
                assert host.disk.prepared is not None, "a commit was sent before its certificate was durable"
            case ViewChange():
                step = (message.signer, message.height, message.slot)
                assert self.view_changes.setdefault(step, message.claim) == message.claim, "two claims for one slot"
                assert host.disk.sign_state.height == message.height, "a promise was sent before it was durable"
                assert host.disk.sign_state.promise >= message.slot, "a promise was sent before it was durable"
                promised = self.promises.get(step[:2], Slot(0))
                self.promises[step[:2]] = max(promised, message.slot)

    def _note_step(self, signed: dict[Step, Digest], host: "Host", message: PrePrepare | Prepare | Commit) -> None:
        step = (host.key.address, message.height, message.slot)
        if step not in signed:
            promise = self.promises.get(step[:2], 0)
            assert message.slot >= promise, f"{type(message).__name__} below the promise"
        assert signed.setdefault(step, message.block) == message.block, f"two {type(message).__name__} in one slot"

    def note_evidence(self, evidence: Evidence, liars: set[Address]) -> None:
        """No honest member is ever accused."""
        assert evidence.signer in liars, f"an honest member was accused of {evidence.offence.value}"


def _covers(host: "Host", message: PrePrepare | Prepare | Commit, claim: Claim | None) -> bool:
    """Says whether the sign state on disk bars any other block at the message's step."""
    if host.disk.sign_state.height != message.height or claim is None:
        return False
    return claim.slot > message.slot or (claim.slot, claim.block) == (message.slot, message.block)
