"""Who the members are, and what the chain says of one of them, or of who was one: until when it is certified, too."""

from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

from consensus.identifiers import Address, Height, Slot
from contracts.genesis import Genesis
from contracts.member_changes import prospect
from contracts.member_records import MemberQueue, MemberTerm
from contracts.panels import verifiers
from contracts.randomness import seasoned_keys
from contracts.state import MEMBER_LIST_KEY, MEMBER_QUEUE_KEY, MemberList, Overlay, Score, StateReader, score_key
from contracts.state_reading import read_members, require
from contracts.units import MS_PER_HOUR
from contracts.validity import removal_slot, validity_of
from ledger.ledger import Ledger
from node.names.names import Names
from node.replies.members import MemberReply, TermModel
from node.replies.state import MemberModel, MembersReply, ScoreModel, WaitingChange
from node.stories.lists import score_view
from node.stories.member_changes import departure_of, waiting_view
from node.stories.member_names import find_once_member
from node.stories.proposals import member_proposals
from node.stories.words import day_text, score_text

MS_PER_DAY: Final = 24 * MS_PER_HOUR

NOTICE_DAYS: Final = 60
"""So long before its certificate ends a home is told to have it renewed."""

JOINS_ANEW: Final = (
    "It comes back as a new home, with new keys: `p2pnode init`, then `p2pnode join`. The wallet of before stays "
    "under its key, so keep this folder (docs/operations.md, A certificate ran out)"
)
"""The way out of who was not renewed in time."""


def members_of(ledger: Ledger, names: Names, connected: Collection[Address] = ()) -> MembersReply:
    """Returns all members as of the tip.

    Args:
        ledger: whose tip it is.
        names: how the reader calls the members.
        connected: whom a node that runs has a link to, and itself.
    """
    membership, parameters = ledger.membership(), ledger.genesis.scores
    firsts: dict[Address, Height] = {}
    overlay = Overlay(ledger)
    for term in require(ledger, MEMBER_LIST_KEY, MemberList).terms:
        firsts.setdefault(term.address, term.first_height)  # another key begins a term, and no membership
    members = [
        MemberModel(
            address=state.address.hex(),
            name=names.of(state.address),
            node_key=(membership.key_of(state.address) or state.member.node_key).hex(),
            meter_key=state.member.meter_key.hex(),
            capacity_w=state.member.capacity_w,
            first_height=firsts[state.address],
            score_millionths=state.score_at(ledger.tip_slot, parameters),
            is_suspended=state.score.is_suspended,
            valid_until_ms=None if (known := validity_of(overlay, state.address)) is None else known.until_ms,
            connected=state.address in connected,
        )
        for state in read_members(ledger)
    ]
    return MembersReply(members=members, quorum=membership.quorum)


def member_of(ledger: Ledger, names: Names, text: str, connected: Collection[Address] = ()) -> MemberReply:
    """Returns all that the chain says of a member, or of who was one.

    Args:
        ledger: whose tip it is.
        names: how the reader calls the members.
        text: name, address, or the address' first 8 or more digits.
        connected: whom a node that runs has a link to, and itself.

    Raises:
        NotFound: it names nobody, or several.
    """
    address, overlay = find_once_member(ledger, names, text), Overlay(ledger)
    known = overlay.require(MEMBER_LIST_KEY, MemberList)
    members = members_of(ledger, names, connected).members
    member = next((one for one in members if one.address == address.hex()), None)
    left = None if member is not None else departure_of(ledger, names, address)
    score = score_view(ledger, names, address, overlay.require(score_key(address), Score))
    may_verify = address in verifiers(overlay, ledger.genesis)
    said = [left.sentence] if left is not None else []
    if member is not None:
        said += _standing(member, score, ledger.genesis, may_verify=may_verify)
        certificate = certificate_of(ledger, ledger.genesis, address, ledger.tip_slot)
        said += [] if certificate is None else [certificate.told("it")]
    return MemberReply(
        address=address.hex(),
        name=names.of(address),
        sentences=said,
        member=member,
        left=left,
        score=score,
        may_verify=may_verify,
        is_seasoned=member is not None and known.keys_of(address)[-1] in seasoned_keys(overlay),
        terms=[_term_view(term) for term in known.terms if term.address == address],
        waiting=list(_waiting(ledger, names, address, overlay)),
        proposals=[one for one in member_proposals(ledger, names) if one.member == address.hex()],
    )


