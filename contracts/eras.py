"""The first block of an era writes who the members are from its base on, and which eras there have been."""

from collections.abc import Mapping

from msgspec.structs import replace

from consensus.identifiers import Address, Height, PublicKey
from contracts.joining import end_without_keys, join_again
from contracts.member_changes import is_revocation
from contracts.member_records import Join, MemberChange, MemberQueue, MemberTerm, Rotate
from contracts.run import BlockRun, EraBeginning
from contracts.state import (
    ERAS_KEY,
    MEMBER_LIST_KEY,
    MEMBER_QUEUE_KEY,
    EraTable,
    Member,
    MemberList,
    member_key,
)
from contracts.used_keys import take_key
from contracts.validity import learn_end


def begin_era(run: BlockRun) -> None:
    """Writes the era that begins with this block, if one does: members that are gone, keys of replaced homes
    and until when these are certified.
    """
    beginning = run.context.beginning
    if beginning is None:
        return
    eras = run.overlay.require(ERAS_KEY, EraTable)
    run.overlay.put(ERAS_KEY, EraTable(starts=(*eras.starts, *beginning.starts)))
    known = _without_later(run.overlay.require(MEMBER_LIST_KEY, MemberList), beginning.base)
    run.overlay.put(MEMBER_LIST_KEY, MemberList(terms=_terms_from(known, beginning)))
    replaced = set(beginning.members) - set(known.at(Height(beginning.base + 1)))
    queue = run.overlay.require(MEMBER_QUEUE_KEY, MemberQueue)
    undone = queue.last if queue.last_height >= beginning.base else None
    run.overlay.put(MEMBER_QUEUE_KEY, _queue_from(queue, undone, dict(replaced)))
    if isinstance(undone, Join):
        join_again(run, undone)
    for address, key in beginning.members:
        member = run.overlay.require(member_key(address), Member)
        if member.node_key != key:
            run.overlay.put(member_key(address), replace(member, node_key=key))
            take_key(run.overlay, key, address)
    for address, until_ms in beginning.ends:
        learn_end(run, address, until_ms, reference=beginning.starts[-1].plan)
    end_without_keys(run)


def _without_later(known: MemberList, base: Height) -> MemberList:
    """Undoes a change that was fixed but not in force at the height above the base: the plan says who is a member
    there, and for as long as the era begins. It waits again.
    """
    in_force = Height(base + 1)
    return MemberList(
        terms=tuple(
            term if term.last_height is None or term.last_height < in_force else replace(term, last_height=None)
            for term in known.terms
            if term.first_height <= in_force
        )
    )


def _queue_from(
    queue: MemberQueue, undone: MemberChange | None, replaced: Mapping[Address, PublicKey]
) -> MemberQueue:
    """What was undone is tried first. What speaks of who is gone is dropped at the end of the block."""
    first = () if undone is None else (undone,)
    waiting = (*first, *(change for change in queue.waiting if change != undone))
    revoked_slot = None if is_revocation(undone) else queue.revoked_slot  # what was undone needs not wait once more
    standing = tuple(change for change in waiting if not _is_overruled(change, replaced))
    return replace(queue, waiting=standing, revoked_slot=revoked_slot)


def _is_overruled(change: MemberChange, replaced: Mapping[Address, PublicKey]) -> bool:
    """No key counts that a replaced home asked for before, nor anybody's that the ceremony gave to such a home."""
    return isinstance(change, Rotate) and (change.address in replaced or change.node_key in replaced.values())


def _terms_from(known: MemberList, beginning: EraBeginning) -> tuple[MemberTerm, ...]:
    """Ends open terms that are not the new list's at the base, and begins new keys above it, in their places."""
    first, members = Height(beginning.base + 1), dict(beginning.members)
    terms: list[MemberTerm] = []
    for term in known.terms:
        if term.last_height is not None or members.get(term.address) == term.node_key:
            terms.append(term)
            continue
        terms.append(replace(term, last_height=beginning.base))
        if term.address in members:
            terms.append(_term(term.address, members[term.address], first))
    return tuple(terms)


def _term(address: Address, key: PublicKey, first: Height) -> MemberTerm:
    return MemberTerm(address=address, node_key=key, first_height=first, last_height=None)
