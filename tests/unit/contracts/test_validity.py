"""Members whose certificates run out: who goes, when, what waits, and what a renewal changes."""

from typing import Any

import pytest
from msgspec.structs import replace

from consensus.codec import encode
from consensus.cryptography import SigningKey
from consensus.eras import EraStart
from consensus.identifiers import Digest, EraNumber, Height, Slot
from contracts.agenda_records import Agenda
from contracts.applicants import Standing
from contracts.genesis import EXPIRY_VERSION, MembershipParameters
from contracts.genesis_state import genesis_state
from contracts.member_changes import Hindrance, prospect
from contracts.member_records import Leave, Removal, RemovalCause
from contracts.receipts import Reason, Status
from contracts.removals import expire_member
from contracts.rule_records import Rules
from contracts.run import BlockRun, EraBeginning, ScoreBoard
from contracts.state import (
    AGENDA_KEY,
    LAST_EXPIRY_KEY,
    MEMBER_LIST_KEY,
    RULES_KEY,
    MemberList,
    Overlay,
    validity_key,
)
from contracts.transactions import Action, ReplaceOfficeKey, SetLeaving, office_successor
from contracts.validity import GRACE_WAITS, removal_slot
from contracts.validity_records import CertificateEnd, Validity
from tests.support.contracts import (
    Community,
    DictChain,
    block_context,
    make_genesis,
    seeded_key,
    signed_forward,
    signed_reading,
    transfer,
)
from tests.support.joining import JoiningChain, newcomer
from tests.support.validity import removal_slot_of, renewal, time_of, with_ends
from tests.support.vouchers import replace_by, rotate_to
from tests.unit.contracts.test_removals import give_key, members_of, queue_of, revocation_of

WAIT = 50
END = 1_000
"""The slot with which certificates end here, if nothing else is said."""


def homes(members: int, ends: dict[int, int] | None = None, *, window: int = 10**9, **fields: Any) -> Community:
    membership = MembershipParameters(
        members_min=4, seen_window_slots=window, removal_wait_slots=WAIT, verifier_keys=()
    )
    made = make_genesis(members, membership=membership, **fields)
    return with_ends(made, {2: END} if ends is None else ends)


HOMES = homes(7)
PLAN = Digest(b"\x09" * 32)
GOES = removal_slot_of(HOMES.genesis, END)
"""The first slot in which the removal of member 2 may wait."""


def validity(chain: DictChain, member: int) -> Validity:
    return chain.read(validity_key(chain.community.addresses[member]), Validity)


def expiring(chain: DictChain) -> list[tuple[int, Hindrance | None]]:
    """Whose removals wait as a certificate ran out, and why the next block would not carry them out."""
    overlay, genesis = Overlay(chain.state), chain.community.genesis
    at = {"height": Height(chain.height + 1), "slot": Slot(chain.slot + 1), "genesis": genesis}
    return [
        (chain.community.addresses.index(one.address), prospect(overlay, one, **at).hindrance)
        for one in queue_of(chain).waiting
        if isinstance(one, Removal) and one.cause is RemovalCause.EXPIRED
    ]


def reason_of(chain: DictChain, sender: int | SigningKey, action: Action, **block: Any) -> Reason:
    """Executes it alone; declined, it changed nothing of what is known of anybody's certificate."""
    before = {key: value for key, value in chain.state.items() if key[:1] == b"L"}
    (receipt,) = chain.block((sender, action), **block).receipts
    after = {key: value for key, value in chain.state.items() if key[:1] == b"L"}
    assert (receipt.status is Status.EXECUTED) == (receipt.reason is Reason.NONE)
    assert receipt.fault is None
    if receipt.status is Status.DECLINED:
        assert after == before
    return receipt.reason


# --- the end ---------------------------------------------------------------------------------------------------


def test_a_member_whose_certificate_ran_out_goes_a_grace_later_and_not_a_slot_before() -> None:
    """Attack: a leader that moves block time as far as it can expires nobody a day early, let alone a grace."""
    chain = DictChain(HOMES)
    chain.block(slot=GOES - 1)
    assert (members_of(chain), queue_of(chain).waiting) == ([*range(7)], ())
    chain.block(slot=GOES)
    assert members_of(chain) == [0, 1, 3, 4, 5, 6]
    expected = Removal(address=HOMES.addresses[2], cause=RemovalCause.EXPIRED, node_key=None, reference=HOMES.chain)
    assert (queue_of(chain).last, queue_of(chain).last_height) == (expected, 2)
    assert queue_of(chain).revoked_slot is None, "the authority's word is not hindered by its silence"
    known = chain.read(MEMBER_LIST_KEY, MemberList)
    assert [HOMES.addresses[2] in dict(known.at(Height(height))) for height in (2, 3, 4)] == [True, True, False]


