"""The progress rule P9 of docs/protocol.md: where links between members are dead, what others said is passed on.

Statements prove themselves by their signatures, whoever brings them, so they are passed on as they are: one hop by
each member that heard them, which makes two hops and more of a network in which not all pairs hear each other. Only
in a network of few members, only once a height shows that direct links do not do, and only to who does not say that
it hears the signer itself: members that are merely slow pass nothing on.

A STATUS is not signed, so it is passed on only by who has it over its origin's own link, and believed only by who
does not hear the origin itself.

What a liar can make others send is bounded by what it can sign: see `RELAYED_PER_SIGNER_MAX` and the STATUS rules.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from consensus.events import Instant, SendDecided
from consensus.evidence import Signed
from consensus.identifiers import Address, Height, Slot
from consensus.member import Member
from consensus.messages import PrePrepare, Status
from consensus.phases import Phase
from consensus.tally import SLOTS_PER_SIGNER_MAX

RELAY_HEIGHTS: Final = 16
"""Heights after a silent one at which everything is passed on at once: links that are dead mostly stay so."""

RELAYED_PER_SIGNER_MAX: Final = SLOTS_PER_SIGNER_MAX
"""Statements of a signer and kind that are passed on between two resendings (P7), however many it signs: to N - 2
others about once a slot.
"""

PROPOSAL_FRACTION: Final = 8
"""A proposal is passed on 1/8 of a slot after the own vote: by then votes show who has it."""

HEARD_MARGIN_SLOTS: Final = 1
"""A member that was not heard for so much more than the N / 2 slots within which its STATUS comes is not heard."""

FIRST_HEARD_SLOTS: Final = 1
"""For so long everybody counts as heard at first: members on connecting tell each other at once."""

STATUS_AGE_SLOTS_MAX: Final = 2
"""A STATUS that came over others goes no further once it is older, by clocks: it would go round for ever."""

PASSED_ON_FRACTION: Final = 2
"""The STATUS of one member is passed on at most so often per slot."""


def rule_start_relaying(member: Member, now: Instant) -> bool:
    """P9: two thirds of a slot after an own vote, COMMIT or VIEW-CHANGE the height is still undecided; for who may
    not sign, after the first that it heard of the height: others may need it to hear each other.
    """
    state = member.state
    since_ms = state.said_ms if member.may_sign() else state.heard_ms
    if since_ms is None or not member.may_relay or member.phase is Phase.APPLYING:
        return False
    through = Height(state.height + RELAY_HEIGHTS)
    if member.relay_through >= through or now.monotonic_ms - since_ms < 2 * member.tau_ms // 3:
        return False
    member.relay_through = through
    return True


def rule_relay(member: Member, now: Instant) -> bool:
    """P9: what others signed goes to who may lack it, once, and again after each resending (P7)."""
    if member.phase is Phase.APPLYING or not member.is_relaying:
        return False
    state, is_passed_on = member.state, False
    heard: Mapping[Address, bytes] | None = None
    for statement in _statements(member, now):
        if not _is_fresh(member, statement):
            continue
        heard = _heard_reports(member, now) if heard is None else heard
        lacking = _lacking(member, statement.signer, heard)
        if isinstance(statement, PrePrepare):
            has_it = {vote.signer for vote in state.votes.at(statement.slot) if vote.block == statement.block}
            lacking = [address for address in lacking if address not in has_it]
        if lacking:
            state.relayed.setdefault((type(statement), statement.signer), set()).add(statement.slot)
            member.send(statement, lacking)
            is_passed_on = True
    return is_passed_on


def may_lack(member: Member, other: Address, now: Instant) -> list[Address]:
    """Returns who may not have what another member sent to all, while links seem dead."""
    if not member.is_relaying:
        return []
    return _lacking(member, other, _heard_reports(member, now))


def _statements(member: Member, now: Instant) -> Iterator[Signed]:
    """Yields what others signed at this height; of proposals only valid ones: a liar's large blocks go no further."""
    state = member.state
    for statement in (*state.view_changes, *state.votes, *state.commits):
        if statement.signer != member.own:
            yield statement
    yield from _proposals(member, now) if member.may_sign() else _executed_proposals(member)


def _proposals(member: Member, now: Instant) -> Iterator[PrePrepare]:
    """Yields the one that this member voted for: an honest member votes once a slot."""
    voted, voted_ms = member.state.voted, member.state.voted_ms
    if voted is None or voted_ms is None or voted.signer == member.own:
        return
    if now.monotonic_ms - voted_ms >= member.tau_ms // PROPOSAL_FRACTION:
        yield voted


def _executed_proposals(member: Member) -> Iterator[PrePrepare]:
    """Yields the valid one of the highest slot: who votes for nothing may be the only one that heard its leader."""
    state = member.state
    valid = [one for one in state.proposals if state.origins.get(one.block) is not None]
    newest = max(valid, default=None, key=lambda one: one.slot)
    if newest is not None and newest.signer != member.own:
        yield newest


def _heard_reports(member: Member, now: Instant) -> Mapping[Address, bytes]:
    """Returns whom each member that is heard hears itself, by its own last STATUS."""
    return {address: hears for address, hears in member.hears.items() if _is_heard(member, address, now)}


