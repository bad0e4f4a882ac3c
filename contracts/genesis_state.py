"""From genesis to the state at height 0: refuses absurd values, then writes the first version of every record."""

from collections import Counter
from typing import Final

from consensus.codec import ELEMENTS_MAX, DecodeError, decode, encode
from consensus.cryptography import address_of
from contracts.errors import GenesisFault, GenesisRefused
from contracts.genesis import PROTOCOL_VERSION, Genesis
from contracts.receipts import POSTINGS_PER_TRADE
from contracts.state import (
    LAST_BLOCK_KEY,
    MEMBER_LIST_KEY,
    QUEUE_KEY,
    TOTALS_KEY,
    Account,
    LastBlock,
    Member,
    MemberList,
    Queue,
    Score,
    StateKey,
    StateValue,
    Totals,
    account_key,
    member_key,
    score_key,
)
from contracts.units import MicroTokens, WattHours
from qscore.parameters import ParametersRefused, check_parameters

MEMBERS_MAX: Final = 256
"""Every member executes every block: beyond some hundreds, clusters save messages but not execution."""

BLOCK_TRANSACTIONS_LIMIT: Final = ELEMENTS_MAX // POSTINGS_PER_TRADE
"""Most transactions a genesis may allow in a block: if all are trades, their postings still fit one array."""


def check_genesis(genesis: Genesis) -> None:
    """Refuses a genesis with absurd, duplicate or contradicting values.

    Raises:
        GenesisRefused: with the first fault found and the values that show it.
    """
    _check_ranges(genesis)
    _check_members(genesis)
    if genesis.price_min_micro_per_kwh > genesis.price_max_micro_per_kwh:
        raise GenesisRefused(
            GenesisFault.PRICE_BOUNDS,
            f"lowest price {genesis.price_min_micro_per_kwh} is above the highest, {genesis.price_max_micro_per_kwh}",
        )
    if genesis.attempt_max_ms < genesis.slot_duration_ms:
        raise GenesisRefused(
            GenesisFault.ATTEMPT_BOUND,
            f"attempt_max_ms {genesis.attempt_max_ms} is below the slot's {genesis.slot_duration_ms}",
        )
    if genesis.block_transactions_max > BLOCK_TRANSACTIONS_LIMIT:
        raise GenesisRefused(
            GenesisFault.BLOCK_LIMITS,
            f"block_transactions_max {genesis.block_transactions_max}, at most {BLOCK_TRANSACTIONS_LIMIT}",
        )
    try:
        check_parameters(genesis.scores)
    except ParametersRefused as refused:
        raise GenesisRefused(GenesisFault.SCORES, str(refused)) from None


def _check_ranges(genesis: Genesis) -> None:
    """Holds the fields' own bounds also for a genesis that was built here and never decoded."""
    try:
        decode(encode(genesis), Genesis)
    except (DecodeError, OverflowError) as error:
        raise GenesisRefused(GenesisFault.OUT_OF_RANGE, str(error)) from None
    if genesis.protocol_version != PROTOCOL_VERSION:
        raise GenesisRefused(
            GenesisFault.UNKNOWN_VERSION,
            f"protocol version {genesis.protocol_version}, this software knows {PROTOCOL_VERSION}",
        )


def _check_members(genesis: Genesis) -> None:
    members = genesis.members
    if not 1 <= len(members) <= MEMBERS_MAX:
        raise GenesisRefused(GenesisFault.MEMBER_COUNT, f"{len(members)} members, 1 to {MEMBERS_MAX} allowed")
    keys = Counter(key for member in members for key in (member.node_key, member.meter_key))
    for key, count in keys.items():
        if count > 1:
            raise GenesisRefused(GenesisFault.DUPLICATE_KEY, f"key {key.hex()} stands {count} times")
    for name, count in Counter(member.name for member in members).items():
        if count > 1:
            raise GenesisRefused(GenesisFault.DUPLICATE_NAME, f"name {name!r} stands {count} times")


def genesis_state(genesis: Genesis) -> dict[StateKey, bytes]:
    """Returns the state at height 0, encoded and sorted by key.

    Raises:
        GenesisRefused: as `check_genesis`.
    """
    check_genesis(genesis)
    values = _singletons(genesis)
    for member in genesis.members:
        address = address_of(member.node_key)
        values[member_key(address)] = Member(
            name=member.name,
            node_key=member.node_key,
            meter_key=member.meter_key,
            capacity_w=member.capacity_w,
        )
        values[account_key(address)] = Account(
            available_micro=member.tokens_micro, held_micro=MicroTokens(0), nonce=-1
        )
        values[score_key(address)] = Score(value=genesis.scores.initial, cause="genesis", reference=b"")
    return {key: encode(values[key]) for key in sorted(values)}


def _singletons(genesis: Genesis) -> dict[StateKey, StateValue]:
    return {
        MEMBER_LIST_KEY: MemberList(addresses=tuple(address_of(member.node_key) for member in genesis.members)),
        QUEUE_KEY: Queue(head=0, tail=0),
        LAST_BLOCK_KEY: LastBlock(trades_completed=0),
        TOTALS_KEY: Totals(
            issued_micro=MicroTokens(sum(member.tokens_micro for member in genesis.members)),
            redeemed_micro=MicroTokens(0),
            credited_wh=WattHours(0),
            available_wh=WattHours(0),
            escrow_wh=WattHours(0),
            claimed_wh=WattHours(0),
            exported_wh=WattHours(0),
            deficit_wh=WattHours(0),
            open_wh=WattHours(0),
            bought_wh=WattHours(0),
            imported_wh=WattHours(0),
            trades_completed=0,
            trades_declined=0,
            traded_micro=MicroTokens(0),
        ),
    }
