"""What a forging member says, proposes and serves, and what it makes of what others said.

Honest members refuse all of it: it names, proves or signs something else than it says. Each lie is drawn anew, so
that a member that was lied to once may be told the truth next.
"""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from consensus.cryptography import HashKind, digest
from consensus.gathering import gathered_of
from consensus.identifiers import FIRST_HEIGHT, SIGNATURE_SIZE_BYTES, EraNumber, Height, Slot
from consensus.messages import (
    NONCE_SIZE_BYTES,
    Body,
    Claim,
    Commit,
    CommitCertificate,
    Decided,
    EndorsedStatement,
    Gathered,
    HeightAnswer,
    Justification,
    Message,
    Prepare,
    PrePrepare,
    Status,
    ViewChange,
)
from node.mesh.messages import Blocks

if TYPE_CHECKING:
    from tests.simulation.host import Host
    from tests.simulation.network import Payload

replace = msgspec.structs.replace
TRUTH_SHARE = 0.3
"""Of answers that are as they should be: who only lies is only silent in the end."""
OTHER_BLOCK = digest(HashKind.BLOCK, b"another")


def forged(host: "Host", payload: "Payload") -> "Payload | None":
    """Returns a lie in the place of an answer, None for nothing; the truth now and then."""
    if not isinstance(payload, PrePrepare) and host.network.random.random() < TRUTH_SHARE:
        return payload
    lie: Payload | None = payload
    match payload:
        case PrePrepare():
            lie = _other_proposal(host, payload)
        case ViewChange():
            lie = _other_view_change(host, payload)
        case Status():
            lie = _other_status(host, payload)
        case Body():
            lie = _draw(host, [None, replace(payload, proposal=payload.proposal + b"!"), _other_body(host, payload)])
        case Decided():
            lie = _other_decided(host, payload)
        case HeightAnswer():
            lie = _other_answer(host, payload)
        case Blocks():
            lie = _other_blocks(host, payload)
    return lie


def _draw(host: "Host", lies: list[Any]) -> Any:
    return host.network.random.choice(lies)


def _other_proposal(host: "Host", message: PrePrepare) -> PrePrepare:
    """An invalid block, or one with a justification that is none, or is not for it; the same to all: it could win."""
    application, justification = host.application, message.justification
    random = Random(message.block + message.slot.to_bytes(8, "big"))
    if random.random() < TRUTH_SHARE:
        return message
    block, proposal = application.invalid(message.proposal, random)
    invalid = _signed(host, replace(message, block=block, proposal=proposal))
    if justification is None:
        older = _older_justification(host, message)
        return invalid if older is None else replace(message, justification=older)
    headers = justification.headers
    lies = [
        invalid,
        _in_a_later_slot(host, message),
        replace(message, justification=replace(justification, headers=headers[1:])),
        replace(message, justification=replace(justification, headers=(*headers[:-1], headers[0]))),
        replace(message, justification=replace(justification, headers=headers[::-1])),
    ]
    if justification.certificate is not None:
        block, proposal = application.variant(message.proposal)
        other = _signed(host, replace(message, block=block, proposal=proposal))
        unclaimed = replace(justification, certificate=None)
        lies += [other, replace(message, justification=unclaimed), replace(other, justification=unclaimed)]
    return random.choice(lies)


def _in_a_later_slot(host: "Host", message: PrePrepare) -> PrePrepare:
    """The next slot that it leads, with the justification of this one."""
    assert message.justification is not None, "one to carry over"
    slot = Slot(message.slot + len(host.application.memberships().undecided))
    later = replace(message, slot=slot)
    if message.justification.certificate is None:
        built = host.application.build(slot, may_be_empty=True)
        assert built is not None, "an empty block can always be built"
        later = replace(later, block=built[0], proposal=built[1])
    lie: PrePrepare = _signed(host, later)
    return lie


