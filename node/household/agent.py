"""The meter and its trading agent inside the daemon: the thin loop around the decisions of `household.py`.

It wakes the household when a block was applied or a neighbour wrote, or after a moment, hands its messages to
the mesh and its transactions to the chain, and forgets nothing: what the household still waits for, it says
again in its next turn.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from consensus.cryptography import SigningKey
from consensus.identifiers import Address, Digest
from contracts.genesis import Genesis
from contracts.transactions import ReportMisconduct
from contracts.units import MicroTokensPerKwh
from node.admission.identity import Identity
from node.chain.submission import Chain, SubscriberTooSlow
from node.errors import ConfigurationError, SubmissionRefused
from node.home.append_log import AppendLog
from node.home.configuration import Configuration, PriceTable
from node.household.buyer import BuyerDesk
from node.household.household import Desks, Household, Moment, Pace
from node.household.offer_checks import PriceBounds
from node.household.own_transactions import OwnTransaction, OwnTransactions
from node.household.promises import Promises
from node.household.seller import SellerDesk, SellerTerms
from node.logs import get_logger
from node.mesh.mesh import Mesh
from node.mesh.messages import OfferDecline, OfferReply, OfferRequest
from node.meter.meter import Meter, MeterIdentity, measured_hours
from node.meter.readings_file import read_readings
from node.replies.node import MeterStatus

SALTS_NAME: Final = "meter-salts"
"""File in the home: the salts and gross values behind the published commitments."""
TRANSACTIONS_NAME: Final = "meter-transactions"
"""File in the home: own transactions that are not decided yet."""
OFFERS_NAME: Final = "meter-offers"
"""File in the home: signed offers to neighbours."""
CONTRACTS_NAME: Final = "meter-contracts"
"""File in the home: countersigned contracts."""

TURN_PAUSE_S: Final = 0.1
"""Longest time between two turns: answers that stay away and grace periods are noticed this late."""

RESUBMIT_PAUSE_MS: Final = 1_000
"""Before a transaction that was refused is submitted again."""


def monotonic_ms() -> int:
    """Returns the machine's monotonic clock."""
    return time.monotonic_ns() // 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskParts:
    """What the desks are made of."""

    key: SigningKey
    genesis: Genesis
    chain: Digest
    prices: PriceTable
    offers: Promises
    contracts: Promises
    transactions: OwnTransactions
    first_number: int
    """Above every number that offers and requests of this household had before: a wall clock in ms."""


DesksFactory = Callable[[DeskParts], Desks]


def make_desks(parts: DeskParts) -> Desks:
    """Returns the desks of an honest household.

    Raises:
        ConfigurationError: its price is one at which the chain declines every trade.
    """
    return Desks(
        seller=SellerDesk(
            key=parts.key, terms=seller_terms(parts), offers=parts.offers, first_counter=parts.first_number
        ),
        buyer=BuyerDesk(
            key=parts.key,
            chain=parts.chain,
            prices=price_bounds(parts),
            contracts=parts.contracts,
            first_request_id=parts.first_number,
        ),
    )


def seller_terms(parts: DeskParts) -> SellerTerms:
    """Returns what this household's offers say.

    Raises:
        ConfigurationError: its price is one at which the chain declines every trade.
    """
    genesis, price = parts.genesis, parts.prices.sell_micro_per_kwh
    lowest, highest = genesis.price_min_micro_per_kwh, genesis.price_max_micro_per_kwh
    if not lowest <= price <= highest:
        raise ConfigurationError(f"[price] sell_micro_per_kwh is {price}; this chain allows {lowest} to {highest}")
    return SellerTerms(
        chain=parts.chain,
        price_micro_per_kwh=MicroTokensPerKwh(price),
        scores=genesis.scores,
    )


def price_bounds(parts: DeskParts) -> PriceBounds:
    """Returns what this household pays: within the chain's bounds, and not more than it wants to."""
    genesis = parts.genesis
    highest = min(genesis.price_max_micro_per_kwh, parts.prices.buy_max_micro_per_kwh)
    return PriceBounds(
        lowest_micro_per_kwh=genesis.price_min_micro_per_kwh,
        highest_micro_per_kwh=MicroTokensPerKwh(highest),
        grid_fee_micro_per_kwh=genesis.grid_fee_micro_per_kwh,
    )