def _lacking(member: Member, signer: Address, heard: Mapping[Address, bytes]) -> list[Address]:
    has_it = {member.own, signer, *_hearing(member, signer, heard)}
    return [address for address in member.state.membership.addresses if address not in has_it]


def _hearing(member: Member, signer: Address, heard: Mapping[Address, bytes]) -> Iterable[Address]:
    """Returns who hears a signer itself: nothing need be passed on to it. Also where a slot was given up: members
    that are slow would have N times as much to read, and be slower for it, for ever.
    """
    addresses = member.state.membership.addresses
    if signer not in addresses:
        return ()
    number = addresses.index(signer)
    return [address for address, hears in heard.items() if _is_in(hears, number)]


def _is_fresh(member: Member, statement: Signed) -> bool:
    slots: set[Slot] = member.state.relayed.get((type(statement), statement.signer), set())
    return statement.slot not in slots and len(slots) < RELAYED_PER_SIGNER_MAX


# --- STATUS ------------------------------------------------------------------------------------------------------


def heard_bitmap(member: Member, now: Instant) -> bytes:
    """Returns `Status.hears`: whom this member lately heard over their own links. Nobody, so that all pass it on, if
    one that is ahead does not hear this one: it would answer if it did.
    """
    membership = member.state.membership
    if not member.may_relay:
        return b""
    heard: set[Address] = set()
    if member.unheard_ms is None or now.monotonic_ms - member.unheard_ms >= _heard_max_ms(member):
        heard = {one for one in membership.addresses if one != member.own and _is_heard(member, one, now)}
    return membership.bitmap_of(heard)


def is_news(member: Member, hears: bytes) -> bool:
    """Says whether whom this member hears is not what it told last, and takes it as told now."""
    told, member.told_hears = member.told_hears, hears
    return told not in {None, hears}


def note_unheard(member: Member, message: Status, now: Instant) -> None:
    """Notes whether one that is ahead hears this member."""
    addresses = member.state.membership.addresses
    if member.own in addresses and message.undecided > member.state.height:
        is_heard = _is_in(message.hears, addresses.index(member.own))
        member.unheard_ms = member.unheard_ms if is_heard else now.monotonic_ms


def pass_on_status(member: Member, message: Status, now: Instant) -> None:
    """Passes on where a member stands that does not hear this one: this one cannot answer it, others may."""
    addresses = member.state.membership.addresses
    if not member.may_relay or member.own not in addresses or _is_in(message.hears, addresses.index(member.own)):
        return
    passed_ms = member.passed_on.get(message.origin)
    is_early = now.monotonic_ms - member.started_ms < _heard_max_ms(member)  # who just started was not heard yet
    if is_early or (passed_ms is not None and now.monotonic_ms - passed_ms < member.tau_ms // PASSED_ON_FRACTION):
        return
    member.passed_on[message.origin] = now.monotonic_ms
    member.send(message, [address for address in addresses if address != message.origin])


def answer_origin(member: Member, sender: Address, message: Status, now: Instant) -> None:
    """Sends decided blocks to a member that is behind and not heard here but over others: once a slot for each of
    those. Whoever is heard speaks for itself. As the answer may be lost, too, whom the origin hears is told of it.
    """
    origin = message.origin
    is_member = origin in member.state.membership and origin != member.own
    if not member.may_relay or not is_member or _is_heard(member, origin, now):
        return
    answered_ms = member.answered_over.get((sender, origin))
    is_again = answered_ms is not None and now.monotonic_ms - answered_ms < member.tau_ms
    if message.undecided < member.state.height and not is_again:
        member.answered_over[sender, origin] = now.monotonic_ms
        member.out.send_decided.append(SendDecided(recipient=origin, first=message.undecided))
        _pass_on_further(member, sender, message, now)


def _pass_on_further(member: Member, sender: Address, message: Status, now: Instant) -> None:
    """One more hop, once a slot for each origin: of three links to whom the origin hears one lies behind the first
    hop, one was the second.
    """
    origin, addresses = message.origin, member.state.membership.addresses
    passed_ms = member.passed_further.get(origin)
    is_old = abs(message.clock_slot - now.slot(member.tau_ms)) > STATUS_AGE_SLOTS_MAX
    if is_old or (passed_ms is not None and now.monotonic_ms - passed_ms < member.tau_ms):
        return
    member.passed_further[origin] = now.monotonic_ms
    member.send(message, [address for address in addresses if address not in {sender, origin}])


def _is_heard(member: Member, address: Address, now: Instant) -> bool:
    heard_ms = member.heard.get(address)
    if heard_ms is None:
        return now.monotonic_ms - member.started_ms < FIRST_HEARD_SLOTS * member.tau_ms
    return now.monotonic_ms - heard_ms < _heard_max_ms(member)


def _heard_max_ms(member: Member) -> int:
    return (len(member.state.membership.addresses) // 2 + HEARD_MARGIN_SLOTS) * member.tau_ms


def _is_in(bitmap: bytes, number: int) -> bool:
    return number // 8 >= len(bitmap) or bool(bitmap[number // 8] >> number % 8 & 1)
