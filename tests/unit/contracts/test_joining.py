"""Homes that join: what an application must show, who decides, when a candidate counts."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from consensus.codec import encode
from consensus.cryptography import SigningKey
from consensus.identifiers import Height, Slot
from contracts.applicants import Applications, GivenVerdict, Standing, Verdict
from contracts.genesis import MembershipParameters
from contracts.genesis_state import MEMBERS_MAX, new_account
from contracts.joining import LAPSE_MS, READY_HEIGHTS_MAX, UNFINISHED_MAX
from contracts.member_changes import Hindrance, prospect
from contracts.member_records import Join, KeyOwner, Leave, MemberQueue
from contracts.panels import PANEL_MAX, named_panel, verdicts_needed
from contracts.receipts import Reason, Status
from contracts.run import EraBeginning
from contracts.state import (
    APPLICATIONS_KEY,
    MEMBER_LIST_KEY,
    MEMBER_QUEUE_KEY,
    Account,
    Member,
    MemberList,
    Overlay,
    account_key,
    applicant_key,
    member_key,
    score_key,
    used_key,
)
from contracts.state_reading import conserved, read_totals, sum_tokens
from contracts.transactions import (
    Action,
    IssueTokens,
    ReplaceOfficeKey,
    RequestJoin,
    SetLeaving,
    SetStake,
    ShowPresence,
    office_successor,
)
from tests.support.contracts import Community, forward_terms, make_genesis, seeded_key, sign_trade, signed_reading
from tests.support.joining import (
    ISSUING_KEY,
    JoiningChain,
    Newcomer,
    newcomer,
    request_of,
    verdict_on,
    vouchers_of,
    with_verifiers,
)

WINDOW_SLOTS = 16


def homes(members: int, **membership: Any) -> Community:
    fields = {"members_min": 4, "seen_window_slots": WINDOW_SLOTS, "verifier_keys": (), **membership}
    return make_genesis(members, membership=MembershipParameters(**fields))


HOMES = homes(6)
LAPSE_SLOTS = LAPSE_MS // HOMES.genesis.slot_duration_ms
NEW = newcomer(1)


def reason_of(chain: JoiningChain, sender: int | SigningKey, action: Action, **context: Any) -> Reason:
    (receipt,) = chain.block((sender, action), **context).receipts
    return receipt.reason  # type: ignore[no-any-return]


def list_of(chain: JoiningChain) -> MemberList:
    return chain.read(MEMBER_LIST_KEY, MemberList)


def queue_of(chain: JoiningChain) -> MemberQueue:
    return chain.read(MEMBER_QUEUE_KEY, MemberQueue)


def joins(home: Newcomer) -> Join:
    return Join(address=home.address, node_key=home.node_key.public_key)


# --- from application to member --------------------------------------------------------------------------------


def test_a_home_becomes_a_member_two_heights_after_it_said_that_it_is_ready() -> None:
    chain = JoiningChain(HOMES)
    assert chain.request(NEW).status is Status.EXECUTED
    panel = chain.applicant(NEW).panel
    assert panel == HOMES.addresses
    for verifier in range(verdicts_needed(len(panel))):
        assert chain.applicant(NEW).standing is Standing.OPEN
        assert account_key(NEW.address) not in chain.state, "the wallet comes with the admission"
        chain.judge(NEW, [verifier])
    assert chain.applicant(NEW).standing is Standing.CANDIDATE
    assert list_of(chain).addresses == HOMES.addresses
    assert chain.read(account_key(NEW.address), Account) == new_account()
    assert reason_of(chain, NEW.node_key, chain.ready()) is Reason.NONE
    known, fixed = list_of(chain), chain.height
    assert known.addresses == (*HOMES.addresses, NEW.address)
    assert [NEW.address in dict(known.at(Height(fixed + ahead))) for ahead in (0, 1, 2)] == [False, False, True]
    assert chain.applicant(NEW).standing is Standing.JOINED
    assert chain.unfinished() == ()
    assert queue_of(chain).last == joins(NEW)


def test_nothing_but_its_address_names_it() -> None:
    chain = JoiningChain(HOMES)
    chain.admit(NEW)
    member = chain.read(member_key(NEW.address), Member)
    assert (member.name, member.capacity_w) == (f"home-{NEW.address.hex()[:8]}", NEW.voucher.capacity_w)
    assert (member.node_key, member.meter_key) == (NEW.node_key.public_key, NEW.meter_key.public_key)


def test_the_tokens_of_a_candidate_are_counted() -> None:
    """Also of one that never comes: its wallet stays."""
    chain = JoiningChain(HOMES)
    chain.admit(NEW)
    chain.block((HOMES.issuer_key, IssueTokens(recipient=NEW.address, amount_micro=7)))
    chain.block(slot=2 * LAPSE_SLOTS)
    assert chain.applicant(NEW).standing is Standing.LAPSED
    assert conserved(read_totals(chain.state), sum_tokens(chain.state, HOMES.genesis))


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (SetLeaving(leaving=True), Reason.LEAVE_NOT_MEMBER),
        (SetStake(staked=0), Reason.STAKE_NOT_MEMBER),
        (ShowPresence(), Reason.PRESENCE_NOT_MEMBER),
        (request_of(HOMES, newcomer(2)), Reason.JOIN_SPONSOR_NOT_MEMBER),
        (signed_reading(HOMES, 2, 500, meter=NEW.address, meter_key=NEW.meter_key), Reason.READING_FOREIGN_METER),
    ],
)
def test_a_candidate_is_no_member(action: Action, reason: Reason) -> None:
    chain = JoiningChain(HOMES)
    chain.admit(NEW)
    assert reason_of(chain, NEW.node_key, action) is reason


def test_nobody_trades_with_a_candidate() -> None:
    chain = JoiningChain(HOMES)
    chain.admit(NEW)
    terms = replace(forward_terms(HOMES, 2, 3, 100), buyer=NEW.address, destination_meter=NEW.address)
    contract = sign_trade(terms, seller=HOMES.node_keys[2], buyer=NEW.node_key)
    assert reason_of(chain, 2, contract) is Reason.TRADE_UNKNOWN_PARTY


# --- the application -------------------------------------------------------------------------------------------


def with_vouchers(**changes: Any) -> RequestJoin:
    request = request_of(HOMES, NEW)
    return replace(request, vouchers=replace(request.vouchers, **changes))


OTHER = newcomer(2)
FORGED = SigningKey(b"\x07" * 32)
APPLICATION = request_of(HOMES, NEW).application
IN_THE_PAST = replace(vouchers_of(HOMES, NEW).issuing, valid_until_ms=HOMES.genesis.start_ms)

BAD_REQUESTS: dict[str, tuple[Callable[[], RequestJoin], Reason]] = {
    "another chain's": (lambda: request_of(HOMES, NEW, chain=bytes(32)), Reason.JOIN_WRONG_CHAIN),
    "signed by another node key": (
        lambda: replace(request_of(HOMES, NEW), node_signature=FORGED.sign(encode(APPLICATION))),
        Reason.JOIN_NO_POSSESSION,
    ),
    "signed by another meter": (
        lambda: replace(request_of(HOMES, NEW), meter_signature=NEW.node_key.sign(encode(APPLICATION))),
        Reason.JOIN_NO_POSSESSION,
    ),
    "altered behind the signatures": (
        lambda: replace(request_of(HOMES, NEW), application=replace(APPLICATION, terms=bytes(32))),
        Reason.JOIN_NO_POSSESSION,
    ),
    "another home's vouchers": (
        lambda: replace(request_of(HOMES, NEW), vouchers=vouchers_of(HOMES, OTHER)),
        Reason.JOIN_NOT_VOUCHED,
    ),
    "another node key than vouched for": (
        lambda: request_of(HOMES, newcomer(1, node_key=OTHER.node_key.public_key)),
        Reason.JOIN_NOT_VOUCHED,
    ),
    "another meter than vouched for": (
        lambda: request_of(HOMES, newcomer(1, meter_key=OTHER.meter_key.public_key)),
        Reason.JOIN_NOT_VOUCHED,
    ),
    "an issuing key that vouches for itself": (
        lambda: with_vouchers(issuing_signature=ISSUING_KEY.sign(encode(vouchers_of(HOMES, NEW).issuing))),
        Reason.JOIN_NOT_VOUCHED,
    ),
    "a home that vouches for itself": (
        lambda: with_vouchers(home_signature=NEW.node_key.sign(encode(NEW.voucher))),
        Reason.JOIN_NOT_VOUCHED,
    ),
    "more capacity than vouched for": (
        lambda: with_vouchers(home=replace(NEW.voucher, capacity_w=2_000)),
        Reason.JOIN_NOT_VOUCHED,
    ),
    "not valid yet": (
        lambda: request_of(HOMES, newcomer(1, valid_from_ms=HOMES.genesis.start_ms + 251)),
        Reason.JOIN_EXPIRED,
    ),
    "valid no more": (
        lambda: request_of(HOMES, newcomer(1, valid_until_ms=HOMES.genesis.start_ms + 249)),
        Reason.JOIN_EXPIRED,
    ),
    "an issuing authority's time is over": (
        lambda: with_vouchers(issuing=IN_THE_PAST, issuing_signature=HOMES.authority_key.sign(encode(IN_THE_PAST))),
        Reason.JOIN_EXPIRED,
    ),
    "a connection beyond all sums": (
        lambda: request_of(HOMES, newcomer(1, capacity_w=1_000_000_000)),
        Reason.JOIN_ABOVE_CAPACITY,
    ),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_an_application_is_refused(name: str) -> None:
    made, reason = BAD_REQUESTS[name]
    chain = JoiningChain(HOMES)
    before = dict(chain.state)
    (receipt,) = chain.block((0, made()), slot=1).receipts
    assert (receipt.status, receipt.reason, receipt.fault) == (Status.DECLINED, reason, None)
    assert applicant_key(NEW.address) not in chain.state
    assert chain.state[APPLICATIONS_KEY] == before[APPLICATIONS_KEY]


@pytest.mark.parametrize("edge", ["valid_from_ms", "valid_until_ms"])
def test_vouchers_are_valid_at_both_ends_of_their_time(edge: str) -> None:
    chain = JoiningChain(HOMES)
    now_ms = HOMES.genesis.start_ms + 9 * HOMES.genesis.slot_duration_ms
    assert chain.request(newcomer(1, **{edge: now_ms}), slot=9).reason is Reason.NONE


def keys_of_all() -> dict[str, SigningKey]:
    return {
        "a member's node": HOMES.node_keys[1],
        "a member's meter": HOMES.meter_keys[1],
        "the authority": HOMES.authority_key,
        "the issuer": HOMES.issuer_key,
        "the grid": HOMES.grid_key,
        "a candidate's node": OTHER.node_key,
        "a candidate's meter": OTHER.meter_key,
        "an applicant's node": newcomer(3).node_key,
        "an applicant's meter": newcomer(3).meter_key,
    }


@pytest.mark.parametrize("whose", keys_of_all())
@pytest.mark.parametrize(
    ("field", "reason"), [("node_key", Reason.JOIN_SAME_KEY), ("meter_key", Reason.JOIN_SAME_METER)]
)
def test_no_key_that_is_somebodys_comes_in_again(whose: str, field: str, reason: Reason) -> None:
    chain = JoiningChain(HOMES)
    chain.admit(OTHER)
    chain.request(newcomer(3), sponsor=1)
    key = keys_of_all()[whose]
    stolen = newcomer(4, **{field: key.public_key})
    stolen = replace_keys(stolen, **{field: key})
    assert chain.request(stolen, sponsor=2, number=9).reason is reason


def replace_keys(home: Newcomer, **keys: SigningKey) -> Newcomer:
    fields = {"node_key": home.node_key, "meter_key": home.meter_key, **keys}
    return Newcomer(**fields, voucher=home.voucher)


def test_node_and_meter_have_keys_of_their_own() -> None:
    chain, key = JoiningChain(HOMES), NEW.node_key
    both = replace_keys(newcomer(1, meter_key=key.public_key), meter_key=key)
    assert chain.request(both).reason is Reason.JOIN_SAME_KEY


@pytest.mark.parametrize("until", ["request", "admission", "membership"])
def test_one_person_has_one_home(until: str) -> None:
    chain = JoiningChain(HOMES)
    {"request": chain.request}.get(until, chain.admit)(NEW)
    if until == "membership":
        chain.block((NEW.node_key, chain.ready()))
        assert NEW.address in list_of(chain).addresses
    again = newcomer(2, person=NEW.voucher.person)
    assert chain.request(again, sponsor=1).reason is Reason.JOIN_SAME_PERSON


def test_who_left_may_come_back_with_new_keys() -> None:
    chain = JoiningChain(HOMES)
    chain.admit(NEW)
    chain.block((NEW.node_key, chain.ready()))
    for _ in range(3):
        chain.block((NEW.node_key, SetLeaving(leaving=True)))
    assert NEW.address not in list_of(chain).addresses
    assert chain.request(NEW, number=2).reason is Reason.JOIN_SAME_KEY
    assert chain.request(newcomer(2, person=NEW.voucher.person)).reason is Reason.NONE


# --- bounds ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [HOMES.issuer_key, HOMES.grid_key])
def test_members_bring_applications_and_nobody_else(key: SigningKey) -> None:
    assert reason_of(JoiningChain(HOMES), key, request_of(HOMES, NEW)) is Reason.JOIN_SPONSOR_NOT_MEMBER


def test_a_member_brings_one_application_at_a_time() -> None:
    chain = JoiningChain(HOMES)
    chain.request(NEW)
    assert chain.request(OTHER).reason is Reason.JOIN_SPONSOR_BUSY
    chain.judge(NEW, range(5))
    assert chain.request(OTHER).reason is Reason.JOIN_SPONSOR_BUSY, "a candidate is not over"
    chain.block((NEW.node_key, chain.ready()))
    assert chain.request(OTHER).reason is Reason.NONE


def test_so_many_applications_are_open_at_once_and_no_more() -> None:
    chain = JoiningChain(homes(UNFINISHED_MAX + 1))
    reasons = [chain.request(newcomer(member), sponsor=member).reason for member in range(UNFINISHED_MAX + 1)]
    assert reasons == [Reason.NONE] * UNFINISHED_MAX + [Reason.JOIN_TOO_MANY]


def test_there_are_no_more_members_than_the_chain_can_have() -> None:
    chain = JoiningChain(homes(MEMBERS_MAX - 1))
    assert chain.request(NEW).reason is Reason.NONE
    assert chain.request(OTHER, sponsor=1).reason is Reason.JOIN_TOO_MANY


@pytest.mark.parametrize("members", [1, 2])
def test_two_verifiers_are_too_few(members: int) -> None:
    chain = JoiningChain(homes(members))
    assert chain.request(NEW).reason is Reason.JOIN_TOO_FEW_STAKERS


# --- verifiers -------------------------------------------------------------------------------------------------


def test_so_many_of_a_panel_must_say_the_same() -> None:
    assert [verdicts_needed(size) for size in range(1, 11)] == [3, 3, 3, 3, 4, 5, 5, 6, 7, 7]


def test_genesis_names_the_verifiers() -> None:
    five = homes(8)
    named = make_genesis(8, membership=with_verifiers(five, 6, 1, 3))
    chain = JoiningChain(named)
    chain.request(NEW)
    assert chain.applicant(NEW).panel == tuple(named.addresses[number] for number in (1, 3, 6))


def test_a_panel_has_ten_at_most() -> None:
    many = homes(PANEL_MAX + 3)
    chain = JoiningChain(many)
    assert named_panel(Overlay(chain.state), many.genesis) == many.addresses[:PANEL_MAX]


def test_who_left_or_is_suspended_verifies_nothing() -> None:
    chain = JoiningChain(HOMES)
    chain.request(NEW)
    chain.block((1, SetLeaving(leaving=True)))
    suspended = replace(chain.score(2), is_suspended=True)
    chain.state[score_key(HOMES.addresses[2])] = encode(suspended)
    assert [reason_of(chain, one, verdict_on(NEW)) for one in (1, 2)] == [Reason.VERDICT_NOT_VERIFIER] * 2
    others = [HOMES.addresses[number] for number in (0, 3, 4, 5)]
    assert named_panel(Overlay(chain.state), HOMES.genesis) == tuple(others)


def test_a_verdict_is_given_once_by_a_verifier_of_an_open_application() -> None:
    verifying = make_genesis(6, membership=with_verifiers(HOMES, 0, 1, 2))
    chain = JoiningChain(verifying)
    assert reason_of(chain, 0, verdict_on(NEW)) is Reason.VERDICT_NOT_OPEN
    chain.request(NEW, number=5)
    assert reason_of(chain, 0, verdict_on(NEW, number=4)) is Reason.VERDICT_NOT_OPEN
    assert reason_of(chain, 4, verdict_on(NEW, number=5)) is Reason.VERDICT_NOT_VERIFIER
    assert reason_of(chain, 0, verdict_on(NEW, number=5)) is Reason.NONE
    for verdict in Verdict:
        assert reason_of(chain, 0, verdict_on(NEW, verdict, number=5)) is Reason.VERDICT_GIVEN_BEFORE
    assert chain.applicant(NEW).verdicts == (GivenVerdict(verifier=verifying.addresses[0], verdict=Verdict.ACCEPT),)


def test_refusals_for_different_reasons_add_up() -> None:
    chain = JoiningChain(HOMES)
    chain.request(NEW)
    refusing = [verdict for verdict in Verdict if verdict is not Verdict.ACCEPT]
    chain.judge(NEW, [0])
    for verifier, verdict in enumerate(refusing, start=1):
        assert chain.applicant(NEW).standing is Standing.OPEN
        chain.judge(NEW, [verifier], verdict)
    assert len(refusing) == verdicts_needed(6) == 5
    assert chain.applicant(NEW).standing is Standing.REFUSED
    assert member_key(NEW.address) not in chain.state
    assert chain.unfinished() == ()


def test_who_was_refused_waits_until_the_day_is_over() -> None:
    chain = JoiningChain(HOMES)
    chain.request(NEW, slot=10)
    chain.judge(NEW, range(6), Verdict.IDENTITY_WRONG)
    assert chain.request(NEW).reason is Reason.JOIN_REPLAYED
    assert chain.request(NEW, number=2).reason is Reason.JOIN_REFUSED_BEFORE
    assert chain.request(NEW, number=2, slot=10 + LAPSE_SLOTS).reason is Reason.NONE


def test_a_panel_that_keeps_silent_lets_an_application_lapse_and_it_may_come_again() -> None:
    chain = JoiningChain(HOMES)
    chain.request(NEW, slot=10)
    chain.judge(NEW, range(4))
    chain.block(slot=10 + LAPSE_SLOTS - 1)
    assert chain.applicant(NEW).standing is Standing.OPEN
    assert reason_of(chain, 4, verdict_on(NEW), slot=10 + LAPSE_SLOTS) is Reason.VERDICT_NOT_OPEN
    assert chain.applicant(NEW).standing is Standing.LAPSED
    assert chain.request(NEW, number=1).reason is Reason.JOIN_REPLAYED
    assert chain.request(NEW, number=2).reason is Reason.NONE
    assert chain.applicant(NEW).verdicts == (), "verdicts on the earlier one do not count"


@pytest.mark.parametrize("key", [NEW.node_key, NEW.meter_key])
def test_a_key_that_became_anothers_meanwhile_lets_nobody_in(key: SigningKey) -> None:
    """As a ceremony may give it to the new home of a member: two members under one key would stop the chain."""
    chain = JoiningChain(HOMES)
    chain.request(NEW)
    chain.state[used_key(key.public_key)] = encode(KeyOwner(owner=HOMES.addresses[1]))
    chain.judge(NEW, range(5))
    assert chain.applicant(NEW).standing is Standing.LAPSED
    assert member_key(NEW.address) not in chain.state


# --- ready -----------------------------------------------------------------------------------------------------


def admitted(community: Community = HOMES, home: Newcomer = NEW) -> JoiningChain:
    chain = JoiningChain(community)
    chain.admit(home)
    assert chain.applicant(home).standing is Standing.CANDIDATE
    return chain


@pytest.mark.parametrize("sender", [0, HOMES.issuer_key])
def test_candidates_say_that_they_are_ready_and_nobody_else(sender: int | SigningKey) -> None:
    chain = admitted()
    assert reason_of(chain, sender, chain.ready()) is Reason.READY_NOT_CANDIDATE
    chain.block((NEW.node_key, chain.ready()))
    assert reason_of(chain, NEW.node_key, chain.ready()) is Reason.READY_NOT_CANDIDATE


def test_a_candidate_names_a_block_that_was_decided_lately() -> None:
    chain = admitted()
    unknown = (
        chain.ready(block=bytes(32)),
        chain.ready(block=chain.block_digest(chain.height - 1)),
        chain.ready(height=chain.height + 9, block=chain.block_digest(chain.height + 9)),
    )
    assert {reason_of(chain, NEW.node_key, action) for action in unknown} == {Reason.READY_UNKNOWN_BLOCK}
    early = chain.height
    while chain.height < early + READY_HEIGHTS_MAX:
        chain.block()
    named = chain.ready(height=early, block=chain.block_digest(early))
    assert reason_of(chain, NEW.node_key, named) is Reason.READY_OLD_BLOCK
    assert queue_of(chain).waiting == ()
    named = chain.ready(height=early + 2, block=chain.block_digest(early + 2))
    assert reason_of(chain, NEW.node_key, named) is Reason.NONE


def hindrance(chain: JoiningChain, home: Newcomer) -> Hindrance | None:
    return prospect(
        Overlay(chain.state),
        joins(home),
        height=Height(chain.height + 1),
        slot=Slot(chain.slot + 1),
        genesis=chain.community.genesis,
    ).hindrance


def test_a_candidate_counts_by_its_word_alone() -> None:
    """Six members, four of them there: with the seventh five are, which is a quorum of seven."""
    chain = admitted()
    late = chain.slot + WINDOW_SLOTS + 5
    there = HOMES.addresses[:3]
    assert reason_of(chain, NEW.node_key, chain.ready(), slot=late, parent_voters=there) is Reason.NONE
    assert hindrance(chain, NEW) is Hindrance.TOO_FEW_SEEN
    assert queue_of(chain).waiting == (joins(NEW),)
    chain.block(slot=late + WINDOW_SLOTS, parent_voters=HOMES.addresses[:4])
    assert queue_of(chain).waiting == ()


def test_a_word_counts_for_the_window_and_then_it_says_it_again() -> None:
    chain = admitted()
    late = chain.slot + WINDOW_SLOTS + 5
    chain.block((NEW.node_key, chain.ready()), slot=late, parent_voters=())
    assert reason_of(chain, NEW.node_key, chain.ready(), parent_voters=()) is Reason.READY_SAID_BEFORE
    chain.block((NEW.node_key, IssueTokens(recipient=NEW.address, amount_micro=1)), parent_voters=())
    chain.block(slot=late + WINDOW_SLOTS + 1)  # all members are seen, and the candidate is not
    assert hindrance(chain, NEW) is Hindrance.NOT_READY
    assert queue_of(chain).waiting == (joins(NEW),)
    assert reason_of(chain, NEW.node_key, chain.ready()) is Reason.NONE
    assert queue_of(chain).waiting == ()


def test_a_candidate_that_never_comes_lapses_and_may_apply_again() -> None:
    chain = admitted()
    end = chain.applicant(NEW).until_slot
    chain.block(slot=end - 1)
    assert chain.applicant(NEW).standing is Standing.CANDIDATE
    assert reason_of(chain, NEW.node_key, chain.ready(), slot=end) is Reason.READY_NOT_CANDIDATE
    assert (chain.applicant(NEW).standing, chain.unfinished()) == (Standing.LAPSED, ())
    wallet = chain.read(account_key(NEW.address), Account)
    chain.admit(NEW, sponsor=1, number=2)
    assert chain.applicant(NEW).standing is Standing.CANDIDATE
    assert chain.read(account_key(NEW.address), Account) == wallet, "the wallet is the same"
    assert chain.read(APPLICATIONS_KEY, Applications).admitted == (NEW.address,)
    assert reason_of(chain, NEW.node_key, chain.ready()) is Reason.NONE


def test_one_that_waits_and_says_nothing_more_lapses_and_waits_no_more() -> None:
    chain = admitted()
    late = chain.slot + WINDOW_SLOTS + 5
    chain.block((NEW.node_key, chain.ready()), slot=late, parent_voters=())
    assert queue_of(chain).waiting == (joins(NEW),)
    chain.block(slot=late + LAPSE_SLOTS - 1, parent_voters=())
    assert queue_of(chain).waiting == (joins(NEW),), "a day from its last word"
    chain.block(slot=late + LAPSE_SLOTS, parent_voters=())
    assert (queue_of(chain).waiting, chain.applicant(NEW).standing) == ((), Standing.LAPSED)


def test_who_goes_is_not_kept_by_who_comes() -> None:
    """A leave that was said later is tried first; each set decides a block before the next change is fixed."""
    chain = admitted()
    late = chain.slot + WINDOW_SLOTS + 5
    chain.block((NEW.node_key, chain.ready()), slot=late, parent_voters=())
    chain.block((5, SetLeaving(leaving=True)), parent_voters=())
    assert queue_of(chain).waiting == (Leave(address=HOMES.addresses[5]), joins(NEW))
    chain.block()
    assert queue_of(chain).waiting == (joins(NEW),)
    fixed = chain.height
    assert chain.block().changes.keys().isdisjoint({MEMBER_LIST_KEY}), "one is pending"
    chain.block()
    known = list_of(chain)
    assert queue_of(chain).waiting == ()
    assert [len(known.at(Height(fixed + ahead))) for ahead in (1, 2, 3, 4)] == [6, 5, 5, 6]
    assert known.addresses[-1] == NEW.address


# --- eras ------------------------------------------------------------------------------------------------------


def begin(chain: JoiningChain, base: int, *, replaced: SigningKey | None = None) -> None:
    """Begins an era with the founders; the first one's home may have been replaced by one with another key."""
    keys = {key.address: key.public_key for key in chain.community.node_keys}
    if replaced is not None:
        keys[chain.community.addresses[0]] = replaced.public_key
    members = tuple(keys.items())
    chain.block(beginning=EraBeginning(starts=(), base=Height(base), members=members), parent_voters=())