def test_the_moment_of_the_end_is_still_valid() -> None:
    genesis, end = HOMES.genesis, time_of(HOMES.genesis, END)
    assert removal_slot(end, genesis) == END + 1 + GRACE_WAITS * WAIT == GOES
    assert [removal_slot(end + extra, genesis) - GOES for extra in (-1, 0, 249, 250)] == [-1, 0, 0, 1]
    assert removal_slot(0, genesis) == 0, "a time before the chain began is over"


def test_who_goes_keeps_its_wallet_and_nothing_is_lost() -> None:
    chain = DictChain(HOMES)
    tokens = chain.account(2).available_micro
    chain.block(slot=GOES)
    chain.block()
    assert chain.account(2).available_micro == tokens
    (receipt,) = chain.block((2, transfer(HOMES, 1, 5))).receipts
    assert receipt.status is Status.EXECUTED


def test_of_whom_no_voucher_was_ever_seen_nothing_ends() -> None:
    chain = DictChain(homes(7, {}))
    chain.block(slot=10**9)
    assert members_of(chain) == [*range(7)]
    assert chain.read(AGENDA_KEY, Agenda).made == 0


def test_the_first_renewal_of_such_a_member_says_when_it_ends() -> None:
    community = homes(7, {})
    chain = DictChain(community)
    assert reason_of(chain, 3, renewal(community, 3, END)) is Reason.NONE
    chain.block(slot=GOES)
    assert members_of(chain) == [0, 1, 2, 4, 5, 6]


def test_a_chain_of_the_version_before_ends_nobodys_membership() -> None:
    community = homes(7, protocol_version=EXPIRY_VERSION - 1)
    chain = DictChain(community)
    chain.block((1, rotate_to(community, 1, seeded_key("next", 1))))
    chain.block(slot=10 * GOES)
    assert members_of(chain) == [*range(7)]
    assert not [key for key in chain.state if key[:1] == b"L"]
    rules = chain.read(RULES_KEY, Rules)
    chain.state[RULES_KEY] = encode(replace(rules, version=EXPIRY_VERSION))
    assert reason_of(chain, 2, renewal(community, 2, 11 * GOES)) is Reason.NONE
    chain.block(slot=removal_slot_of(community.genesis, 11 * GOES))
    assert members_of(chain) == [0, 1, 3, 4, 5, 6], "from then on it is known"


# --- a renewal -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slot", [2, END, END + 1, GOES - 1, GOES])
def test_a_renewal_counts_before_the_end_and_until_the_removal(slot: int) -> None:
    """Accident: its owner was on holiday. In the very block that would remove it the renewal is in time."""
    chain = DictChain(HOMES)
    assert reason_of(chain, 2, renewal(HOMES, 2, 10 * GOES), slot=slot) is Reason.NONE
    assert validity(chain, 2).until_ms == time_of(HOMES.genesis, 10 * GOES)
    assert validity(chain, 2).going_slot is None
    for later in (GOES + 1, 2 * GOES, 10 * GOES):
        chain.block(slot=later)
        assert (members_of(chain), queue_of(chain).waiting) == ([*range(7)], ())
    chain.block(slot=removal_slot_of(HOMES.genesis, 10 * GOES))
    assert members_of(chain) == [0, 1, 3, 4, 5, 6], "the new end counts as the old one did"


def test_a_renewal_behind_the_removal_is_too_late() -> None:
    chain = DictChain(HOMES)
    chain.block(slot=GOES)
    assert reason_of(chain, 2, renewal(HOMES, 2, 10 * GOES)) is Reason.RENEW_NOT_MEMBER
    chain.block()
    assert reason_of(chain, 2, renewal(HOMES, 2, 10 * GOES)) is Reason.RENEW_NOT_MEMBER
    assert members_of(chain) == [0, 1, 3, 4, 5, 6]


