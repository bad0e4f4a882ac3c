"""What a member's node does on its own chain: the thin loop around the decisions of `duties.py` and, where there is a
meter, `household.py`.

It wakes them when a block was applied or a neighbour wrote, or after a moment, hands their messages to the mesh and
their transactions to the chain, and forgets nothing: what they still wait for, they say again in the next turn.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from consensus.identifiers import Address, Digest
from contracts.transactions import ReportMisconduct
from node.admission.identity import Identity
from node.chain.applied import SubscriberTooSlow
from node.chain.replica_status import ReplicaView
from node.chain.submission import Chain
from node.errors import SubmissionRefused
from node.home.append_log import AppendLog
from node.home.configuration import Configuration, MeterTable
from node.household.bilateral import bilateral_market
from node.household.duties import MemberDuties
from node.household.household import Household, Progress
from node.household.market_design import MarketFactory, MarketParts, Moment
from node.household.own_transactions import OwnTransaction, OwnTransactions
from node.household.promises import Promises
from node.logs import get_logger
from node.mesh.mesh import Mesh
from node.mesh.messages import MarketMessage
from node.meter.meter import Meter, MeterIdentity, measured_hours
from node.meter.readings_file import read_readings

SALTS_NAME: Final = "meter-salts"
"""File in the home: the salts and gross values behind the published commitments."""
TRANSACTIONS_NAME: Final = "own-transactions"
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
class AgentProgress:
    """How far an agent has come with its household's hours."""

    household_id: str
    """In the readings file."""
    hours: Progress


class MemberAgent:
    """Does a member's duties; with a meter, publishes its readings and trades its surplus and its lack."""

    def __init__(
        self,
        *,
        configuration: Configuration,
        identity: Identity,
        chain: Chain,
        replica: ReplicaView,
        mesh: Mesh,
        is_behind: Callable[[], bool],
        clock_ms: Callable[[], int] = monotonic_ms,
        market_factory: MarketFactory = bilateral_market,
    ) -> None:
        """Opens the journals and, with a [meter] table, reads the readings; sends nothing before `run`.

        Args:
            configuration: the node's.
            identity: the node's keys.
            chain: where transactions go and the state comes from.
            replica: tells the present slot.
            mesh: how neighbours are reached.
            is_behind: says whether blocks are fetched that were decided long ago.
            clock_ms: monotonic clock.
            market_factory: makes what deals with the neighbours.

        Raises:
            ReadingsError: the readings file is wrong.
            AppendLogError: a file of promises is damaged.
            ConfigurationError: the price is not allowed on this chain.
        """
        self._configuration = configuration
        self._identity = identity
        self._chain = chain
        self._replica = replica
        self._mesh = mesh
        self._is_behind = is_behind
        self._clock_ms = clock_ms
        self._wake = asyncio.Event()
        self._again_ms: dict[Digest, int] = {}
        self._log = get_logger("node")
        self._logs: list[AppendLog] = []
        self._duties = self._make_duties(market_factory)

    def _make_duties(self, market_factory: MarketFactory) -> MemberDuties:
        identity, ledger, table = self._identity, self._chain.ledger, self._configuration.meter
        transactions = OwnTransactions(
            key=identity.signer, chain=ledger.chain, ledger=ledger, journal=self._open(TRANSACTIONS_NAME)
        )
        household = None if table is None else self._make_household(table, transactions, market_factory)
        return MemberDuties(address=identity.address, ledger=ledger, transactions=transactions, household=household)

    def _make_household(
        self, table: MeterTable, transactions: OwnTransactions, market_factory: MarketFactory
    ) -> Household:
        identity, ledger = self._identity, self._chain.ledger
        readings = read_readings(table.readings_file, households=(table.household_id,))
        meter = Meter(
            identity=MeterIdentity(key=identity.meter_key, member=identity.address, chain=ledger.chain),
            hours=measured_hours(readings, table.household_id, table.hours),
            salts=self._open(SALTS_NAME),
        )
        parts = MarketParts(
            key=identity.signer,
            ledger=ledger,
            chain=ledger.chain,
            prices=self._configuration.price,
            offers=Promises(journal=self._open(OFFERS_NAME), state=ledger, tip=ledger.tip_slot),
            contracts=Promises(journal=self._open(CONTRACTS_NAME), state=ledger, tip=ledger.tip_slot),
            transactions=transactions,
            net_wh=meter.net_wh,
            grace_ms=round(table.grace_period_s * 1_000),
            first_number=time.time_ns() // 1_000_000,
        )
        return Household(
            address=identity.address,
            ledger=ledger,
            meter=meter,
            transactions=transactions,
            market=market_factory(parts),
            window_hours=table.window_hours,
        )

    def _open(self, name: str) -> AppendLog:
        log = AppendLog(self._configuration.home.directory / name)
        self._logs.append(log)
        return log

    # --- for the daemon ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Does what is due until cancelled.

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
            for log in self._logs:
                log.close()

    def handle(self, sender: Address, message: MarketMessage) -> None:
        """Takes a neighbour's message; it is dealt with in the next turn."""
        self._duties.receive(sender, message, self._clock_ms())
        self._wake.set()

    def report(self, action: ReportMisconduct) -> None:
        """Brings a proof of misconduct to the chain with this node's transactions, in the next turn."""
        self._duties.report(action)
        self._wake.set()

    def progress(self) -> AgentProgress | None:
        """Returns how far the household has come; None where there is no meter."""
        table, hours = self._configuration.meter, self._duties.progress()
        return None if table is None or hours is None else AgentProgress(household_id=table.household_id, hours=hours)

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
            present_slot=self._replica.status().present_slot,
            connected=self._mesh.connected(),
            is_behind=self._is_behind(),
        )
        turn = self._duties.turn(moment)
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
