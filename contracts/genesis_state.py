"""From genesis to the state at height 0: refuses absurd values, then writes the first version of every record."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from msgspec import convert
from msgspec.structs import replace

from consensus.codec import DecodeError, decode, encode
from consensus.cryptography import address_of
from consensus.identifiers import FIRST_HEIGHT, GENESIS_HEIGHT, Address, PublicKey, Slot
from contracts.agenda_records import Agenda, Due
from contracts.applicants import Applications
from contracts.errors import GenesisFault, GenesisRefused
from contracts.genesis import EXPIRY_VERSION, Genesis, chain_id, known_text, knows_version
from contracts.member_records import Activity, KeyOwner, MemberQueue, MemberTerm
from contracts.office_records import Office
from contracts.offices import first_office_keys
from contracts.randomness_records import Randomness
from contracts.rules import first_rules, parameters_fault
from contracts.service_records import LastBlock
from contracts.state import (
    AGENDA_KEY,
    APPLICATIONS_KEY,
    ERAS_KEY,
    LAST_BLOCK_KEY,
    MEMBER_LIST_KEY,
    MEMBER_QUEUE_KEY,
    RANDOMNESS_KEY,
    RULES_KEY,
    TOTALS_KEY,
    Account,
    EraTable,
    Member,
    MemberList,
    Score,
    ScoreCause,
    StateKey,
    StateValue,
    Totals,
    account_key,
    activity_key,
    due_key,
    member_key,
    office_key,
    score_key,
    used_key,
    validity_key,
)
from contracts.units import MS_PER_HOUR, MicroTokens, MicroTokensPerKwh, WattHours, contract_amount
from contracts.validity import removal_slot
from contracts.validity_records import CertificateEnd, Validity
from qscore.parameters import Millionths, ParametersRefused, check_parameters

MEMBERS_MAX: Final = 256
"""Every member executes every block: beyond some hundreds, clusters save messages but not execution."""

INTERVAL_AMOUNT_MICRO_MAX: Final = 10**10
"""What the energy of one interval may cost at one connection, 10,000 tokens: after 10^9 such trades the sums of all
trades, and of all debts, are still numbers of 64 bits."""


NOTHING_YET: Final = convert([Totals.__struct_config__.tag, *[0] * len(Totals.__struct_fields__)], Totals)
"""All sums are 0."""


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
    _check_amounts(genesis)
    if genesis.attempt_max_ms < genesis.slot_duration_ms:
        raise GenesisRefused(
            GenesisFault.ATTEMPT_BOUND,
            f"attempt_max_ms {genesis.attempt_max_ms} is below the slot's {genesis.slot_duration_ms}",
        )
    if genesis.clusters.size >= genesis.clusters.members_min:
        raise GenesisRefused(
            GenesisFault.CLUSTERS,
            f"clusters of {genesis.clusters.size} are drawn of {genesis.clusters.members_min} members or more",
        )
    fault = parameters_fault(genesis.parameters)
    if fault is not None:
        raise GenesisRefused(GenesisFault.BLOCK_LIMITS, fault)
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
    if not knows_version(genesis.protocol_version):
        raise GenesisRefused(
            GenesisFault.UNKNOWN_VERSION,
            f"protocol version {genesis.protocol_version}, this software knows {known_text()}",
        )


def _check_amounts(genesis: Genesis) -> None:
    fault = amount_fault(genesis, max(member.capacity_w for member in genesis.members))
    if fault is not None:
        raise GenesisRefused(GenesisFault.AMOUNTS, fault)


def amount_fault(genesis: Genesis, capacity_w: int) -> str | None:
    """Says why a connection is too large for sums of 64 bits; None if it is not."""
    energy = WattHours(capacity_w * genesis.interval_ms // MS_PER_HOUR)
    price = MicroTokensPerKwh(genesis.price_max_micro_per_kwh + genesis.grid_fee_micro_per_kwh)
    amount = contract_amount(energy, price)
    if amount <= INTERVAL_AMOUNT_MICRO_MAX:
        return None
    return (
        f"{capacity_w} W for {genesis.interval_ms} ms at {price} micro-tokens per kWh cost {amount}, "
        f"at most {INTERVAL_AMOUNT_MICRO_MAX}"
    )


def _check_members(genesis: Genesis) -> None:
    members = genesis.members
    if not 1 <= len(members) <= MEMBERS_MAX:
        raise GenesisRefused(GenesisFault.MEMBER_COUNT, f"{len(members)} members, 1 to {MEMBERS_MAX} allowed")
    for key, count in Counter(key for key, _ in _keys_with_owners(genesis)).items():
        if count > 1:
            raise GenesisRefused(GenesisFault.DUPLICATE_KEY, f"key {key.hex()} stands {count} times")
    verifiers = Counter(genesis.membership.verifier_keys)
    strange = verifiers.keys() - {member.node_key for member in members}
    if strange or verifiers.total() != len(verifiers):
        named = min(strange or (key for key, count in verifiers.items() if count > 1))
        raise GenesisRefused(GenesisFault.VERIFIERS, f"verifier {named.hex()} is no member, or stands twice")


def _keys_with_owners(genesis: Genesis) -> Iterator[tuple[PublicKey, Address]]:
    """Yields every key of genesis with the address of who has it."""
    for member in genesis.members:
        address = address_of(member.node_key)
        yield from ((key, address) for key in (member.node_key, member.meter_key))
    for key in first_office_keys(genesis).values():
        yield key, address_of(key)


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
            node_key=member.node_key,
            meter_key=member.meter_key,
            capacity_w=member.capacity_w,
            rotations=0,
            rotated_slot=Slot(0),
        )
        values[activity_key(address)] = Activity(seen_slot=Slot(0), trades_pending=0)
        values[account_key(address)] = replace(new_account(), available_micro=member.tokens_micro)
        values[score_key(address)] = new_score(genesis)
    for name, key in first_office_keys(genesis).items():
        office = address_of(key)
        values[office_key(office)] = Office(
            name=name, key=key, first_height=FIRST_HEIGHT, waiting=None, objected_slot=None
        )
        values[account_key(office)] = new_account()
    if genesis.protocol_version >= EXPIRY_VERSION:
        values |= _validities(genesis)
    values |= {used_key(key): KeyOwner(owner=owner) for key, owner in _keys_with_owners(genesis)}
    return {key: encode(values[key]) for key in sorted(values)}


def _validities(genesis: Genesis) -> dict[StateKey, StateValue]:
    """Returns until when the members are vouched for, with an agenda of these ends: what is sorted is a heap."""
    known = [(member.valid_until_ms, address_of(member.node_key)) for member in genesis.members]
    ends = sorted((until_ms, address) for until_ms, address in known if until_ms is not None)
    values: dict[StateKey, StateValue] = {AGENDA_KEY: Agenda(size=len(ends), made=len(ends))}
    for number, (until_ms, address) in enumerate(ends):
        end = CertificateEnd(member=address, until_ms=until_ms)
        values[due_key(number)] = Due(slot=removal_slot(until_ms, genesis), number=number, subject=end)
        values[validity_key(address)] = Validity(until_ms=until_ms, reference=chain_id(genesis), going_slot=None)
    return values


def new_account() -> Account:
    """Returns the wallet of whom the chain has just heard of."""
    return Account(available_micro=MicroTokens(0), held_micro=MicroTokens(0), nonce=-1)


def new_score(genesis: Genesis) -> Score:
    """Returns the score that every member begins with."""
    return Score(
        value=genesis.scores.initial,
        staked=Millionths(0),
        unlocking=None,
        is_suspended=False,
        falls=0,
        way_back=None,
        cause=ScoreCause.GENESIS,
        reference=b"",
    )


def _singletons(genesis: Genesis) -> dict[StateKey, StateValue]:
    return {
        MEMBER_LIST_KEY: MemberList(
            terms=tuple(
                MemberTerm(
                    address=address_of(member.node_key),
                    node_key=member.node_key,
                    first_height=FIRST_HEIGHT,
                    last_height=None,
                )
                for member in genesis.members
            )
        ),
        MEMBER_QUEUE_KEY: MemberQueue(waiting=(), last=None, last_height=GENESIS_HEIGHT, revoked_slot=None),
        ERAS_KEY: EraTable(starts=()),
        AGENDA_KEY: Agenda(size=0, made=0),
        APPLICATIONS_KEY: Applications(unfinished=(), admitted=()),
        LAST_BLOCK_KEY: LastBlock(trades_rewarded=0),
        RANDOMNESS_KEY: Randomness(value=chain_id(genesis), seasoning=(), draws=()),
        RULES_KEY: first_rules(genesis),
        TOTALS_KEY: replace(
            NOTHING_YET, issued_micro=MicroTokens(sum(member.tokens_micro for member in genesis.members))
        ),
    }