@pytest.mark.parametrize("end_slot", [1, END - 1, END])
def test_an_end_that_is_no_later_changes_nothing(end_slot: int) -> None:
    """Attack: somebody plays an old renewal again. Accident: the authority renews for a shorter time."""
    chain = DictChain(HOMES)
    assert reason_of(chain, 2, renewal(HOMES, 2, end_slot), slot=1) is Reason.RENEW_NOT_LATER
    chain.block(slot=GOES)
    assert members_of(chain) == [0, 1, 3, 4, 5, 6]


def test_an_older_renewal_that_is_played_again_takes_nothing() -> None:
    chain = DictChain(HOMES)
    older, newer = renewal(HOMES, 2, 2 * END), renewal(HOMES, 2, 9 * END)
    assert reason_of(chain, 2, older) is Reason.NONE
    assert reason_of(chain, 2, newer) is Reason.NONE
    assert [reason_of(chain, 2, one) for one in (older, newer)] == [Reason.RENEW_NOT_LATER] * 2
    chain.block(slot=removal_slot_of(HOMES.genesis, 2 * END))
    assert members_of(chain) == [*range(7)]


NO_RENEWALS = [
    (renewal(HOMES, 2, 9 * END, root_key=seeded_key("authority", 9)), Reason.RENEW_NOT_VOUCHED),
    (renewal(HOMES, 2, 9 * END, node_key=HOMES.node_keys[1].public_key), Reason.RENEW_NOT_VOUCHED),
    (renewal(HOMES, 2, 9 * END, meter_key=HOMES.meter_keys[1].public_key), Reason.RENEW_NOT_VOUCHED),
    (renewal(HOMES, 3, 9 * END), Reason.RENEW_NOT_VOUCHED),
    (
        renewal(HOMES, 2, 9 * END, valid_from_ms=time_of(HOMES.genesis, 2)),
        Reason.RENEW_EXPIRED,
    ),
]


@pytest.mark.parametrize(("action", "reason"), NO_RENEWALS)
def test_what_is_not_the_authoritys_word_on_these_keys_now_renews_nobody(action: Action, reason: Reason) -> None:
    chain = DictChain(HOMES)
    assert reason_of(chain, 2, action) is reason
    chain.block(slot=GOES)
    assert members_of(chain) == [0, 1, 3, 4, 5, 6]


def test_the_sooner_end_of_both_vouchers_counts() -> None:
    """The issuing authority's own voucher may end before a home's."""
    chain = DictChain(HOMES)
    vouchers = renewal(HOMES, 2, 9 * END).vouchers
    issuing = replace(vouchers.issuing, valid_until_ms=time_of(HOMES.genesis, 2 * END))
    signed = replace(vouchers, issuing=issuing, issuing_signature=HOMES.authority_key.sign(encode(issuing)))
    assert reason_of(chain, 2, replace(renewal(HOMES, 2, 9 * END), vouchers=signed)) is Reason.NONE
    assert validity(chain, 2).until_ms == issuing.valid_until_ms