def _older_justification(host: "Host", message: PrePrepare) -> Justification | None:
    """One that somebody had for a lower slot of the height, if there was any."""
    assert host.liar is not None, "who lies"
    heard = [one for one in host.liar.seen if isinstance(one, PrePrepare) and one.height == message.height]
    older = [one.justification for one in heard if one.slot < message.slot and one.justification is not None]
    return older[0] if older else None


def _other_view_change(host: "Host", message: ViewChange) -> ViewChange:
    """A claim that is not below the slot, lacks its certificate, or has a bad one."""
    certificate = message.certificate
    claims: list[ViewChange] = [replace(message, claim=Claim(slot=message.slot, block=OTHER_BLOCK))]
    if certificate is not None:
        endorsements = certificate.endorsements
        late = replace(certificate, slot=message.slot)
        claims += [
            replace(message, certificate=None),
            replace(message, certificate=replace(certificate, endorsements=endorsements[1:])),
            replace(message, certificate=replace(certificate, endorsements=(*endorsements[:-1], endorsements[0]))),
            replace(message, claim=Claim(slot=late.slot, block=late.block), certificate=late),
        ]
    return _signed(host, _draw(host, claims))


def _signed(host: "Host", message: Message | HeightAnswer) -> Any:
    """Under its valid signature: a liar can be wrong in all it says, but signs only as itself."""
    assert host.liar is not None, "who lies"
    return host.liar.signed(message)


def _other_status(host: "Host", status: Status) -> Status:
    drawn = host.network.random.choice((1, 2, 9, 100, 10_000))
    return replace(
        status,
        undecided=Height(max(1, status.undecided + drawn * host.network.random.choice((-1, 1)))),
        clock_slot=Slot(max(0, status.clock_slot - drawn)),
        tip=OTHER_BLOCK,
        origin=host.network.random.choice((status.origin, *host.network.membership.addresses)),
        hears=bytes(len(status.hears)),
    )


def _other_body(host: "Host", body: Body) -> Body:
    """Another valid block under the name that was asked for."""
    return replace(body, proposal=host.application.variant(body.proposal)[1])


def _other_decided(host: "Host", decided: Decided) -> Decided:
    certificate = decided.certificate
    neighbour = host.application.decided(Height(max(1, certificate.height - 1)))
    lies = [_with_certificate(decided, lie) for lie in _other_certificates(host, certificate)]
    lies += [
        replace(decided, proposal=decided.proposal + b"!"),
        replace(decided, proposal=neighbour.proposal),
        _with_certificate(neighbour, replace(neighbour.certificate, height=certificate.height)),
        _with_certificate(decided, replace(certificate, height=Height(certificate.height + 1))),
    ]
    lie: Decided = _draw(host, lies)
    return lie


def _with_certificate(decided: Decided, certificate: CommitCertificate) -> Decided:
    return replace(decided, certificate=certificate)


def _other_certificates(host: "Host", certificate: CommitCertificate) -> list[CommitCertificate]:
    """One endorsement less, one twice, one under another's name, another slot, another block."""
    endorsements = certificate.endorsements
    own = replace(endorsements[0], signature=host.key.sign(b"anything"))
    return [
        replace(certificate, endorsements=endorsements[1:]),
        replace(certificate, endorsements=(*endorsements[:-1], endorsements[0])),
        replace(certificate, endorsements=(own, *endorsements[1:])),
        replace(certificate, slot=Slot(certificate.slot + 1)),
        replace(certificate, block=OTHER_BLOCK),
    ]


def _other_answer(host: "Host", answer: HeightAnswer) -> HeightAnswer:
    """To another question, of another height or era, in another's name, or under no valid signature."""
    others = [
        address for address in host.application.memberships().undecided.addresses if address != host.key.address
    ]
    lies = [
        _signed(host, replace(answer, nonce=bytes(NONCE_SIZE_BYTES))),
        _signed(host, replace(answer, undecided=FIRST_HEIGHT)),
        _signed(host, replace(answer, undecided=Height(answer.undecided + 1_000))),
        replace(answer, undecided=FIRST_HEIGHT),
        replace(answer, signer=host.network.random.choice(others)),
        replace(answer, era=EraNumber(answer.era + 1)),
    ]
    lie: HeightAnswer = _draw(host, lies)
    return lie


