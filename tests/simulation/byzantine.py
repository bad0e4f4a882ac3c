"""What lying members do. A liar runs the production replica and bends what leaves it, or adds to it."""

from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from consensus.clock import MemberClocks
from consensus.cryptography import HashKind, digest
from consensus.events import Instant
from consensus.identifiers import FIRST_HEIGHT, Address, Digest, Height, Slot
from consensus.messages import (
    Body,
    CertificateRequest,
    Claim,
    Commit,
    Decided,
    Gathered,
    HeightAnswer,
    Message,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    Status,
    ViewChange,
    commit_bytes,
    height_answer_bytes,
    view_change_bytes,
    vote_bytes,
)
from node.mesh.messages import Blocks
from tests.simulation.faults import Role
from tests.simulation.forging import certificate_at_hand, counterfeit, forged, torn

if TYPE_CHECKING:
    from tests.simulation.host import Host
    from tests.simulation.network import Payload

LATE_MS_MAX = 3_000
REMEMBERED_MAX = 64
"""Messages that a stale member can repeat."""
FAR_SLOTS = (10, 1_000, 10**6, 2**40)
FAR_HEIGHTS_MAX = (1, 2, 50, 2**40)
ASKED_PER_TICK = 3
"""Certificates that a counterfeiting member asks each other one for, of each of two heights."""
OF_OTHERS = (Gathered, Body, Decided, Blocks, HeightAnswer)
"""Messages by which a member gives away what it has of others."""
ADDED_PER_TICK = 0.2
"""How often a far-future, stale or forging member adds a message."""

Sent = tuple[int, "Payload"]
"""A message and by how much it is held back, in milliseconds."""


