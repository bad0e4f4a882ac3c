"""What must hold in every run, watched from outside: the messages that leave, the disks, the decided chains."""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from consensus import quorum, verification
from consensus.events import Decision, PreparedBlock
from consensus.evidence import Equivocation, Statement, proven_offence
from consensus.identifiers import Address, Digest, Height, Slot
from consensus.intake import DECIDED_RUN_MAX
from consensus.membership import Membership
from consensus.messages import (
    RELAY_MEMBERS_MAX,
    Body,
    Claim,
    Commit,
    CommitCertificate,
    CommitStatement,
    Endorsement,
    Prepare,
    PrePrepare,
    ViewChange,
    ViewChangeHeader,
    ViewChangeStatement,
    commit_bytes,
    view_change_bytes,
    vote_bytes,
)
from consensus.recovery import AnswerRefusal
from consensus.relaying import RELAYED_PER_SIGNER_MAX
from consensus.tally import SLOTS_PER_SIGNER_MAX
from node.chain.sync_planner import HELD_SIZE_BYTES_MAX, REQUESTS_MAX, WINDOW_BLOCKS
from tests.simulation.application import prepared_in, voted_in

if TYPE_CHECKING:
    from tests.simulation.host import Host
    from tests.simulation.network import Network

REQUEST_DROPPED: Final = "blocks_request_dropped"
BAD_QUESTION: Final = "bad_height_question"

Step = tuple[Address, Height, Slot]

HELD_KINDS: Final = 4
"""Of which one message per signer waits for the next height: PRE-PREPARE, PREPARE, COMMIT, VIEW-CHANGE."""