def test_a_join_that_was_not_in_force_at_a_base_waits_again() -> None:
    chain = admitted()
    chain.block((NEW.node_key, chain.ready()))
    fixed = chain.height
    begin(chain, fixed)
    known = list_of(chain)
    assert [NEW.address in dict(known.at(Height(fixed + ahead))) for ahead in (1, 2, 3)] == [False, False, True]
    assert (chain.applicant(NEW).standing, chain.unfinished()) == (Standing.JOINED, ())


def test_who_was_to_join_at_a_base_and_is_not_heard_again_lapses() -> None:
    chain = admitted()
    chain.block((NEW.node_key, chain.ready()))
    base = chain.height
    late = chain.slot + WINDOW_SLOTS + 5
    keys = {key.address: key.public_key for key in HOMES.node_keys}
    beginning = EraBeginning(starts=(), base=Height(base), members=tuple(keys.items()))
    chain.block(beginning=beginning, slot=late, parent_voters=())
    assert (chain.applicant(NEW).standing, chain.unfinished()) == (Standing.CANDIDATE, (NEW.address,))
    assert queue_of(chain).waiting == (joins(NEW),)
    chain.block(slot=late + LAPSE_SLOTS)
    assert (chain.applicant(NEW).standing, queue_of(chain).waiting) == (Standing.LAPSED, ())


