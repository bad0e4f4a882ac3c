"""Who attends: whom of a cluster the chain saw sign lately, so that no leader decides who is rewarded.

A block carries exactly Q COMMITs of its parent, and its leader picks which. Were its own pick rewarded, it could
leave a rival out every time and have its friends in. So the chain keeps the signers of the last `CERTIFICATES_KEPT`
certificates, and rewards every member of the parent's cluster that stands in one of them. To starve somebody all of
these leaders must be liars, a chance of 2 in 100 million if a third of all members lie together; and an idle friend
has to sign for real once in so many blocks.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import count
from typing import Final

from consensus.identifiers import FIRST_HEIGHT, Address, Height
from contracts.run import BlockRun
from contracts.service_records import Attendance
from contracts.state import ATTENDANCE_KEY, MEMBER_LIST_KEY, MemberList, Overlay

CERTIFICATES_KEPT: Final = 16


def attending(overlay: Overlay, height: Height, voters: Collection[Address]) -> tuple[Address, ...]:
    """Returns who of the cluster of the block below a height stands in one of the last certificates.

    Args:
        overlay: its state is that before the block of `height`; what it wrote since is not looked at. So each bitmap
            is read under the members that it was written under, whatever an era begins with.
        height: of the block that rewards.
        voters: who signed the certificate that it carries.
    """
    below = Height(height - 1)
    known = overlay.before(MEMBER_LIST_KEY, MemberList)
    assert known is not None, "a chain has members"
    kept = overlay.before(ATTENDANCE_KEY, Attendance)
    if kept is None:  # the first block under rules that keep it: everybody was in every cluster until then
        return tuple(member for member in _members_at(known, below) if member in voters)
    older = kept.certificates[1 - CERTIFICATES_KEPT :]
    signers = {*voters, *_signers(known, older, Height(below - 1))}
    return tuple(member for member in _named(_members_at(known, below), kept.cluster) if member in signers)


def note_attendance(run: BlockRun) -> None:
    """Keeps who signed the certificate that the block carries, and who is in the block's own cluster."""
    context, overlay = run.context, run.overlay
    known, kept = overlay.require(MEMBER_LIST_KEY, MemberList), overlay.get(ATTENDANCE_KEY, Attendance)
    certificates = () if kept is None else kept.certificates
    if context.height > FIRST_HEIGHT:
        newest = _bitmap(_members_at(known, Height(context.height - 1)), context.parent_voters)
        certificates = (*certificates, newest)[-CERTIFICATES_KEPT:]
    cluster = _bitmap(_members_at(known, context.height), context.cluster)
    overlay.put(ATTENDANCE_KEY, Attendance(cluster=cluster, certificates=certificates))


def _signers(known: MemberList, certificates: Sequence[bytes], last: Height) -> Iterator[Address]:
    """Yields who signed the certificates up to that of a height, each bit under the members of its own height. Of
    heights that have the same members the bits are put together first.
    """
    ends = {term.last_height for term in known.terms} | {term.first_height - 1 for term in known.terms} | {last}
    bits = 0
    for height, certificate in zip(count(last - len(certificates) + 1), certificates, strict=False):
        bits |= int.from_bytes(certificate)
        if height in ends:
            yield from _named(_members_at(known, Height(height)), bits)
            bits = 0


def _members_at(known: MemberList, height: Height) -> list[Address]:
    return [term.address for term in known.terms if term.includes(height)]


def _bitmap(members: Sequence[Address], named: Collection[Address]) -> bytes:
    """Returns which of the members are named; who is none of them is not."""
    among = frozenset(named)
    bits = sum(1 << number for number, member in enumerate(members) if member in among)
    return bits.to_bytes((len(members) + 7) // 8)


def _named(members: Sequence[Address], bits: int | bytes) -> list[Address]:
    number = bits if isinstance(bits, int) else int.from_bytes(bits)
    return [member for place, member in enumerate(members) if number >> place & 1]
