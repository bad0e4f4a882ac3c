"""The hands of `SyncPlanner`: sends its requests, checks what comes, and feeds it through the one driver.

A block is checked when its height is the undecided one, for only then are its members known: it must be the one that
its certificate names, extend the tip, and have Q COMMITs of the height's members. Then it enters the replica as a
verified DECIDED, as if a member had sent it alone; the ledger executes it in full when it appends it.

`run` is the event loop's way of doing it: plan, then one block after another, each with its signatures verified on a
thread first. The simulator calls the same steps on its own clock.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from consensus.events import Event, Received
from consensus.identifiers import FIRST_HEIGHT, GENESIS_HEIGHT, Address, Height
from consensus.messages import Decided, Status
from consensus.verification import Verified, verify_message
from node.chain.application import Application
from node.chain.sync_planner import SyncFault, SyncPlanner
from node.logs import get_logger
from node.mesh.messages import Blocks, BlocksRequest, PeerMessage
from node.names.names import label_of

PLAN_INTERVAL_S: Final = 0.25
"""Longest time between two looks at deadlines and links."""

PLAN_BLOCKS: Final = 32
"""Blocks applied between two looks, so that the next answers are on their way."""

LOG_INTERVAL_S: Final = 5.0
"""Between two log lines of progress."""

NOBODY_GIVES: Final = (
    "no member gives block {first:,}: all that are reached began with snapshots above it. This node asks on. To "
    "begin with a snapshot too: stop it, move its ledger/ to a safe place (blocks 1 to {last:,} may be nowhere "
    'else), set begins_with = "snapshot" under [node] of meter.toml, and start it'
)

RATE_SAMPLES_MAX: Final = 40
"""Samples, one per look, over which blocks per second are measured: about ten seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncProgress:
    """Where a node that catches up stands."""

    first: Height
    """Height at which it began."""
    target: Height
    """Height that it is on its way to."""
    blocks_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedBlock:
    """The next block of the chain, checked, and who sent it."""

    sender: Address
    decided: Decided


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncLinks:
    """How block sync reaches the rest of the node."""

    send: Callable[[Address, PeerMessage], None]
    connected: Callable[[], frozenset[Address]]
    post: Callable[[Event], None]
    """Hands an event to the driver."""
    refused: Callable[[str, Address], None]
    """Counts wrong data: the reason, and who sent it."""


