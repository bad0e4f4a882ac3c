"""Genesis: absurd values are refused with their reason, good ones give the state at height 0."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from consensus.codec import decode
from consensus.identifiers import PublicKey
from contracts.agenda_records import Agenda
from contracts.errors import GenesisFault, GenesisRefused
from contracts.genesis import PROTOCOL_VERSION, ClusterParameters, Genesis
from contracts.genesis_state import MEMBERS_MAX, check_genesis, genesis_state
from contracts.rules import BLOCK_TRANSACTIONS_LIMIT
from contracts.service_records import LastBlock
from contracts.state import (
    AGENDA_KEY,
    ERAS_KEY,
    LAST_BLOCK_KEY,
    MEMBER_LIST_KEY,
    TOTALS_KEY,
    Account,
    EraTable,
    Member,
    MemberList,
    Score,
    ScoreCause,
    Totals,
    account_key,
    member_key,
    score_key,
)
from qscore.parameters import DEFAULT_PARAMETERS, ONE
from tests.support.contracts import make_genesis

HOMES = make_genesis(3)


def with_member(**changes: Any) -> Genesis:
    """The genesis of three, with other values for the last member."""
    *others, last = HOMES.genesis.members
    return replace(HOMES.genesis, members=(*others, replace(last, **changes)))


def with_fields(**changes: Any) -> Genesis:
    return replace(HOMES.genesis, **changes)


def with_parameters(**changes: Any) -> Genesis:
    return with_fields(parameters=replace(HOMES.genesis.parameters, **changes))


def with_verifiers(*keys: PublicKey) -> Genesis:
    return with_fields(membership=replace(HOMES.genesis.membership, verifier_keys=keys))


def with_clusters(**parameters: Any) -> Genesis:
    return with_fields(clusters=ClusterParameters(**parameters))


FIRST = HOMES.genesis.members[0]
ABSURD: list[tuple[Callable[[], Genesis], GenesisFault]] = [
    (lambda: with_fields(protocol_version=PROTOCOL_VERSION + 1), GenesisFault.UNKNOWN_VERSION),
    (lambda: with_fields(members=()), GenesisFault.MEMBER_COUNT),
    (lambda: make_genesis(MEMBERS_MAX + 1).genesis, GenesisFault.MEMBER_COUNT),
    (lambda: with_member(node_key=FIRST.node_key), GenesisFault.DUPLICATE_KEY),
    (lambda: with_member(meter_key=FIRST.meter_key), GenesisFault.DUPLICATE_KEY),
    (lambda: with_member(meter_key=HOMES.genesis.members[2].node_key), GenesisFault.DUPLICATE_KEY),
    (lambda: with_fields(issuer_key=FIRST.node_key), GenesisFault.DUPLICATE_KEY),
    (lambda: with_fields(grid_key=FIRST.meter_key), GenesisFault.DUPLICATE_KEY),
    (lambda: with_fields(grid_key=HOMES.genesis.issuer_key), GenesisFault.DUPLICATE_KEY),
    (lambda: with_fields(grid_fee_micro_per_kwh=-1), GenesisFault.OUT_OF_RANGE),
    (lambda: with_fields(grid_fee_micro_per_kwh=10**12 + 1), GenesisFault.OUT_OF_RANGE),
    (lambda: with_verifiers(HOMES.genesis.issuer_key), GenesisFault.VERIFIERS),
    (lambda: with_verifiers(FIRST.node_key, FIRST.node_key), GenesisFault.VERIFIERS),
    (lambda: with_verifiers(FIRST.meter_key), GenesisFault.VERIFIERS),
    (lambda: with_member(tokens_micro=-1), GenesisFault.OUT_OF_RANGE),
    (lambda: with_member(tokens_micro=10**15 + 1), GenesisFault.OUT_OF_RANGE),
    (lambda: with_member(capacity_w=0), GenesisFault.OUT_OF_RANGE),
    (lambda: with_member(node_key=b"short"), GenesisFault.OUT_OF_RANGE),
    (lambda: with_fields(slot_duration_ms=19), GenesisFault.OUT_OF_RANGE),
    (lambda: with_fields(interval_ms=59_999), GenesisFault.OUT_OF_RANGE),
    (lambda: with_parameters(gate_closure_slots=0), GenesisFault.OUT_OF_RANGE),
    (lambda: with_fields(start_ms=2**64), GenesisFault.OUT_OF_RANGE),
    (lambda: with_fields(slot_duration_ms=250.0), GenesisFault.OUT_OF_RANGE),
    (lambda: with_fields(price_min_micro_per_kwh=320_001), GenesisFault.PRICE_BOUNDS),
    (lambda: with_fields(price_max_micro_per_kwh=10**12), GenesisFault.AMOUNTS),
    (lambda: with_fields(grid_fee_micro_per_kwh=10**12), GenesisFault.AMOUNTS),
    (lambda: with_member(capacity_w=1_000_000_000), GenesisFault.AMOUNTS),
    (lambda: with_fields(slot_duration_ms=1_001, attempt_max_ms=1_000), GenesisFault.ATTEMPT_BOUND),
    (lambda: with_parameters(block_transactions_max=BLOCK_TRANSACTIONS_LIMIT + 1), GenesisFault.BLOCK_LIMITS),
    (lambda: with_fields(scores=replace(DEFAULT_PARAMETERS, fault_share=0)), GenesisFault.SCORES),
    (lambda: with_clusters(size=6, members_min=31), GenesisFault.OUT_OF_RANGE),
    (lambda: with_clusters(size=65, members_min=66), GenesisFault.OUT_OF_RANGE),
    (lambda: with_clusters(size=7, members_min=258), GenesisFault.OUT_OF_RANGE),
    (lambda: with_clusters(size=8, members_min=8), GenesisFault.CLUSTERS),
]
AT_THE_LIMIT: list[Callable[[], Genesis]] = [
    lambda: HOMES.genesis,
    lambda: make_genesis(1).genesis,
    lambda: make_genesis(MEMBERS_MAX).genesis,
    lambda: with_member(tokens_micro=0),
    lambda: with_fields(price_min_micro_per_kwh=320_000),
    lambda: with_fields(slot_duration_ms=1_000, attempt_max_ms=1_000),
    lambda: with_parameters(block_transactions_max=BLOCK_TRANSACTIONS_LIMIT),
    lambda: with_clusters(size=7, members_min=8),
    lambda: with_clusters(size=64, members_min=257),
]


@pytest.mark.parametrize(("build", "reason"), ABSURD)
def test_absurd_genesis_is_refused(build: Callable[[], Genesis], reason: GenesisFault) -> None:
    with pytest.raises(GenesisRefused) as refused:
        check_genesis(build())
    assert refused.value.reason is reason
    with pytest.raises(GenesisRefused):
        genesis_state(build())


def test_every_fault_has_a_case() -> None:
    assert {reason for _, reason in ABSURD} == set(GenesisFault)


@pytest.mark.parametrize("build", AT_THE_LIMIT)
def test_genesis_at_the_limit_is_good(build: Callable[[], Genesis]) -> None:
    check_genesis(build())


def test_state_at_height_0() -> None:
    community = make_genesis(3, tokens_micro=7)
    state = genesis_state(community.genesis)
    assert list(state) == sorted(state)
    records, offices, singletons, keys = 3 * 4, 3 * 2, 9, 3 * 2 + 3  # an office has a record and a wallet
    assert len(state) == records + offices + singletons + keys
    for address, member in zip(community.addresses, community.genesis.members, strict=True):
        assert decode(state[account_key(address)], Account) == Account(available_micro=7, held_micro=0, nonce=-1)
        assert decode(state[score_key(address)], Score) == Score(
            value=ONE,
            staked=0,
            unlocking=None,
            is_suspended=False,
            falls=0,
            way_back=None,
            cause=ScoreCause.GENESIS,
            reference=b"",
        )
        registered = decode(state[member_key(address)], Member)
        assert (registered.node_key, registered.meter_key) == (member.node_key, member.meter_key)
        assert registered.capacity_w == member.capacity_w
    for key in (community.issuer_key, community.grid_key):
        assert decode(state[account_key(key.address)], Account) == Account(available_micro=0, held_micro=0, nonce=-1)
        assert score_key(key.address) not in state, "no member"
    assert decode(state[MEMBER_LIST_KEY], MemberList).addresses == community.addresses
    assert decode(state[ERAS_KEY], EraTable) == EraTable(starts=())
    assert decode(state[AGENDA_KEY], Agenda) == Agenda(size=0, made=0)
    assert decode(state[LAST_BLOCK_KEY], LastBlock).trades_rewarded == 0
    totals = decode(state[TOTALS_KEY], Totals)
    assert totals.issued_micro == 21
    assert sum(getattr(totals, name) for name in totals.__struct_fields__) == 21