class Checker:
    """Raises AssertionError at the first step that breaks safety. Lying members are not looked at."""

    def __init__(self) -> None:
        self.decided: dict[Height, Digest] = {}
        self.roots: dict[Height, Digest] = {}
        self.requests: set[bytes] = set()
        """What clients asked for."""
        self.appended: dict[Host, Height] = {}
        """Highest height that each host has written durably."""
        self.answered: dict[Host, list[tuple[bytes, Height]]] = {}
        """What each host's clients were told to be executed, and its height then."""
        self.votes: dict[Step, Digest] = {}
        self.based: set[Step] = set()
        """Votes whose proposal was looked at."""
        self.bound: set[tuple[Address, Height]] = set()
        """Who has signed a vote or VIEW-CHANGE at which height."""
        self.commits: dict[Step, Digest] = {}
        self.forgotten_through = Height(0)
        """What was signed up to this height a long run keeps no more."""
        self.view_changes: dict[Step, Claim | None] = {}
        self.promises: dict[tuple[Address, Height], Slot] = {}

    # --- decisions ------------------------------------------------------------------------------------------------

    def note_decided(self, host: "Host", decision: Decision) -> None:
        """Agreement and validity. Twins decide as the others do: decisions prove themselves."""
        known = self.decided.setdefault(decision.height, decision.block)
        assert known == decision.block, f"fork at height {decision.height}"
        application = host.application
        assert decision.height == application.height + 1, "decided out of order"
        origin = application.check(decision.proposal)
        assert origin is not None, "an invalid block was decided"
        assert origin.slot <= decision.certificate.slot, "a block's header has a later slot than its certificate"
        self._check_certificate(host, decision.certificate)
        invented = set(application.transactions_in(decision.proposal)) - self.requests
        assert not invented, "a block has a request that no client made"

    def _check_certificate(self, host: "Host", certificate: CommitCertificate) -> None:
        """Q members signed these COMMITs, and no honest one of them without sending it."""
        application, height, slot, block = host.application, certificate.height, certificate.slot, certificate.block
        membership = application.memberships().undecided
        assert is_quorum(certificate.endorsements, membership), "a certificate that is none decided"
        signed = commit_bytes(application.eras.at(height).domain, height, slot, block)
        for endorsement in certificate.endorsements:
            key = membership.key_of(endorsement.signer)
            assert key is not None, "a COMMIT of nobody"
            assert verification.verify(key, signed, endorsement.signature), "a forged COMMIT"
            if (
                endorsement.signer in host.network.byzantine
                or len(membership) == 1
                or height <= self.forgotten_through
            ):
                continue  # who is alone sends its COMMIT to nobody
            sent = self.commits.get((endorsement.signer, height, slot))
            is_own = endorsement.signer == host.key.address  # counted as soon as it is durable
            assert sent == block or (is_own and sent is None), "a certificate has a COMMIT that never left its member"

    def note_appended(self, host: "Host") -> None:
        """Equal state roots at every height."""
        height, root = host.application.height, host.application.state_root
        assert self.roots.setdefault(height, root) == root, f"two state roots at height {height}"
        self.appended[host] = max(height, self.appended.get(host, height))

    def note_answered(self, host: "Host", request: bytes) -> None:
        """A client is told that its request is executed."""
        self.answered.setdefault(host, []).append((request, host.application.height))

    def note_started(self, host: "Host") -> None:
        """What was written or answered is there after any crash, but for who is made to lose it."""
        application = host.application
        if application.height:
            assert application.tip == self.decided[application.height], "another chain after a restart"
        if host.may_lose_blocks:
            return
        assert application.height >= self.appended.get(host, 0), "a written block is gone after a restart"
        for request, height in self.answered.get(host, ()):
            assert height <= application.height, "an answered request's block is gone after a restart"
            assert application.is_executed(request), "an answered request is gone after a restart"

    # --- signatures -------------------------------------------------------------------------------------------------

    def note_sent(self, host: "Host", message: object) -> None:
        """An honest member signs one thing per step, keeps its promises, and sends nothing that is not durable."""
        if isinstance(message, PrePrepare | Prepare | Commit | ViewChange) and message.signer != host.key.address:
            return  # passed on: its signer answers for it
        if isinstance(message, PrePrepare | Prepare | Commit | ViewChange):
            self._check_key(host, message)
        match message:
            case PrePrepare() | Prepare():
                self._note_step(self.votes, host, message)
                voted = host.sign_state.voted
                assert _covers(host, message, voted), "a vote was sent before it was durable"
                proposal = voted_in(host.application.records())
                assert proposal is not None, "a vote was sent before its proposal was durable"
                if proposal.slot == message.slot:
                    self._check_basis(host, proposal)
            case Commit():
                self._note_step(self.commits, host, message)
                prepared = host.sign_state.prepared
                assert _covers(host, message, prepared), "a commit was sent before it was durable"
                kept = prepared_in(host.application.records())
                assert kept is not None, "a commit was sent before its certificate was durable"
                self._check_prepared(host, message, kept)
            case ViewChange():
                step = (message.signer, message.height, message.slot)
                self.bound.add(step[:2])
                assert self.view_changes.setdefault(step, message.claim) == message.claim, "two claims for one slot"
                assert host.sign_state.height == message.height, "a promise was sent before it was durable"
                assert host.sign_state.promise >= message.slot, "a promise was sent before it was durable"
                promised = self.promises.get(step[:2], Slot(0))
                self.promises[step[:2]] = max(promised, message.slot)

    @staticmethod
    def _check_key(host: "Host", message: PrePrepare | Prepare | Commit | ViewChange) -> None:
        """It is signed by the key that the members of its height have of its signer."""
        application, height, slot = host.application, message.height, message.slot
        key = application.memberships().undecided.key_of(host.key.address)
        assert key in host.keys, "a statement by who is no member of its height"
        if key == host.key.public_key and host.next_key is None:
            return  # it has no other
        domain = application.eras.at(height).domain
        match message:
            case ViewChange():
                signed = view_change_bytes(domain, height, slot, message.claim)
            case Commit():
                signed = commit_bytes(domain, height, slot, message.block)
            case _:
                signed = vote_bytes(domain, height, slot, message.block)
        assert verification.verify(key, signed, message.signature), "signed by another key than that of its height"
        kind = "old" if key == host.key.public_key else "new"
        host.network.occurred[f"signed under the {kind} key"] += 1

    @staticmethod
    def _check_prepared(host: "Host", commit: Commit, kept: PreparedBlock) -> None:
        """What is durable before a COMMIT shows Q votes of one slot for a block that is at hand, whole."""
        application, certificate = host.application, kept.certificate
        membership = application.memberships().undecided
        assert is_quorum(certificate.endorsements, membership), "a commit without a certificate"
        body = Body(height=certificate.height, block=certificate.block, proposal=kept.proposal)
        assert application.has_its_name(body), "a commit was sent before its body was durable"
        if certificate.slot == commit.slot:
            assert (certificate.height, certificate.block) == (commit.height, commit.block), "another certificate"
            signed = vote_bytes(
                application.eras.at(certificate.height).domain,
                certificate.height,
                certificate.slot,
                certificate.block,
            )
            for endorsement in certificate.endorsements:
                key = membership.key_of(endorsement.signer)
                assert key is not None, "a vote of nobody"
                assert verification.verify(key, signed, endorsement.signature), "a certificate of other than votes"

    def _note_step(self, signed: dict[Step, Digest], host: "Host", message: PrePrepare | Prepare | Commit) -> None:
        step = (host.key.address, message.height, message.slot)
        if step not in signed:
            promise = self.promises.get(step[:2], Slot(0))
            is_kept = message.slot >= promise or (isinstance(message, Commit) and self._is_claimed(message, promise))
            assert is_kept, f"{type(message).__name__} below the promise"
        assert signed.setdefault(step, message.block) == message.block, f"two {type(message).__name__} in one slot"

    def _is_claimed(self, commit: Commit, promise: Slot) -> bool:
        """Says whether the promise's VIEW-CHANGE claimed what is committed to: a crash can keep a COMMIT, which is
        durable before, from leaving earlier.
        """
        claim = self.view_changes[commit.signer, commit.height, promise]
        return claim is not None and (claim.slot, claim.block) == (commit.slot, commit.block)

    def _check_basis(self, host: "Host", proposal: PrePrepare) -> None:
        """A vote is for what was proposed to who is fresh, or for what a justification leads to."""
        step = (host.key.address, proposal.height, proposal.slot)
        if step in self.based:
            return
        self.based.add(step)
        justification, member = proposal.justification, step[:2]
        if justification is None:
            assert member not in self.bound, "a vote without justification by who was not fresh"
        else:
            claims = [header.claim for header in justification.headers if header.claim is not None]
            highest = max(claims, key=lambda claim: claim.slot, default=None)
            assert highest is None or highest.block == proposal.block, "a vote against the highest claim"
            assert is_quorum(justification.headers, host.application.memberships().undecided), (
                "a vote without Q VIEW-CHANGEs"
            )
            assert all(self._is_of(header, host, proposal) for header in justification.headers), "of another slot"
        self.bound.add(member)

    @staticmethod
    def _is_of(header: ViewChangeHeader, host: "Host", proposal: PrePrepare) -> bool:
        application = host.application
        domain = application.eras.at(proposal.height).domain
        signed = view_change_bytes(domain, proposal.height, proposal.slot, header.claim)
        key = application.memberships().undecided.key_of(header.signer)
        return key is not None and verification.verify(key, signed, header.signature)

    def note_refused(self, host: "Host", sender: Address | None, reason: str) -> None:
        """Nothing that an honest member says is refused, but for an answer to a question before a crash, requests for
        blocks beyond the bound, and questions and answers under a key that who is behind does not know yet, or who
        is ahead knows no more.
        """
        is_late = reason in {AnswerRefusal.NOT_ASKED.value, REQUEST_DROPPED}
        is_liar = sender is None or sender in host.network.byzantine
        has_two_keys = any(other.next_key is not None for other in host.network.hosts)
        is_exchanged = has_two_keys and reason in {AnswerRefusal.BAD_SIGNATURE.value, BAD_QUESTION}
        assert is_late or is_liar or is_exchanged, f"an honest member's message is refused: {reason}"

    def note_evidence(self, evidence: Equivocation, network: "Network") -> None:
        """No honest member is ever accused, and what is found proves it to anybody."""
        era = network.hosts[0].application.eras.at(evidence.height)
        keys = {key for host in network.by_address[evidence.offender] for key in host.keys.public_keys}
        found = [offence for key in keys if (offence := proven_offence(evidence, key, era)) is not None]
        assert found, "evidence that proves nothing"
        offence = found[0]
        assert evidence.offender in network.byzantine, f"an honest member was accused of {offence.value}"
        network.occurred[f"evidence of {offence.value}"] += 1

    # --- memory ----------------------------------------------------------------------------------------------

    def note_memory(self, host: "Host") -> None:
        """Nothing that others send makes a replica hold more than its bounds."""
        member, intake = host.replica._member, host.replica._intake
        state, members = member.state, len(member.state.membership)
        kept_max = SLOTS_PER_SIGNER_MAX * members
        for tally in (state.proposals, state.votes, state.commits, state.view_changes):
            assert sum(1 for _ in tally) <= kept_max, "more than two statements of a member and kind"
        assert len(state.waiting) <= members, "more than one proposal of a leader waits"
        # blocks that kept proposals, kept claims, the own two claims or a certificate under way can name
        blocks_max = 2 * kept_max + 2 + quorum.fault_bound(members) + 1
        for blocks in (state.bodies, state.origins, state.bodies_wanted):
            assert len(blocks) <= blocks_max, "more bodies than statements that name them"
        held = Counter((sender, signer) for sender, signer, *_ in intake._held)
        held_max = HELD_KINDS + DECIDED_RUN_MAX
        assert max(held.values(), default=0) <= held_max, "more held messages of one member than bounds allow"
        for sender, signer in held:
            is_relayed = members <= RELAY_MEMBERS_MAX and signer in state.memberships.following
            assert is_relayed or signer == sender, "held is what a stranger signed, or what nobody passes on"
        both = len(state.memberships.addresses)  # who joins with the next height is heard already
        for known in (member.told, member.heard, member.passed_on, member.clocks._reports):
            assert len(known) <= both, "something is kept of who is no member"
        hearing = both + len(state.memberships.followers)
        for known in (member.answered, member.asked):
            assert len(known) <= hearing, "something is kept of who is told nothing"
        assert len(member.answered_over) <= members**2, "more answers over others remembered than could be asked for"
        for slots in state.relayed.values():
            assert len(slots) <= RELAYED_PER_SIGNER_MAX, "more of one signer is passed on than bounds allow"
        planner = host.participant.sync._planner
        assert planner.open_requests <= REQUESTS_MAX, "more requests are open than bounds allow"
        assert len(planner._held) <= WINDOW_BLOCKS, "more blocks are held than bounds allow"
        assert planner.held_size_bytes <= 2 * HELD_SIZE_BYTES_MAX, "more bytes are held than bounds allow"
        assert len(state.bodies_served) <= blocks_max * members, "more answers remembered than could be asked for"


