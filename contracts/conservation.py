"""Energy and tokens add up: the one table of what equals what, and all that ask it.

`LAWS` says which fields of which records are equal in sum. It is asked

- after every block, about what it changed (`assert_conserved`): genesis balances, so by induction the whole state
  does, at the cost of the block's own writes. A failure is our own bug: it stops the node, and no vote is given;
- of a whole state, record by record (`unbalanced_books`): `ledger verify`, and what a finished testnet shows;
- of a running node's status, about wallets, debts and totals alone (`unbalanced_totals`): what can be summed up at
  each request.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Any, Final

from consensus.codec import Record, decode
from contracts.member_records import Activity
from contracts.state import (
    TOTALS_KEY,
    TRADE_COUNTERS,
    Account,
    Debt,
    Deficit,
    MeterReading,
    Overlay,
    Packet,
    Score,
    StateKey,
    StateValue,
    Totals,
    Trade,
    TradeStatus,
)
from contracts.units import MicroTokens
from qscore.parameters import ScoreParameters

Term = str | TradeStatus
"""What a law sums up over all records of a kind: a field, or how many trades have a status."""

Side = Mapping[type[Record], tuple[Term, ...]]
"""One side of a law: the sum of all these."""


@dataclass(frozen=True, slots=True)
class Law:
    """Two sums that are equal: over each single record if it is about one kind, else over the whole state."""

    name: str
    left: Side
    right: Side

    @property
    def kinds(self) -> frozenset[type[Record]]:
        """The kinds of records that it is about."""
        return frozenset((*self.left, *self.right))


LAWS: Final[tuple[Law, ...]] = (
    # of each record
    Law(
        "energy of a packet",
        {Packet: ("credited_wh", "replaced_wh")},
        {Packet: ("available_wh", "escrow_wh", "claimed_wh", "exported_wh")},
    ),
    Law(
        "energy of a deficit",
        {Deficit: ("recorded_wh", "unused_wh")},
        {Deficit: ("open_wh", "reserved_wh", "bought_wh", "imported_wh")},
    ),
    Law(
        "energy of all packets",
        {Totals: ("credited_wh", "replaced_wh")},
        {Totals: ("available_wh", "escrow_wh", "claimed_wh", "exported_wh")},
    ),
    Law(
        "energy of all deficits",
        {Totals: ("deficit_wh", "unused_wh")},
        {Totals: ("open_wh", "reserved_wh", "bought_wh", "imported_wh")},
    ),
    Law("energy sold and bought", {Totals: ("claimed_wh",)}, {Totals: ("bought_wh",)}),
    # tokens
    Law(
        "tokens in circulation",
        {Account: ("available_micro", "held_micro"), Totals: ("redeemed_micro",)},
        {Totals: ("issued_micro",)},
    ),
    Law("tokens held of wallets", {Account: ("held_micro",)}, {Totals: ("held_micro",)}),
    Law("tokens held by trades", {Trade: ("held_micro",)}, {Totals: ("held_micro",)}),
    Law("debts", {Debt: ("owed_micro",)}, {Totals: ("owed_micro",)}),
    Law("income of trades", {Trade: ("amount_micro",)}, {Totals: ("traded_micro",)}),
    Law("fees of trades", {Trade: ("fee_micro",)}, {Totals: ("fees_micro",)}),
    # energy
    Law("energy measured", {Packet: ("credited_wh",)}, {MeterReading: ("net_wh",), Deficit: ("recorded_wh",)}),
    Law("energy credited", {Packet: ("credited_wh",)}, {Totals: ("credited_wh",)}),
    Law("energy available", {Packet: ("available_wh",)}, {Totals: ("available_wh",)}),
    Law("energy in escrow", {Packet: ("escrow_wh",)}, {Totals: ("escrow_wh",)}),
    Law("energy claimed", {Packet: ("claimed_wh",)}, {Totals: ("claimed_wh",)}),
    Law("energy exported", {Packet: ("exported_wh",)}, {Totals: ("exported_wh",)}),
    Law("energy replaced", {Packet: ("replaced_wh",)}, {Totals: ("replaced_wh",)}),
    Law("deficits recorded", {Deficit: ("recorded_wh",)}, {Totals: ("deficit_wh",)}),
    Law("deficits open", {Deficit: ("open_wh",)}, {Totals: ("open_wh",)}),
    Law("deficits reserved", {Deficit: ("reserved_wh",)}, {Totals: ("reserved_wh",)}),
    Law("deficits bought", {Deficit: ("bought_wh",)}, {Totals: ("bought_wh",)}),
    Law("deficits imported", {Deficit: ("imported_wh",)}, {Totals: ("imported_wh",)}),
    Law("deficits unused", {Deficit: ("unused_wh",)}, {Totals: ("unused_wh",)}),
    Law("energy set aside by trades", {Trade: ("set_aside_wh",)}, {Totals: ("escrow_wh",)}),
    Law("deficits reserved by trades", {Trade: ("reserved_wh",)}, {Totals: ("reserved_wh",)}),
    Law("energy delivered by trades", {Trade: ("delivered_wh",)}, {Totals: ("claimed_wh",)}),
    # trades
    Law(
        "pending trades of sellers and buyers",
        {Activity: ("trades_pending",)},
        {Totals: ("trades_pending", "trades_pending")},
    ),
    *(
        Law(f"trades {status.value}", {Trade: (status,)}, {Totals: (total,)})
        for status, total in TRADE_COUNTERS.items()
    ),
)
"""Everything that is equal. No other place says it."""

OUTSIDE: Final[Mapping[type[Record], frozenset[str]]] = {
    Trade: frozenset({"energy_wh"}),
    Totals: frozenset({"trades_declined"}),
}
"""Quantities that no law is about: what a contract says, and how many contracts left no record."""

SIGNED: Final[Mapping[type[Record], str]] = {MeterReading: "net_wh"}
"""The only quantity of a law that may be below zero."""


# --- reading records -------------------------------------------------------------------------------------------


class _Kind:
    """How the quantities of a kind of records are read; they have consecutive places among those of all kinds."""

    __slots__ = ("first", "name", "read", "terms")

    def __init__(self, kind: type[Record], terms: tuple[Term, ...], first: int) -> None:
        fields = [term for term in terms if isinstance(term, str)]
        statuses = [term for term in terms if isinstance(term, TradeStatus)]
        read_fields = attrgetter(*fields)

        def read(record: Any) -> tuple[int, ...]:
            values: tuple[int, ...] = read_fields(record) if len(fields) > 1 else (read_fields(record),)
            return (*values, *(record.status is status for status in statuses)) if statuses else values

        self.name: Final = kind.__name__
        self.terms: Final[tuple[Term, ...]] = (*fields, *statuses)
        self.first: Final = first
        self.read: Final[Callable[[Any], tuple[int, ...]]] = read


def _kinds() -> dict[type[Record], _Kind]:
    terms: dict[type[Record], dict[Term, None]] = {}
    for law in LAWS:
        for side in (law.left, law.right):
            for kind, named in side.items():
                terms.setdefault(kind, {}).update(dict.fromkeys(named))
    kinds, first = {}, 0
    for kind, found in terms.items():
        kinds[kind] = _Kind(kind, tuple(found), first)
        first += len(found)
    return kinds


_KINDS: Final = _kinds()


class _PlacedLaw:
    """A law by the places of its terms."""

    __slots__ = ("_law", "_left", "_right")

    def __init__(self, law: Law) -> None:
        self._law: Final = law
        self._left: Final = _places(law.left)
        self._right: Final = _places(law.right)

    def places(self) -> tuple[int, ...]:
        return (*self._left, *self._right)

    def broken(self, values: Sequence[int], *, first: int = 0, verb: str) -> list[str]:
        """Returns a line if the sums differ; `first` is the place of the first value."""
        left = sum([values[place - first] for place in self._left])
        right = sum([values[place - first] for place in self._right])
        if left == right:
            return []
        return [f"{self._law.name}: {_text(self._law.left)} {verb} {left}, {_text(self._law.right)} {verb} {right}"]


def _places(side: Side) -> tuple[int, ...]:
    return tuple(_KINDS[kind].first + _KINDS[kind].terms.index(term) for kind in side for term in side[kind])


def _text(side: Side) -> str:
    return " + ".join(f"{kind.__name__}.{_term_text(term)}" for kind in side for term in side[kind])


def _term_text(term: Term) -> str:
    return term if isinstance(term, str) else f"{term.value} trades"


_RECORD_LAWS: Final = {kind: tuple(_PlacedLaw(law) for law in LAWS if law.kinds == {kind}) for kind in _KINDS}


class Sums:
    """What records add up to; or what their changes do, as every law is linear."""

    def __init__(self, kinds: Iterable[type[Record]] = _KINDS) -> None:
        """Takes the kinds of records that are summed up; laws about any others are not asked."""
        self._laws = _laws_by_place(frozenset(kinds))
        self._values = [0] * len(self._laws)

    def add(self, record: Record, before: Record | None = None) -> None:
        """Adds a record's quantities, or by how much they changed; of a kind that no law is about, nothing."""
        kind = _KINDS.get(type(record))
        if kind is not None:
            old = itertools.repeat(0) if before is None else kind.read(before)
            for place, value, was in zip(itertools.count(kind.first), kind.read(record), old, strict=False):
                if value != was:
                    self._values[place] += value - was

    def broken(self, verb: str = "sums to") -> list[str]:
        """Returns a line for each law over several kinds that does not hold, with its name, fields and sums."""
        touched = [laws for laws, value in zip(self._laws, self._values, strict=True) if value]
        asked = dict.fromkeys(law for laws in touched for law in laws)  # the others say that 0 is 0
        return [line for law in asked for line in law.broken(self._values, verb=verb)]