def _other_blocks(host: "Host", blocks: Blocks) -> Blocks | None:
    """Nothing, none, too few, too many, others, or one forged among them."""
    served = blocks.blocks
    if not served:
        return blocks
    forgery = _other_decided(host, served[-1])
    lies = [(), served[:1], served[1:], served[::-1], served * 64, (*served[:-1], forgery), (forgery, *served[1:])]
    lie = _draw(host, [None, *lies])
    return None if lie is None else replace(blocks, blocks=lie)


def torn(host: "Host", message: Message) -> Message | None:
    """Returns what somebody said with its proof, signer or content torn off; None if nothing comes to mind."""
    lies: list[Callable[[], Message]] = []
    match message:
        case PrePrepare():
            lies = [
                lambda: replace(message, justification=None),
                lambda: replace(message, proposal=message.proposal + b"!"),
                lambda: replace(message, slot=Slot(message.slot + 1)),
            ]
        case ViewChange():
            claim = Claim(slot=message.slot, block=OTHER_BLOCK)
            lies = [
                lambda: replace(message, certificate=None),
                lambda: replace(message, claim=None, certificate=None),
                lambda: replace(message, claim=claim),
            ]
        case Prepare() | Commit():
            lies = [
                lambda: replace(message, block=OTHER_BLOCK),
                lambda: replace(message, slot=Slot(message.slot + 1)),
                lambda: replace(message, signer=host.key.address),
            ]
        case Decided() if message.certificate.height <= host.application.height:
            lies = [lambda: _other_decided(host, message)]
        case Body():
            lies = [lambda: replace(message, proposal=message.proposal + b"!")]
    return host.network.random.choice(lies)() if lies else None


def counterfeit(host: "Host", gathered: Gathered) -> Gathered:
    """Returns a certificate that does not hold in the place of one that does; the truth now and then."""
    if host.network.random.random() < TRUTH_SHARE:
        return gathered
    members = len(host.network.membership)
    bits, first = int.from_bytes(gathered.signers, "little"), SIGNATURE_SIZE_BYTES

    def with_bits(changed: int) -> Gathered:
        return replace(gathered, signers=changed.to_bytes(len(gathered.signers), "little"))

    signatures, lowest = gathered.signatures, bits & -bits
    unsigned = next(number for number in range(members) if not bits >> number & 1)
    others = {EndorsedStatement.VOTE: EndorsedStatement.COMMIT, EndorsedStatement.COMMIT: EndorsedStatement.VOTE}
    lies = [
        replace(gathered, signers=gathered.signers + b"\0"),
        replace(gathered, signers=b""),
        with_bits(bits ^ lowest),
        replace(with_bits(bits ^ lowest), signatures=signatures[first:]),
        with_bits(bits ^ lowest | 1 << unsigned),
        with_bits(bits ^ lowest | 1 << members) if members % 8 else with_bits(0),
        replace(gathered, signatures=signatures[first:] + signatures[:first]),
        replace(gathered, signatures=signatures[:first] * (len(signatures) // first)),
        replace(gathered, signatures=host.key.sign(b"anything") + signatures[first:]),
        replace(gathered, block=OTHER_BLOCK),
        replace(gathered, slot=Slot(gathered.slot + 1)),
        replace(gathered, height=Height(gathered.height + 1)),
        replace(gathered, era=EraNumber(gathered.era + 1)),
        replace(gathered, kind=others[gathered.kind]),
    ]
    lie: Gathered = _draw(host, lies)
    return lie


def certificate_at_hand(host: "Host") -> Gathered | None:
    """Returns the certificate of the last decided height, told as one of the present height and slot; None before."""
    application = host.application
    if application.height < application.first_height:
        return None
    gathered = gathered_of(application.decided(application.height).certificate, host.network.membership)
    slot = host.replica.present_slot(host.now())
    kind = _draw(host, list(EndorsedStatement))
    return replace(gathered, kind=kind, height=Height(application.height + 1), slot=slot)
