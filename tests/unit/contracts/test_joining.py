"""Homes that join: what an application must show, who decides, when a candidate counts."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from consensus.codec import encode
from consensus.cryptography import SigningKey
from consensus.identifiers import Height
from contracts.applicants import GivenVerdict, Standing, Verdict
from contracts.genesis import MembershipParameters
from contracts.genesis_state import MEMBERS_MAX, new_account
from contracts.joining import LAPSE_MS, UNFINISHED_MAX
from contracts.member_records import Join, KeyOwner, MemberQueue
from contracts.panels import verdicts_needed, verifiers
from contracts.receipts import Reason, Status
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
    JoiningChain,
    Newcomer,
    newcomer,
    request_of,
    verdict_on,
    vouchers_of,
    with_verifiers,
)
from tests.support.vouchers import ISSUING_KEY

WINDOW_SLOTS = 16


def homes(members: int, **membership: Any) -> Community:
    fields = {
        "members_min": 4,
        "seen_window_slots": WINDOW_SLOTS,
        "removal_wait_slots": 1_000,
        "verifier_keys": (),
        **membership,
    }
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


def admitted(community: Community = HOMES, home: Newcomer = NEW) -> JoiningChain:
    chain = JoiningChain(community)
    chain.admit(home)
    assert chain.applicant(home).standing is Standing.CANDIDATE
    return chain


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
    assert member.capacity_w == NEW.voucher.capacity_w
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


def test_who_left_or_is_suspended_verifies_nothing() -> None:
    chain = JoiningChain(HOMES)
    chain.request(NEW)
    chain.block((1, SetLeaving(leaving=True)))
    suspended = replace(chain.score(2), is_suspended=True)
    chain.state[score_key(HOMES.addresses[2])] = encode(suspended)
    assert [reason_of(chain, one, verdict_on(NEW)) for one in (1, 2)] == [Reason.VERDICT_NOT_VERIFIER] * 2
    others = [HOMES.addresses[number] for number in (0, 3, 4, 5)]
    assert verifiers(Overlay(chain.state), HOMES.genesis) == tuple(others)


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
