"""Contracts that this household has signed and that may still execute: what it must not promise again.

Whoever holds a signed contract may submit it, also after saying that it will not, and again after it was
declined once: neither uses up its offer id. So a signature binds until the chain shows that the contract was
executed, or that it cannot be any more because it expired or its interval's gate closed. A seller who believed
a decline would sell the same energy twice, and be the party at fault. The seller keeps its offers here, the
buyer the contracts that it countersigned; both survive a restart. The newest offer ids stay known when they bind no
more: whoever signs two contracts under one offer id contradicts itself, and can be suspended for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from consensus.codec import DecodeError, decode, encode
from consensus.identifiers import Address, Signature, Slot
from contracts.state import Interval, StateReader, interval_key, offer_key
from contracts.state_reading import read
from contracts.transactions import COUNTER_MAX, SpotTerms, trade_amount
from contracts.units import MicroTokens, MicroTokensPerKwh, Milliseconds, WattHours, contract_amount
from node.home.append_log import AppendLogError, Journal, require_same

OFFER_LIFETIME_SLOTS: Final = 40
"""From an offer's signature to its expiry: ten seconds at the testnet's slots, time for a few failed leaders."""

UNDECIDED_SLOTS: Final = 40
"""A block keeps the slot of its first proposal, so one proposed in time may be decided later. Where no further
block shows that the expiry slot is past (an idle chain proposes none), a contract binds for this much longer."""

REMEMBERED_PER_SELLER: Final = 64
"""Offer ids of a seller that are remembered: more than it has open with one buyer at once. Counters only rise, so
lower ones than all of these are old."""

TERMS_SIZE_BYTES_MAX: Final = 2_048
"""Terms with 16 packets take about 800 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """Where the chain is in time."""

    tip: Slot
    """Slot of the last decided block."""
    present: Slot
    """Slot of the replica's clock."""

    @property
    def latest(self) -> Slot:
        """The higher one: no block to come has a lower slot for long."""
        return max(self.tip, self.present)


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """A contract with the seller's signature, about one interval."""

    interval_start_ms: Milliseconds
    terms: SpotTerms
    seller_signature: Signature


def has_lapsed(expiry_slot: Slot, slots: Slots) -> bool:
    """Says whether a contract can no longer execute: every block to come is of a later slot."""
    return slots.tip > expiry_slot or slots.present > expiry_slot + UNDECIDED_SLOTS


class Promises:
    """One side's signed contracts that may still execute."""

    def __init__(self, *, journal: Journal, state: StateReader, tip: Slot) -> None:
        """Takes up what the journal holds and still binds, and shortens the journal to that.

        Args:
            journal: of this side's promises.
            state: the newest state.
            tip: slot of the last decided block.

        Raises:
            AppendLogError: the journal holds something else.
        """
        written = [_from_entry(entry) for entry in journal.entries]
        self._journal = journal
        self._binding = {_key(promise): promise for promise in written}
        self._newest: dict[Address, dict[int, Promise]] = {}
        for promise in written:
            self._remember(promise)
        self.refresh(state, Slots(tip=tip, present=tip))
        newest = [promise for promises in self._newest.values() for promise in promises.values()]
        kept = {_key(promise): promise for promise in (*newest, *self._binding.values())}
        if len(kept) < len(written):
            journal.replace(_entry(promise) for promise in kept.values())

    def highest_counter(self, seller: Address) -> int:
        """Returns the highest offer counter of a seller ever written down here, -1 if none was."""
        return max(self._newest.get(seller, ()), default=-1)

    def may_sign(self, seller: Address, offer_counter: int) -> bool:
        """Says whether an offer id was surely never signed here: of very old ones that is not known any more."""
        newest = self._newest.get(seller, {})
        is_known = len(newest) < REMEMBERED_PER_SELLER or offer_counter > min(newest)
        return is_known and offer_counter not in newest

    def add(self, promise: Promise) -> None:
        """Takes a new promise, which may leave the node after the next `sync`."""
        assert _key(promise) not in self._binding, "an offer id names one contract"
        self._binding[_key(promise)] = promise
        self._remember(promise)
        self._journal.append(_entry(promise))

    def sync(self) -> None:
        """Makes all promises durable."""
        self._journal.sync()

    def refresh(self, state: StateReader, slots: Slots) -> None:
        """Forgets what was executed or no longer can be."""
        for key, promise in tuple(self._binding.items()):
            if _has_ended(promise, state, slots):
                del self._binding[key]

    def binding(self) -> tuple[Promise, ...]:
        """Returns all that may still execute, oldest first."""
        return tuple(self._binding.values())

    def find(self, seller: Address, offer_counter: int) -> Promise | None:
        """Returns a binding promise by its offer id."""
        return self._binding.get((seller, offer_counter))

    def of_interval(self, interval_start_ms: Milliseconds) -> tuple[Promise, ...]:
        """Returns what binds in an interval, oldest first."""
        return tuple(promise for promise in self._binding.values() if promise.interval_start_ms == interval_start_ms)

    def energy_wh(self, interval_start_ms: Milliseconds) -> WattHours:
        """Returns the energy promised in an interval."""
        return WattHours(sum(promise.terms.energy_wh for promise in self.of_interval(interval_start_ms)))

    def amount_micro(self, grid_fee: MicroTokensPerKwh) -> MicroTokens:
        """Returns what all binding contracts cost the buyer together, with the grid's fee."""
        terms = [promise.terms for promise in self._binding.values()]
        return MicroTokens(sum(trade_amount(each) + contract_amount(each.energy_wh, grid_fee) for each in terms))

    def _remember(self, promise: Promise) -> None:
        newest = self._newest.setdefault(promise.terms.seller, {})
        newest[promise.terms.offer_counter] = promise
        if len(newest) > REMEMBERED_PER_SELLER:
            del newest[min(newest)]


def _key(promise: Promise) -> tuple[Address, int]:
    return promise.terms.seller, promise.terms.offer_counter


def _has_ended(promise: Promise, state: StateReader, slots: Slots) -> bool:
    terms = promise.terms
    if has_lapsed(terms.expiry_slot, slots):
        return True
    if state.get(offer_key(terms.seller, terms.offer_counter)) is not None:
        return True
    interval = read(state, interval_key(promise.interval_start_ms), Interval)
    return interval is not None and interval.closed


def _entry(promise: Promise) -> dict[str, Any]:
    return {
        "interval_start_ms": promise.interval_start_ms,
        "terms": encode(promise.terms).hex(),
        "seller_signature": promise.seller_signature.hex(),
    }


def _from_entry(entry: Mapping[str, Any]) -> Promise:
    try:
        promise = Promise(
            interval_start_ms=Milliseconds(int(entry["interval_start_ms"])),
            terms=decode(bytes.fromhex(entry["terms"]), SpotTerms, size_bytes_max=TERMS_SIZE_BYTES_MAX),
            seller_signature=Signature(bytes.fromhex(entry["seller_signature"])),
        )
        require_same(entry, _entry(promise))
    except (KeyError, TypeError, ValueError, OverflowError, DecodeError) as error:
        raise AppendLogError(f"the journal of promises holds something else: {error}") from None
    if not 0 <= promise.interval_start_ms <= COUNTER_MAX:
        raise AppendLogError("the journal of promises holds an interval that starts at no time of a chain")
    return promise