class MeterAgent:
    """Publishes the household's readings and trades its surplus and its lack."""

    def __init__(
        self,
        *,
        configuration: Configuration,
        identity: Identity,
        chain: Chain,
        mesh: Mesh,
        clock_ms: Callable[[], int] = monotonic_ms,
        desks_factory: DesksFactory = make_desks,
    ) -> None:
        """Reads the readings and opens the files of promises; sends nothing before `run`.

        Args:
            configuration: of a node with a [meter] table.
            identity: the node's keys.
            chain: where transactions go and the state comes from.
            mesh: how neighbours are reached.
            clock_ms: monotonic clock.
            desks_factory: makes what deals with the neighbours.

        Raises:
            ReadingsError: the readings file is wrong.
            AppendLogError: a file of promises is damaged.
            ConfigurationError: the price is not allowed on this chain.
        """
        assert configuration.meter is not None, "a node that only validates has no agent"
        self._meter_table = configuration.meter
        self._chain = chain
        self._mesh = mesh
        self._clock_ms = clock_ms
        self._wake = asyncio.Event()
        self._again_ms: dict[Digest, int] = {}
        self._log = get_logger("meter")
        self._logs = {
            name: AppendLog(configuration.home.directory / name)
            for name in (SALTS_NAME, TRANSACTIONS_NAME, OFFERS_NAME, CONTRACTS_NAME)
        }
        self._household = self._make_household(configuration, identity, desks_factory)

    def _make_household(
        self, configuration: Configuration, identity: Identity, desks_factory: DesksFactory
    ) -> Household:
        table, ledger = self._meter_table, self._chain.ledger
        readings = read_readings(table.readings_file, households=(table.household_id,))
        transactions = OwnTransactions(
            key=identity.signer, chain=ledger.chain, ledger=ledger, journal=self._logs[TRANSACTIONS_NAME]
        )
        parts = DeskParts(
            key=identity.signer,
            genesis=ledger.genesis,
            chain=ledger.chain,
            prices=configuration.price,
            offers=Promises(journal=self._logs[OFFERS_NAME], state=ledger, tip=ledger.tip_slot),
            contracts=Promises(journal=self._logs[CONTRACTS_NAME], state=ledger, tip=ledger.tip_slot),
            transactions=transactions,
            first_number=time.time_ns() // 1_000_000,
        )
        return Household(
            address=identity.address,
            ledger=ledger,
            meter=Meter(
                identity=MeterIdentity(key=identity.meter_key, member=identity.address, chain=ledger.chain),
                hours=measured_hours(readings, table.household_id, table.hours),
                salts=self._logs[SALTS_NAME],
            ),
            transactions=transactions,
            desks=desks_factory(parts),
            pace=Pace(window_hours=table.window_hours, grace_ms=round(table.grace_period_s * 1_000)),
        )

    # --- for the daemon ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Measures and trades until cancelled.

        Raises:
            AppendLogError: the disk takes no promises any more.
        """
        follower = asyncio.create_task(self._follow())
        try:
            while not follower.done():
                self._wake.clear()
                await self._turn()
                with suppress(TimeoutError):
                    async with asyncio.timeout(TURN_PAUSE_S):
                        await self._wake.wait()
            follower.result()
        finally:
            follower.cancel()
            for log in self._logs.values():
                log.close()

    def handle(self, sender: Address, message: OfferRequest | OfferReply | OfferDecline) -> None:
        """Takes a neighbour's message; it is dealt with in the next turn."""
        self._household.receive(sender, message, self._clock_ms())
        self._wake.set()

    def report(self, action: ReportMisconduct) -> None:
        """Brings a proof of misconduct to the chain with this household's transactions, in the next turn."""
        self._household.report(action)
        self._wake.set()

    def status(self) -> MeterStatus:
        """Returns how far the household has come."""
        progress = self._household.progress()
        return MeterStatus(
            household_id=self._meter_table.household_id,
            intervals_total=progress.total,
            intervals_published=progress.published,
            intervals_settled=progress.settled,
            finished=progress.is_finished,
        )

    # --- the loop ------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Wakes the loop at each block. What it missed while it was too slow, the state shows."""
        while True:
            async with self._chain.subscribe() as blocks:
                with suppress(SubscriberTooSlow):
                    async for _ in blocks:
                        self._wake.set()

    async def _turn(self) -> None:
        moment = Moment(
            now_ms=self._clock_ms(),
            present_slot=self._chain.replica_status().present_slot,
            connected=self._mesh.connected(),
        )
        turn = self._household.turn(moment)
        for recipient, message in turn.messages:
            self._mesh.send(recipient, message)
        await self._submit(turn.transactions)

    async def _submit(self, transactions: tuple[OwnTransaction, ...]) -> None:
        """Submits what does not wait in the mempool: new ones, and those that were refused or dropped."""
        now_ms = self._clock_ms()
        self._again_ms = {own.digest: self._again_ms.get(own.digest, now_ms) for own in transactions}
        for own in transactions:
            if self._again_ms[own.digest] > now_ms or self._chain.mempool.contains(own.digest):
                continue
            try:
                await self._chain.submit(own.raw)
            except SubmissionRefused as refused:
                self._again_ms[own.digest] = now_ms + RESUBMIT_PAUSE_MS
                self._log.info("not taken yet", reason=refused.reason, detail=refused.detail)
