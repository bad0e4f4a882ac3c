"""The driver's side of the event loop: the clocks, the ticks, and what is verified on a thread."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from consensus.events import Instant
from ledger.ledger import Ledger
from node.chain.driver import Driver
from node.chain.verify_ahead import verify_ahead

TICKS_PER_SLOT: Final = 10
"""How often the replica is told that time passed; its timers are as fine as this."""

TICK_MS_MAX: Final = 100
"""Longest time between ticks."""

TURNS_BEFORE_TICK: Final = 4
"""Turns of the event loop before each tick: in each it reads up to 256 KiB per link and hands on what is whole."""


class DriverLoop:
    """What a driver is given of time and of other threads."""

    def __init__(self, ledger: Ledger) -> None:
        """Takes the ledger whose verifier remembers what was verified."""
        self._ledger = ledger
        self._verifications: set[asyncio.Task[None]] = set()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Gets the exception of a broken invariant or a failed write: the daemon must stop."""

    @staticmethod
    def monotonic_ms() -> int:
        """Returns the clock that arrivals are on."""
        return time.monotonic_ns() // 1_000_000

    def now(self) -> Instant:
        """Returns the present instant of both clocks."""
        clock_ms = time.time_ns() // 1_000_000 - self._ledger.genesis.start_ms
        return Instant(monotonic_ms=self.monotonic_ms(), clock_ms=clock_ms)

    def fail(self, error: Exception) -> None:
        """Lets the daemon know why it must stop."""
        if not self.failed.done():
            self.failed.set_exception(error)

    def verify_ahead(self, transactions: tuple[bytes, ...], then: Callable[[], None]) -> None:
        """Verifies transactions, on a thread if they are many, and calls `then` in the event loop."""
        task = asyncio.get_running_loop().create_task(self._verify(transactions, then))
        self._verifications.add(task)
        task.add_done_callback(self._verifications.discard)

    async def _verify(self, transactions: tuple[bytes, ...], then: Callable[[], None]) -> None:
        try:
            await verify_ahead(self._ledger, transactions)
            then()
        except Exception as error:  # noqa: BLE001  (a bug of ours: nothing more may be signed)
            self.fail(error)

    async def run(self, driver: Driver) -> None:
        """Ticks until cancelled."""
        tick_s = min(self._ledger.genesis.slot_duration_ms / TICKS_PER_SLOT, TICK_MS_MAX) / 1_000
        while True:
            driver.tick()
            await asyncio.sleep(tick_s)
            for _ in range(TURNS_BEFORE_TICK):  # if the loop was held up, what arrived meanwhile goes first
                await asyncio.sleep(0)