class BlockSync:
    """Fetches blocks while this node is far behind."""

    def __init__(
        self, *, application: Application, links: SyncLinks, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Takes what the blocks are for."""
        self._application = application
        self._links = links
        self._clock_s = clock_s
        self._planner = SyncPlanner(
            undecided=Height(application.height + 1), weak_quorum=application.memberships().undecided.weak_quorum
        )
        self._wake = asyncio.Event()
        self._samples: deque[tuple[float, Height]] = deque(maxlen=RATE_SAMPLES_MAX)
        self._first: Height | None = None
        self._logged_s = 0.0
        self.notice: str | None = None
        """Why it cannot go on, and what to do, in words; None while it can."""
        self._log = get_logger("sync")

    # --- what members send --------------------------------------------------------------------------------------

    def on_status(self, sender: Address, message: Status) -> None:
        """Notes how far a member says that it is; what others say of it counts for nothing."""
        if message.origin == sender and message.era == self._application.eras.at(message.undecided).number:
            self._planner.note_claim(sender, message.undecided)

    def on_blocks(self, sender: Address, message: Blocks) -> None:
        """Takes an answer."""
        fault = self._planner.take(sender, message.first, message.blocks, self._now_ms())
        if fault is not None:
            self._ban(sender, fault, message.first)
        self._wake.set()

    # --- work -----------------------------------------------------------------------------------------------------

    async def run(self, verify_ahead: Callable[[tuple[bytes, ...]], Awaitable[None]]) -> None:
        """Works until cancelled, or until this node has no block and nobody gives it the first one.

        Args:
            verify_ahead: verifies a block's requests, on a thread if they are many.
        """
        self._planner.ask_all_again()
        while True:
            self.plan()
            if self._is_stuck() and self._application.height == GENESIS_HEIGHT:
                return
            for _ in range(PLAN_BLOCKS):
                fetched = self.next_block()
                if fetched is None:
                    break
                await verify_ahead(self._application.transactions_in(fetched.decided.proposal))
                if not self.feed(fetched):
                    await asyncio.sleep(PLAN_INTERVAL_S)  # the node is stopping
                    break
                await asyncio.sleep(0)  # others have their turn after each
            else:
                continue
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(PLAN_INTERVAL_S):
                    await self._wake.wait()

    def progress(self) -> SyncProgress | None:
        """Returns how far it is; None while this node is not far behind."""
        if self._first is None:
            return None
        target = max(self._planner.target(self._now_ms()), self._application.height)
        return SyncProgress(first=self._first, target=target, blocks_per_s=self._blocks_per_s())

    def plan(self) -> None:
        """Looks at deadlines and links, and asks for what is missing."""
        planner, now_ms = self._planner, self._now_ms()
        planner.note_undecided(Height(self._application.height + 1))
        planner.note_connected(self._links.connected(), now_ms)
        for ask in planner.requests(now_ms):
            self._links.send(ask.peer, BlocksRequest(first=ask.first, count=ask.count))
        self._report()

    def _is_stuck(self) -> bool:
        """Says whether nobody gives the next block, and, where blocks are here, what people can do about it."""
        is_stuck = self._planner.nobody_gives(self._now_ms())
        first = self._application.height + 1
        notice = None if not is_stuck or first == FIRST_HEIGHT else NOBODY_GIVES.format(first=first, last=first - 1)
        if notice is not None and self.notice is None:
            self._log.warning("no member gives the next block", notice=notice)
        self.notice = notice
        return is_stuck

    def next_block(self) -> FetchedBlock | None:
        """Returns the block of the undecided height, once a right one is at hand; bans who sent wrong ones."""
        while True:
            height = Height(self._application.height + 1)
            self._planner.note_undecided(height)
            found = self._planner.next_block()
            if found is None:
                return None
            sender, decided = found
            fault = fault_of(decided, self._application)
            if fault is None:
                return FetchedBlock(sender=sender, decided=decided)
            self._ban(sender, fault, height)

    def feed(self, fetched: FetchedBlock) -> bool:
        """Hands a block to the driver, unless it was decided meanwhile; False if it was not applied."""
        height = fetched.decided.certificate.height
        if self._application.height + 1 == height:
            self._links.post(Received(sender=fetched.sender, message=Verified(fetched.decided)))
        return self._application.height >= height

    def _ban(self, sender: Address, fault: SyncFault, height: Height) -> None:
        self._links.refused(fault.value, sender)
        if fault is SyncFault.OTHER_ERA:
            self._planner.pass_over(sender)
            return
        self._planner.ban(sender, self._now_ms())
        self._log.warning(
            "a member sent wrong blocks and is not asked for a while",
            peer=label_of(sender),
            reason=fault.value,
            height=height,
        )

    # --- progress ---------------------------------------------------------------------------------------------------

    def _report(self) -> None:
        height, now_s = self._application.height, self._clock_s()
        if not self._planner.is_active:
            if self._first is not None:
                self._log.info("synced", height=height, blocks=height - self._first)
                self._first = None
                self._samples.clear()
            return
        if self._first is None:
            self._first = height
        if not self._samples or now_s - self._samples[-1][0] >= PLAN_INTERVAL_S:
            self._samples.append((now_s, height))
        if now_s - self._logged_s >= LOG_INTERVAL_S:
            self._logged_s = now_s
            of = max(self._planner.target(self._now_ms()), height)
            self._log.info("syncing", height=height, of=of, blocks_per_s=self._blocks_per_s())

    def _blocks_per_s(self) -> float:
        if not self._samples:
            return 0.0
        since_s, height = self._samples[0]
        elapsed_s = self._clock_s() - since_s
        return round((self._application.height - height) / elapsed_s, 1) if elapsed_s > 0 else 0.0

    def _now_ms(self) -> int:
        return int(self._clock_s() * 1_000)


def fault_of(decided: Decided, application: Application) -> SyncFault | None:
    """Says what is wrong with a fetched block of the undecided height, the cheap things first.

    A block that Q members committed to is right, whatever its header says: if it does not extend the tip, agreement
    is broken, and appending it stops the node.
    """
    height = Height(application.height + 1)
    assert decided.certificate.height == height, "the planner hands out the undecided height"
    era = application.eras.at(height)
    if decided.certificate.era != era.number:
        return SyncFault.OTHER_ERA
    if not application.has_its_name(decided):
        return SyncFault.NOT_A_BLOCK
    if isinstance(verify_message(decided, application.memberships().leaders, era), Verified):
        return None
    return SyncFault.BAD_CERTIFICATE if application.extends_tip(decided.proposal) else SyncFault.DOES_NOT_CHAIN