@cache
def _laws_by_place(kinds: frozenset[type[Record]]) -> tuple[tuple[_PlacedLaw, ...], ...]:
    """Returns, of each place, the laws over several kinds, all among `kinds`, that ask for it."""
    laws = [_PlacedLaw(law) for law in LAWS if len(law.kinds) > 1 and law.kinds <= kinds]
    size = sum(len(kind.terms) for kind in _KINDS.values())
    return tuple(tuple(law for law in laws if place in law.places()) for place in range(size))


def record_faults(record: Record, scores: ScoreParameters) -> list[str]:
    """Returns what is wrong with a single record: a quantity below zero, a law that it breaks, a bound."""
    found = law_faults(record)
    match record:
        case Score():
            if not scores.floor <= record.value <= scores.maximum:
                found.append("score out of bounds")
            unlocking = 0 if record.unlocking is None else record.unlocking.amount
            if min(record.staked, unlocking) < 0 or record.staked + unlocking > record.value:
                found.append("stake out of bounds")
        case Trade():
            if record.delivered_wh > record.energy_wh:
                found.append("more delivered than contracted")
            holds = record.held_micro, record.set_aside_wh, record.reserved_wh
            if record.status is not TradeStatus.PENDING and any(holds):
                found.append("over, and still holds")
    return found


