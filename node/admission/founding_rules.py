"""The rules that a chain is founded with: a genesis that names no members yet."""

import time
from fractions import Fraction
from math import floor
from typing import Final, NamedTuple

from msgspec.structs import replace

from consensus.committee_risk import likeliest_capture
from consensus.identifiers import PublicKey
from consensus.messages import MEMBERS_MAX
from contracts.genesis import (
    CLUSTER_SIZE_MAX,
    PROTOCOL_VERSION,
    ClusterParameters,
    Genesis,
    MembershipParameters,
    RuleParameters,
)
from contracts.units import MICRO_TOKENS_PER_TOKEN, MS_PER_HOUR, MicroTokens, MicroTokensPerKwh, Milliseconds
from node.home.configuration import FEED_IN_TARIFF_MICRO_PER_KWH, RETAIL_PRICE_MICRO_PER_KWH
from qscore.parameters import DEFAULT_PARAMETERS

GRID_FEE_MICRO_PER_KWH: Final = 20_000
"""What a buyer pays for the use of the grid, 0.02 tokens per kWh."""

WALLET_MICRO: Final = MicroTokens(10_000 * MICRO_TOKENS_PER_TOKEN)
"""Tokens of each wallet at genesis."""

SLOT_DURATION_MS: Final = Milliseconds(250)
ATTEMPT_MAX_MS: Final = Milliseconds(60_000)
BLOCK_TRANSACTIONS_MAX: Final = 1_024
BLOCK_SIZE_BYTES_MAX: Final = 1024 * 1024
GATE_CLOSURE_SLOTS: Final = 14_400
"""An hour of slots: a node that is down for less still trades the hours that it missed."""
OFFICE_WAIT_MS: Final = 24 * MS_PER_HOUR
"""A day: long enough that an owner who was only asleep is awake."""
REMOVAL_WAIT_MS: Final = 24 * MS_PER_HOUR
"""A day, in which neighbours hear each other, and whoever runs a home twice by accident ends that."""
MEMBERS_MIN: Final = 4
"""So that one liar is stood."""
SEEN_WINDOW_MS: Final = 5 * 60 * 1_000
"""5 minutes: members that are there take part in each block, and a chain without work has none."""
CLUSTERS: Final = ClusterParameters(size=10, members_min=31)
"""None of ten is honest in 5 draws of a million, among 100 members of which a third lies. Among fewer than 31,
certificates that go back to all save no bytes."""
CAPTURED_MAX: Final = Fraction(1, 1000)
"""Chance of a cluster without an honest member that a founding accepts unless told otherwise."""
WAY_BACK_MS: Final = 30 * 24 * MS_PER_HOUR
"""30 days, as deployed."""


class Tariffs(NamedTuple):
    """What energy costs on a street, in micro-tokens per kWh."""

    feed_in_micro_per_kwh: int = FEED_IN_TARIFF_MICRO_PER_KWH
    """What the grid pays: the least that a neighbour may be paid."""
    retail_micro_per_kwh: int = RETAIL_PRICE_MICRO_PER_KWH
    """What the grid takes: the most that a neighbour may ask."""
    grid_fee_micro_per_kwh: int = GRID_FEE_MICRO_PER_KWH


class Accounts(NamedTuple):
    """Public keys that are no member's."""

    authority: PublicKey
    issuer: PublicKey
    grid: PublicKey


def captured_fault(clusters: ClusterParameters, captured_max: Fraction) -> str | None:
    """Says in words why drawn clusters would be without an honest member too often; None if they would not.

    Asked of every number of members that the chain may come to have, as homes join later, with as many liars as it
    bears.
    """
    members = range(clusters.members_min, MEMBERS_MAX + 1)
    if not members:  # nothing is ever drawn
        return None
    worst = likeliest_capture(clusters.size, members)
    if worst.chance <= captured_max:
        return None
    largest = min(CLUSTER_SIZE_MAX, clusters.members_min - 1)
    sizes = range(clusters.size + 1, largest + 1)
    enough = next((size for size in sizes if likeliest_capture(size, members).chance <= captured_max), None)
    advice = f"no cluster of {largest} or fewer does" if enough is None else f"clusters of {enough} do"
    return (
        f"of clusters of {clusters.size}, drawn of {worst.members} members of which {worst.byzantine} lie, one in "
        f"{floor(1 / worst.chance):,} has no honest member: its block comes up to two thirds of a slot later. "
        f"At most one in {floor(1 / captured_max):,} was asked for: {advice}"
    )


def clusters_text(clusters: ClusterParameters) -> str:
    """Returns what clusters mean, for who signs the rules."""
    members = range(clusters.members_min, MEMBERS_MAX + 1)
    if not members:
        return "All members hear every vote first: no clusters are drawn."
    chance = likeliest_capture(clusters.size, members).chance
    how_often = f"in at most one of {floor(1 / chance):,} draws" if chance else "in no draw"
    return (
        f"From {clusters.members_min} members on, {clusters.size} are drawn for each block; none of them is honest "
        f"{how_often}."
    )


def make_rules(network: str, accounts: Accounts, tariffs: Tariffs, clusters: ClusterParameters = CLUSTERS) -> Genesis:
    """Returns the rules of a new chain, whose slots count from now.

    Args:
        network: its name, for people.
        accounts: who certifies homes, who issues tokens, who receives the fees.
        tariffs: of the street.
        clusters: how many members are drawn, and of how many.
    """
    return Genesis(
        protocol_version=PROTOCOL_VERSION,
        network=network,
        start_ms=Milliseconds(time.time_ns() // 1_000_000),
        slot_duration_ms=SLOT_DURATION_MS,
        attempt_max_ms=ATTEMPT_MAX_MS,
        interval_ms=Milliseconds(MS_PER_HOUR),
        price_min_micro_per_kwh=MicroTokensPerKwh(tariffs.feed_in_micro_per_kwh),
        price_max_micro_per_kwh=MicroTokensPerKwh(tariffs.retail_micro_per_kwh),
        grid_fee_micro_per_kwh=MicroTokensPerKwh(tariffs.grid_fee_micro_per_kwh),
        authority_key=accounts.authority,
        issuer_key=accounts.issuer,
        grid_key=accounts.grid,
        office_wait_slots=OFFICE_WAIT_MS // SLOT_DURATION_MS,
        scores=replace(DEFAULT_PARAMETERS, way_back_slots=WAY_BACK_MS // SLOT_DURATION_MS),
        parameters=RuleParameters(
            block_transactions_max=BLOCK_TRANSACTIONS_MAX,
            block_size_bytes_max=BLOCK_SIZE_BYTES_MAX,
            gate_closure_slots=GATE_CLOSURE_SLOTS,
        ),
        membership=MembershipParameters(
            members_min=MEMBERS_MIN,
            seen_window_slots=SEEN_WINDOW_MS // SLOT_DURATION_MS,
            removal_wait_slots=REMOVAL_WAIT_MS // SLOT_DURATION_MS,
            verifier_keys=(),
        ),
        clusters=clusters,
        members=(),
    )