@pytest.mark.parametrize("kind", ["rotation", "meter"])
def test_another_key_brings_its_own_end_and_never_a_sooner_one(kind: str) -> None:
    later, sooner = (time_of(HOMES.genesis, slot) for slot in (5 * END, END // 2))
    for until_ms, expected in ((later, later), (sooner, time_of(HOMES.genesis, END))):
        chain, key = DictChain(HOMES), seeded_key("next", 2)
        change = rotate_to if kind == "rotation" else replace_by
        assert reason_of(chain, 2, change(HOMES, 2, key, valid_until_ms=until_ms)) is Reason.NONE
        assert validity(chain, 2).until_ms == expected


def test_a_rotation_in_the_last_moment_keeps_the_member() -> None:
    chain = DictChain(HOMES)
    key = seeded_key("next", 2)
    assert reason_of(chain, 2, rotate_to(HOMES, 2, key), slot=GOES) is Reason.NONE
    chain.block()
    chain.block()
    assert members_of(chain) == [*range(7)]
    assert queue_of(chain).waiting == ()


def test_a_joined_home_ends_as_its_application_said() -> None:
    community = homes(7, {})
    chain, new = JoiningChain(community), newcomer(1, valid_until_ms=time_of(community.genesis, END))
    chain.admit(new)
    chain.block((new.node_key, chain.ready()))
    chain.block()
    assert chain.applicant(new).standing is Standing.JOINED
    chain.block(slot=GOES - 1)
    assert new.address in chain.read(MEMBER_LIST_KEY, MemberList).addresses
    chain.block(slot=GOES)
    assert new.address not in chain.read(MEMBER_LIST_KEY, MemberList).addresses


# --- several ---------------------------------------------------------------------------------------------------


def test_one_goes_in_a_waiting_time_and_nobody_below_genesis_floor() -> None:
    """Accident: the provider closed down, and all certificates run out in one block. Block time jumped by years, as
    clocks were wrong: likewise.
    """
    community = homes(7, dict.fromkeys(range(7), END))
    chain = DictChain(community)
    gone: list[tuple[int, int]] = []
    for slot in range(GOES - 5, GOES + 10 * WAIT, 5):
        before = members_of(chain)
        chain.block(slot=slot)
        gone += [(member, slot) for member in before if member not in members_of(chain)]
    assert [slot - other for (_, slot), (_, other) in zip(gone[1:], gone, strict=False)] == [WAIT] * 2
    assert len(members_of(chain)) == 4, "the street goes on"
    assert queue_of(chain).waiting == (), "whoever must wait for a home that joins is hindered in no trade"
    first = min(range(7), key=lambda member: community.addresses[member])
    assert gone[0][0] == first, "of one end the lower address first"


def test_a_chain_that_stood_still_past_all_ends_loses_one_member_before_the_others_are_renewed() -> None:
    """Accident: nothing could be decided from before the end until long after the grace, and who leads the first
    block has heard of no renewal yet.
    """
    community = homes(7, dict.fromkeys(range(7), END))
    chain = DictChain(community)
    chain.block(slot=10 * GOES)
    left = members_of(chain)
    assert len(left) == 6
    for member in left:
        assert reason_of(chain, member, renewal(community, member, 20 * GOES)) is Reason.NONE
    chain.block(slot=10 * GOES + 10 * WAIT)
    assert members_of(chain) == left


def test_who_waits_for_the_floor_goes_once_another_home_joined() -> None:
    community = homes(4, {2: END})
    chain, new = JoiningChain(community), newcomer(1)
    chain.block(slot=GOES)
    chain.block(slot=GOES + WAIT)
    assert (members_of(chain), queue_of(chain).waiting) == ([0, 1, 2, 3], ())
    chain.admit(new)
    chain.block((new.node_key, chain.ready()))
    chain.block()
    chain.block(slot=GOES + 2 * WAIT)
    assert community.addresses[2] not in chain.read(MEMBER_LIST_KEY, MemberList).addresses


def test_it_trades_while_it_waits_for_the_floor_and_not_while_its_removal_waits() -> None:
    community = homes(4, {2: END})
    chain = DictChain(community)
    chain.block(slot=GOES)
    contract = signed_forward(community, 2, 1, 10, expiry_slot=10 * GOES)
    (receipt,) = chain.block((2, contract)).receipts
    assert receipt.status is Status.EXECUTED
    chain = DictChain(HOMES)
    chain.block((2, signed_forward(HOMES, 2, 1, 10, expiry_slot=10 * GOES)))
    chain.block(slot=GOES)
    assert expiring(chain) == [(2, Hindrance.TRADES_PENDING)]
    (receipt,) = chain.block((2, signed_forward(HOMES, 2, 1, 10, offer_counter=1, expiry_slot=10 * GOES))).receipts
    assert receipt.reason is Reason.TRADE_MEMBER_LEAVING


def test_what_is_pending_may_settle_for_a_waiting_time_and_no_longer() -> None:
    """Attack: an accomplice signs a contract that ends never, so that the member stays for ever."""
    chain = DictChain(HOMES)
    chain.block((2, signed_forward(HOMES, 2, 1, 10, expiry_slot=2**40)))
    chain.block(slot=GOES)
    chain.block(slot=GOES + WAIT - 1)
    assert expiring(chain) == [(2, None)], "in the next slot the time is over"
    assert members_of(chain) == [*range(7)]
    chain.block(slot=GOES + WAIT)
    assert members_of(chain) == [0, 1, 3, 4, 5, 6]


def test_what_settles_in_time_lets_it_go_at_once() -> None:
    chain = DictChain(HOMES)
    chain.block((2, signed_forward(HOMES, 2, 1, 10, expiry_slot=2**40)))
    chain.block(slot=GOES)
    chain.block((2, signed_reading(HOMES, 2, 10)), (1, signed_reading(HOMES, 1, -10)))
    assert members_of(chain) == [0, 1, 3, 4, 5, 6]
    assert chain.totals().trades_completed == 1
    assert chain.account(1).held_micro == 0


def test_those_who_stay_must_be_there() -> None:
    community = homes(7, window=100)
    chain = DictChain(community)
    voters = tuple(sorted(community.addresses[:4]))
    chain.block(slot=GOES, parent_voters=voters)
    assert expiring(chain) == [(2, Hindrance.TOO_FEW_SEEN)]
    chain.block()
    assert members_of(chain) == [0, 1, 3, 4, 5, 6]


def test_a_removal_below_the_floor_waits_though_it_waited_already() -> None:
    """Another member went meanwhile: the floor counts when it is carried out, too."""
    community = homes(5, {2: END})
    chain = DictChain(community)
    chain.block((2, signed_forward(community, 2, 1, 10, expiry_slot=2**40)))
    chain.block((1, revocation_of(4, community)), slot=GOES)
    chain.block()
    chain.block(slot=GOES + 3 * WAIT)
    assert members_of(chain) == [0, 1, 2, 3]
    assert expiring(chain) == [(2, Hindrance.TOO_FEW_MEMBERS)]


# --- beside other changes --------------------------------------------------------------------------------------


def test_one_change_at_a_time_and_none_while_one_is_pending() -> None:
    community = homes(9, {2: END})
    chain = DictChain(community)
    chain.block((5, SetLeaving(leaving=True)), slot=GOES - 1)
    assert members_of(chain) == [0, 1, 2, 3, 4, 6, 7, 8]
    chain.block(slot=GOES)
    assert expiring(chain) == [(2, None)], "the leave was not in force"
    chain.block()
    assert members_of(chain) == [0, 1, 3, 4, 6, 7, 8]


def test_who_leaves_itself_is_gone_once() -> None:
    chain = DictChain(HOMES)
    chain.block((2, signed_forward(HOMES, 2, 1, 10, expiry_slot=2**40)), (2, SetLeaving(leaving=True)))
    chain.block(slot=GOES)
    assert [type(change) for change in queue_of(chain).waiting] == [Removal, Leave]
    chain.block(slot=GOES + WAIT)
    assert members_of(chain) == [0, 1, 3, 4, 5, 6]
    assert queue_of(chain).waiting == ()


def test_a_member_that_left_before_its_end_is_not_removed_once_more() -> None:
    chain = DictChain(HOMES)
    chain.block((2, SetLeaving(leaving=True)))
    chain.block(slot=GOES)
    assert queue_of(chain).waiting == ()
    assert chain.state.get(LAST_EXPIRY_KEY) is None


def test_a_ceremony_that_undoes_the_removal_has_it_wait_again() -> None:
    chain = DictChain(HOMES)
    chain.block()
    chain.block(slot=GOES)
    base = chain.height
    everybody = tuple(zip(HOMES.addresses, (key.public_key for key in HOMES.node_keys), strict=True))
    chain.block(beginning=EraBeginning(starts=(), base=Height(base), members=everybody))
    assert members_of(chain) == [0, 1, 3, 4, 5, 6]
    assert queue_of(chain).waiting == ()


def replaced_until(chain: DictChain, *ends: int) -> None:
    """A ceremony gives member 2 a new home whose certificate ends with these slots, one after the other."""
    keys = [key.public_key for key in HOMES.node_keys]
    keys[2] = seeded_key("new-home", chain.height).public_key
    start = EraStart(number=EraNumber(1), plan=PLAN, base=Height(chain.height))
    beginning = EraBeginning(
        starts=(start,),
        base=start.base,
        members=tuple(zip(HOMES.addresses, keys, strict=True)),
        ends=tuple((HOMES.addresses[2], time_of(HOMES.genesis, end)) for end in ends),
    )
    chain.block(slot=GOES + 1, beginning=beginning)


def test_a_ceremony_says_until_when_a_new_home_is_certified() -> None:
    """Its certificate is newer than that of the home that was lost, which ran out meanwhile."""
    chain = DictChain(HOMES)
    chain.block((2, signed_forward(HOMES, 2, 1, 10, expiry_slot=2**40)))
    chain.block(slot=GOES)
    assert expiring(chain) != [], "it waits for what it promised"
    replaced_until(chain, 9 * END)
    known = Validity(until_ms=time_of(HOMES.genesis, 9 * END), reference=PLAN, going_slot=None)
    assert validity(chain, 2) == known
    assert queue_of(chain).waiting == ()
    chain.block(slot=removal_slot_of(HOMES.genesis, 9 * END) - 1)
    assert 2 in members_of(chain)
    assert queue_of(chain).waiting == ()
    chain.block(slot=removal_slot_of(HOMES.genesis, 9 * END))
    assert expiring(chain) != [], "that one ends as any does"


def test_a_ceremony_takes_no_time_from_a_member() -> None:
    chain = DictChain(HOMES)
    chain.block((2, renewal(HOMES, 2, 9 * END)))
    before = validity(chain, 2)
    replaced_until(chain, 8 * END)
    assert validity(chain, 2) == before


def test_a_home_that_a_ceremony_replaced_is_renewed_under_its_new_key() -> None:
    chain, key = DictChain(HOMES), seeded_key("new-home", 2)
    chain.block()
    give_key(chain, 2, key)
    own = key.of_member(HOMES.addresses[2])
    assert reason_of(chain, own, renewal(HOMES, 2, 9 * END)) is Reason.RENEW_NOT_VOUCHED
    assert reason_of(chain, own, renewal(HOMES, 2, 9 * END, node_key=key.public_key)) is Reason.NONE


def test_what_another_authority_vouches_for_counts_once_it_is_the_authority() -> None:
    """The provider closed down, and the members gave its office another key."""
    chain, key = DictChain(HOMES), seeded_key("authority-successor", 0)
    action = renewal(HOMES, 2, 9 * END, root_key=key)
    assert reason_of(chain, 2, action) is Reason.RENEW_NOT_VOUCHED
    successor = office_successor(HOMES.chain, HOMES.authority_key.address, key)
    chain.block((HOMES.authority_key, ReplaceOfficeKey(successor=successor)))
    assert reason_of(chain, 2, action) is Reason.NONE


def test_a_renewal_ends_no_other_removal() -> None:
    chain = DictChain(HOMES)
    chain.block((1, revocation_of(3, HOMES)))
    chain.block((1, revocation_of(2, HOMES)))  # waits: one in a waiting time
    assert reason_of(chain, 2, renewal(HOMES, 2, 9 * END)) is Reason.NONE
    assert [(change.address, type(change)) for change in queue_of(chain).waiting] == [(HOMES.addresses[2], Removal)]


def test_a_renewal_keeps_nobody_else() -> None:
    chain = DictChain(HOMES)
    chain.block((2, signed_forward(HOMES, 2, 1, 10, expiry_slot=2**40)))
    chain.block(slot=GOES)
    assert reason_of(chain, 3, renewal(HOMES, 3, 9 * END)) is Reason.NONE
    assert expiring(chain) == [(2, Hindrance.TRADES_PENDING)]


def test_genesis_of_the_version_before_names_no_end_to_the_chain() -> None:
    community = homes(7, protocol_version=EXPIRY_VERSION - 1)
    assert not [key for key in genesis_state(community.genesis) if key[:1] == b"L"]


def test_who_waits_already_does_not_wait_twice() -> None:
    """A candidate that a ceremony made wait again is watched twice."""
    chain = DictChain(HOMES)
    chain.block((2, signed_forward(HOMES, 2, 1, 10, expiry_slot=2**40)))
    chain.block(slot=GOES)
    overlay = Overlay(chain.state)
    context = block_context(HOMES, height=chain.height + 1, slot=GOES + 2 * WAIT)
    scores = ScoreBoard(overlay, cluster=HOMES.addresses, slot=Slot(0), parameters=HOMES.genesis.scores)
    run = BlockRun(
        overlay=overlay, genesis=HOMES.genesis, rules=chain.read(RULES_KEY, Rules), context=context, scores=scores
    )
    expire_member(run, CertificateEnd(member=HOMES.addresses[2], until_ms=time_of(HOMES.genesis, END)))
    assert overlay.written() == {}