def no_honest_member_signs_both(first: Statement, second: Statement) -> bool:
    """The rules S1, S3 and S4 once more, in the checker's own words; of one height."""
    if type(first) is type(second):
        said = [one.claim if isinstance(one, ViewChangeStatement) else one.block for one in (first, second)]
        return first.slot == second.slot and said[0] != said[1]
    by_kind = {type(one): one for one in (first, second)}
    commit, view_change = by_kind.get(CommitStatement), by_kind.get(ViewChangeStatement)
    if commit is None or view_change is None or view_change.slot <= commit.slot:
        return False
    claim = view_change.claim
    knows_it = claim is not None and (
        claim.slot > commit.slot or claim == Claim(slot=commit.slot, block=commit.block)
    )
    return not knows_it


def is_quorum(endorsed: Iterable[Endorsement | ViewChangeHeader], membership: Membership) -> bool:
    """Says whether so many different members signed that two such sets share an honest one."""
    signers = {one.signer for one in endorsed}
    members = len(membership)
    shared = 2 * len(signers) - members
    return signers <= set(membership.addresses) and shared > (members - 1) // 3


def _covers(host: "Host", message: PrePrepare | Prepare | Commit, claim: Claim | None) -> bool:
    """Says whether the sign state on disk bars any other block at the message's step."""
    if host.sign_state.height != message.height or claim is None:
        return False
    return claim.slot > message.slot or (claim.slot, claim.block) == (message.slot, message.block)