def _standing(member: MemberModel, score: ScoreModel, genesis: Genesis, *, may_verify: bool) -> Iterator[str]:
    yield f"{member.name} is a member from height {member.first_height:,} on."
    if score.is_suspended:
        yield "It is suspended: it votes, and trades and leads no more. p2pnode qscore history says why."
    elif score.score_millionths < genesis.scores.threshold_trade:
        back = "" if score.returns_at_slot is None else f", again from slot {score.returns_at_slot:,} on"
        yield f"It does not trade{back}: its score is below {score_text(genesis.scores.threshold_trade)}."
    if may_verify:
        yield "It may be drawn to verify homes that apply."


def _waiting(ledger: Ledger, names: Names, address: Address, overlay: Overlay) -> Iterator[WaitingChange]:
    height, slot = Height(ledger.height + 1), ledger.tip_slot
    for change in overlay.require(MEMBER_QUEUE_KEY, MemberQueue).waiting:
        if change.address == address:
            found = prospect(overlay, change, height=height, slot=slot, genesis=ledger.genesis)
            yield waiting_view(found, names.of(address))


def _term_view(term: MemberTerm) -> TermModel:
    return TermModel(node_key=term.node_key.hex(), first_height=term.first_height, last_height=term.last_height)


# --- until when they are certified ----------------------------------------------------------------------------


class Certificate(NamedTuple):
    """The end of a member's certificate, beside a moment."""

    until_ms: int
    days_left: int
    """Whole days until then; below 0: it ran out."""
    removed_from_ms: int
    """From then on the member is removed unless it is renewed."""
    waits_for_floor: bool
    """There are no more members than genesis wants: it stays for as long."""

    def told(self, whose: str) -> str:
        """Returns the same for people; `whose` is how the sentence calls the member."""
        until = day_text(self.until_ms)
        if self.days_left >= 0:
            return f"The authority vouches for {whose} until {until}, {self.days_left} days from now."
        if self.waits_for_floor:
            follows = "it stays a member until another home joins, as genesis allows no fewer"
        else:
            follows = f"from {day_text(self.removed_from_ms)} on it is removed, unless it is renewed before"
        return f"The certificate of {whose} ran out on {until}: {follows}."


def certificate_of(state: StateReader, genesis: Genesis, address: Address, slot: Slot) -> Certificate | None:
    """Returns the end of a member's certificate as the chain knows it, at the time of a slot; None: it knows none."""
    known = validity_of(Overlay(state), address)
    if known is None:
        return None
    members = require(state, MEMBER_LIST_KEY, MemberList).addresses
    left_ms = known.until_ms - _time_ms(slot, genesis)
    return Certificate(
        until_ms=known.until_ms,
        days_left=left_ms // MS_PER_DAY,
        removed_from_ms=_time_ms(removal_slot(known.until_ms, genesis), genesis),
        waits_for_floor=len(members) <= genesis.membership.members_min,
    )


def own_notice(state: StateReader, genesis: Genesis, own: Address, slot: Slot) -> str | None:
    """Returns what to tell a home whose certificate ends soon, or ran out, also once it was removed for that; None if
    it has time, or is no member for another reason.
    """
    found = certificate_of(state, genesis, own, slot)
    if found is None or found.days_left > NOTICE_DAYS:
        return None
    if own not in require(state, MEMBER_LIST_KEY, MemberList).addresses:
        known = validity_of(Overlay(state), own)
        if known is None or known.going_slot is None:
            return None
        return f"The certificate of this home ran out on {day_text(known.until_ms)}, and it was removed. {JOINS_ANEW}"
    return f"{found.told('this home')} Have the authority renew it, then `p2pnode member renew`"


def _time_ms(slot: Slot, genesis: Genesis) -> int:
    return genesis.start_ms + slot * genesis.slot_duration_ms