def test_candidates_go_on_waiting_when_an_era_begins() -> None:
    chain = admitted()
    chain.block((NEW.node_key, chain.ready()), slot=chain.slot + WINDOW_SLOTS + 5, parent_voters=())
    begin(chain, chain.height)
    assert queue_of(chain).waiting == (joins(NEW),)


def test_a_key_that_a_ceremony_brings_is_used() -> None:
    chain, key = JoiningChain(HOMES), SigningKey(b"\x09" * 32)
    chain.block()
    begin(chain, 1, replaced=key)
    stolen = replace_keys(newcomer(1, node_key=key.public_key), node_key=key)
    assert chain.request(stolen, sponsor=1).reason is Reason.JOIN_SAME_KEY


@pytest.mark.parametrize("until", ["admission", "ready", "membership"])
@pytest.mark.parametrize("key", [NEW.node_key, NEW.meter_key])
def test_a_ceremony_that_gives_a_members_new_home_the_key_of_a_candidate_ends_that_one(
    until: str, key: SigningKey
) -> None:
    """Two members under one node key would stop the chain for good."""
    chain = admitted()
    if until == "ready":
        chain.block((NEW.node_key, chain.ready()), slot=chain.slot + WINDOW_SLOTS + 5, parent_voters=())
        assert queue_of(chain).waiting == (joins(NEW),)
    elif until == "membership":
        chain.block((NEW.node_key, chain.ready()))
        assert queue_of(chain).last == joins(NEW)
    begin(chain, chain.height, replaced=key)
    assert (chain.applicant(NEW).standing, chain.unfinished()) == (Standing.LAPSED, ())
    assert queue_of(chain).waiting == ()
    assert reason_of(chain, NEW.node_key, chain.ready()) is Reason.READY_NOT_CANDIDATE
    assert NEW.address not in list_of(chain).addresses
    assert chain.request(NEW, number=2, sponsor=1).reason in {Reason.JOIN_SAME_KEY, Reason.JOIN_SAME_METER}