def law_faults(record: Record) -> list[str]:
    """Returns the quantities of a single record that are below zero, and the laws that it breaks."""
    kind = _KINDS.get(type(record))
    if kind is None:
        return []
    values = kind.read(record)
    found: list[str] = []
    if min(values) < 0 and type(record) not in SIGNED:
        named = zip(kind.terms, values, strict=True)
        found += [f"negative {_term_text(term)}" for term, value in named if value < 0]
    for law in _RECORD_LAWS[type(record)]:
        found += law.broken(values, first=kind.first, verb="is")
    return found


# --- those that ask --------------------------------------------------------------------------------------------


def assert_conserved(overlay: Overlay, scores: ScoreParameters) -> None:
    """Asserts that the overlay's writes conserve tokens and energy to the unit and leave no negative balance."""
    changes = Sums()
    totals = overlay.require(TOTALS_KEY, Totals)  # looked at even if the block leaves them alone
    for key, record in {TOTALS_KEY: totals, **overlay.written()}.items():
        faults = record_faults(record, scores)
        assert not faults, f"{'; '.join(faults)}: {record}"
        before = overlay.before(key, type(record))
        if isinstance(before, Trade) and before.status is not TradeStatus.PENDING:
            assert before == record, f"over, and changed: {record}"
        changes.add(record, before)
    broken = changes.broken("changed by")
    assert not broken, "; ".join(broken)


def unbalanced_books(state: Iterable[tuple[StateKey, bytes]], scores: ScoreParameters) -> list[str]:
    """Sums up all records of a whole state.

    Returns:
        One line per record and per law that does not add up; nothing if tokens and energy are conserved to the unit.
    """
    sums, found, has_totals = Sums(), [], False
    for key, value in state:
        record: Record = decode(value, StateValue)
        found += [f"{type(record).__name__} {key.hex()}: {fault}" for fault in record_faults(record, scores)]
        sums.add(record)
        has_totals = has_totals or isinstance(record, Totals)
    return [*found, *sums.broken()] if has_totals else ["the totals are missing"]


def unbalanced_totals(
    totals: Totals, *, available_micro: MicroTokens, held_micro: MicroTokens, owed_micro: MicroTokens
) -> list[str]:
    """Holds the totals against themselves and against the sums over all wallets and debts.

    Returns:
        One line per law that does not add up.
    """
    sums = Sums((Account, Debt, Totals))
    sums.add(totals)
    sums.add(Account(available_micro=available_micro, held_micro=held_micro, nonce=0))
    sums.add(Debt(owed_micro=owed_micro))
    return [*law_faults(totals), *sums.broken()]
