"""The first block of an era writes who the members are from its base on, and which eras there have been."""

from msgspec.structs import replace

from consensus.identifiers import Address, Height, PublicKey
from contracts.run import BlockRun, EraBeginning
from contracts.state import ERAS_KEY, MEMBER_LIST_KEY, EraTable, Member, MemberList, MemberTerm, member_key


def begin_era(run: BlockRun) -> None:
    """Writes the era that begins with this block, if one does: members that are gone, keys of replaced homes."""
    beginning = run.context.beginning
    if beginning is None:
        return
    eras = run.overlay.require(ERAS_KEY, EraTable)
    run.overlay.put(ERAS_KEY, EraTable(starts=(*eras.starts, *beginning.starts)))
    known = run.overlay.require(MEMBER_LIST_KEY, MemberList)
    run.overlay.put(MEMBER_LIST_KEY, MemberList(terms=_terms_from(known, beginning)))
    for address, key in beginning.members:
        member = run.overlay.require(member_key(address), Member)
        if member.node_key != key:
            run.overlay.put(member_key(address), replace(member, node_key=key))


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