# --- offices ---------------------------------------------------------------------------------------------------

NEXT = seeded_key("successor", 0)


def replacement(office: SigningKey, key: SigningKey) -> ReplaceOfficeKey:
    return ReplaceOfficeKey(successor=office_successor(HOMES.chain, office.address, key))


def test_the_key_that_acts_for_the_authority_vouches_and_no_earlier_one() -> None:
    chain, request = JoiningChain(HOMES), request_of(HOMES, NEW)
    under_next = replace(request, vouchers=vouchers_of(HOMES, NEW, root_key=NEXT))
    assert reason_of(chain, 0, under_next) is Reason.JOIN_NOT_VOUCHED
    assert reason_of(chain, HOMES.authority_key, replacement(HOMES.authority_key, NEXT)) is Reason.NONE
    assert reason_of(chain, 0, request) is Reason.JOIN_NOT_VOUCHED
    assert reason_of(chain, 0, under_next) is Reason.NONE


@pytest.mark.parametrize("office", [HOMES.authority_key, HOMES.issuer_key, HOMES.grid_key])
def test_no_key_that_is_or_was_an_offices_joins(office: SigningKey) -> None:
    chain = JoiningChain(HOMES)
    chain.block((office, replacement(office, NEXT)))
    authority = NEXT if office is HOMES.authority_key else HOMES.authority_key
    for key in (office, NEXT):
        for field, reason in (("node_key", Reason.JOIN_SAME_KEY), ("meter_key", Reason.JOIN_SAME_METER)):
            home = replace_keys(newcomer(1, **{field: key.public_key}), **{field: key})
            request = replace(request_of(HOMES, home), vouchers=vouchers_of(HOMES, home, root_key=authority))
            assert reason_of(chain, 0, request) is reason


@pytest.mark.parametrize("key", [NEW.node_key, NEW.meter_key])
def test_no_office_gets_a_key_of_a_candidate_and_of_who_only_asked_it_ends_that_one(key: SigningKey) -> None:
    """A key is noted at the admission: an application that nobody decided yet keeps none from others."""
    chain, action = admitted(), replacement(HOMES.issuer_key, key)
    assert reason_of(chain, HOMES.issuer_key, action) is Reason.OFFICE_KEY_USED_BEFORE
    chain = JoiningChain(HOMES)
    chain.request(NEW)
    assert reason_of(chain, HOMES.issuer_key, action) is Reason.NONE
    chain.judge(NEW, range(5))
    assert chain.applicant(NEW).standing is Standing.LAPSED