class Liar:
    """One lying member's part in what it sends."""

    def __init__(self, host: "Host", role: Role | None) -> None:
        self.host = host
        self.role = role
        self.random = host.network.random
        self.seen: deque[Message] = deque(maxlen=REMEMBERED_MAX)
        self.blocks: dict[Height, set[Digest]] = {}
        self.certificates: dict[Height, list[PreparedCertificate]] = {}
        self.agreed: set[bytes] = set()

    # --- hooks of the network --------------------------------------------------------------------------------------

    def outgoing(self, recipient: Address, payload: "Payload") -> list[Sent]:
        """Returns what the recipient really gets in the place of a message."""
        held_back_ms = self.random.randint(0, LATE_MS_MAX) if self.role is Role.LATE else 0
        told = self._told(recipient, payload)
        if told is not payload:
            self._note("held back" if told is None else "bent", payload)
        return [] if told is None else [(held_back_ms, told)]

    def _told(self, recipient: Address, payload: "Payload") -> "Payload | None":
        told: Payload | None = payload
        match self.role:
            case Role.SILENT:
                told = None
            case Role.WITHHOLDING:
                told = payload if self._is_let_through(recipient, payload) else None
            case Role.HOARDING | Role.HALF_TELLING | Role.COUNTERFEITING:
                told = self._as_collector(recipient, payload)
            case Role.EQUIVOCATING if self._number(recipient, payload) % 2 == 1:
                told = self._other(payload)
            case Role.STALE if isinstance(payload, ViewChange):
                told = self._with_older_claim(payload)
            case Role.FAR_FUTURE if isinstance(payload, Status):
                told = msgspec.structs.replace(payload, clock_slot=Slot(2**40))
            case Role.FORGING:
                told = forged(self.host, payload)
            case Role.GREEDY if isinstance(payload, PrePrepare) and payload.slot > self.host.now().slot(
                self.host.replica._member.tau_ms
            ):
                self._note("early", payload)
        return told

    def _as_collector(self, recipient: Address, payload: "Payload") -> "Payload | None":
        """Keeps, or changes, what is for others; what it says of itself all hear, or half of the members."""
        if self.role is Role.COUNTERFEITING:
            return counterfeit(self.host, payload) if isinstance(payload, Gathered) else payload
        is_told = self.role is Role.HOARDING or self._number(recipient, payload) % 2 == 0
        return payload if is_told and not isinstance(payload, OF_OTHERS) else None

    def _note(self, what: str, payload: "Payload") -> None:
        assert self.role is not None, "only a role lies"
        self.host.network.occurred[f"{self.role.value}: {what} {type(payload).__name__}"] += 1

    def on_message(self, message: Message) -> None:
        """Notes what it hears; an equivocating member votes for, and commits to, everything, once each."""
        self.seen.append(message)
        if isinstance(message, PrePrepare | Prepare | Commit):
            self.blocks.setdefault(message.height, set()).add(message.block)
            if self.role is Role.EQUIVOCATING:
                self._agree(message)
        elif isinstance(message, ViewChange) and message.certificate is not None:
            self.certificates.setdefault(message.height, []).append(message.certificate)

    def on_tick(self) -> None:
        """Adds messages of its own; a greedy member reads its clock as it likes."""
        member = self.host.replica._member
        if self.role is Role.GREEDY and not isinstance(member.clocks, GreedyClocks):
            member.clocks = GreedyClocks(self)
        if self.role is Role.COUNTERFEITING and self.host.replica.leaders.is_drawn:
            self._counterfeit()
        if self.role not in {Role.FAR_FUTURE, Role.STALE, Role.FORGING} or self.random.random() >= ADDED_PER_TICK:
            return
        message = self._far_future() if self.role is Role.FAR_FUTURE else self._repeated()
        if message is not None and self.role is Role.FORGING:
            message = torn(self.host, message)
        if message is not None:
            self._note("added", message)
            self._tell_all(message)

    def _counterfeit(self) -> None:
        """Asks for what there may be, of this height and the last, again and again; hands out what nobody signed."""
        replica = self.host.replica
        slot = replica.present_slot(self.host.now())
        for height in {max(FIRST_HEIGHT, Height(replica.height - 1)), replica.height}:
            asked = CertificateRequest(
                era=replica.era.number, height=height, slot=self.random.choice((Slot(0), slot))
            )
            for _ in range(ASKED_PER_TICK):
                self._note("added", asked)
                self._tell_all(asked)
        gathered = certificate_at_hand(self.host) if self.random.random() < ADDED_PER_TICK else None
        if gathered is not None:
            self._note("added", gathered)
            self._tell_all(gathered)

    def _tell_all(self, message: Message) -> None:
        for recipient in self.host.application.memberships().undecided.addresses:
            if recipient != self.host.key.address:
                self.host.network.deliver(self.host, recipient, message)

    # --- withholding ---------------------------------------------------------------------------------------------

    def _number(self, recipient: Address, message: "Payload") -> int:
        """Numbers the members in an order of its own for each height."""
        height = message.certificate.height if isinstance(message, Decided) else getattr(message, "height", 0)
        return self.host.network.membership.addresses.index(recipient) + int(height)

    def _is_let_through(self, recipient: Address, message: "Payload") -> bool:
        slot = getattr(message, "slot", 0)
        name = f"{self._number(recipient, message)} {type(message).__name__} {slot}".encode()
        return digest(HashKind.ORDER, name)[0] % 2 == 0

    # --- equivocation ----------------------------------------------------------------------------------------------

    def _other(self, message: "Payload") -> "Payload":
        """Returns what contradicts a message, as far as this member can make it look good."""
        match message:
            case PrePrepare() if message.justification is None or message.justification.certificate is None:
                block, proposal = self.host.application.variant(message.proposal)
                return self.signed(msgspec.structs.replace(message, block=block, proposal=proposal))
            case Prepare() | Commit():
                others = self.blocks.get(message.height, set()) - {message.block}
                block = min(others, default=digest(HashKind.BLOCK, message.block))
                return self.signed(msgspec.structs.replace(message, block=block))
            case ViewChange():
                return self.signed(msgspec.structs.replace(message, claim=None, certificate=None))
            case _:
                return self._other_answer(message)

    def _other_answer(self, message: "Payload") -> "Payload":
        match message:
            case Status():
                undecided, slot = Height(message.undecided + 1_000), Slot(message.clock_slot + 10**6)
                return msgspec.structs.replace(message, undecided=undecided, clock_slot=slot)
            case Body() | Decided():
                return msgspec.structs.replace(message, proposal=message.proposal + b"!")
            case HeightAnswer():
                return self.signed(msgspec.structs.replace(message, undecided=FIRST_HEIGHT))
            case _:
                return message

    def _agree(self, message: PrePrepare | Prepare | Commit) -> None:
        key = self.host.key
        statement = vote_bytes(self.host.replica.era.domain, message.height, message.slot, message.block)
        if statement in self.agreed:
            return
        self.agreed.add(statement)
        for kind in (Prepare, Commit):
            self._tell_all(
                self.signed(
                    kind(
                        height=message.height,
                        slot=message.slot,
                        block=message.block,
                        signer=key.address,
                        signature=message.signature,
                    )
                )
            )

    def signed(self, message: "Message | HeightAnswer") -> Any:
        """Returns a statement under this member's valid signature."""
        domain, key = self.host.replica.era.domain, self.host.key
        match message:
            case PrePrepare() | Prepare():
                signed = vote_bytes(domain, message.height, message.slot, message.block)
            case Commit():
                signed = commit_bytes(domain, message.height, message.slot, message.block)
            case ViewChange():
                signed = view_change_bytes(domain, message.height, message.slot, message.claim)
            case HeightAnswer():
                signed = height_answer_bytes(domain, message.asker, message.nonce, message.undecided)
            case _:
                return message
        return msgspec.structs.replace(message, signer=key.address, signature=key.sign(signed))

    # --- stale and far-future ------------------------------------------------------------------------------------

    def _with_older_claim(self, message: ViewChange) -> Message:
        known = self.certificates.setdefault(message.height, [])
        if message.certificate is not None:
            known.append(message.certificate)
        older = [certificate for certificate in known if certificate.slot < message.slot]
        if not older:
            return message
        oldest = min(older, key=lambda certificate: certificate.slot)
        claim = Claim(slot=oldest.slot, block=oldest.block)
        return self.signed(msgspec.structs.replace(message, claim=claim, certificate=oldest))

    def _repeated(self) -> Message | None:
        return self.random.choice(list(self.seen)) if self.seen else None

    def _far_future(self) -> Message:
        host = self.host
        far = self.random.choice((0, 0, *FAR_HEIGHTS_MAX))
        height = Height(host.replica.height + self.random.randint(0, far))
        slot = Slot(host.replica.present_slot(host.now()) + self.random.choice(FAR_SLOTS))
        block, signature = digest(HashKind.BLOCK, b"far"), host.key.sign(b"")
        vote = Prepare(height=height, slot=slot, block=block, signer=host.key.address, signature=signature)
        kind = self.random.choice((Prepare, Commit, ViewChange, PrePrepare))
        if kind is ViewChange:
            change = ViewChange(
                height=height, slot=slot, claim=None, signer=vote.signer, signature=signature, certificate=None
            )
            return self.signed(change)
        if kind is PrePrepare:
            return self._far_proposal(height, slot)
        return self.signed(vote if kind is Prepare else Commit(**_fields(vote)))

    def _far_proposal(self, height: Height, slot: Slot) -> Message:
        """Proposes in the next far slot that this member leads."""
        host = self.host
        leaders = host.application.memberships().leaders
        while leaders.whose(slot) != host.key.address:
            slot = Slot(slot + 1)
        built = host.application.build(slot, may_be_empty=True)
        assert built is not None, "an empty block can always be built"
        proposal = PrePrepare(
            height=height,
            slot=slot,
            block=built[0],
            signer=host.key.address,
            signature=host.key.sign(b""),
            justification=None,
            proposal=built[1],
        )
        return self.signed(proposal)


def _fields(vote: Prepare) -> dict[str, object]:
    return {name: getattr(vote, name) for name in vote.__struct_fields__}


class GreedyClocks(MemberClocks):
    """Holds the slot before an own one to be the own one already; what others report does not count."""

    def __init__(self, liar: Liar) -> None:
        self._liar = liar
        self._tau_ms = liar.host.replica._member.tau_ms
        super().__init__(self._tau_ms)

    def present_slot(self, own: Address, now: Instant, members: int) -> Slot:
        if self._liar.role is not Role.GREEDY:
            return super().present_slot(own, now, members)
        slot = now.slot(self._tau_ms)
        following = Slot(slot + 1)
        return following if self._liar.host.replica.leaders.at(following) == own else slot
