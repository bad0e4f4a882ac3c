"""The hands of `sync.SyncPlanner`: sends its requests, checks what comes, and feeds it through the one driver.

A block is checked when its height is the undecided one, for only then are its members known: it must be the one that
its certificate names, extend the tip, and have Q COMMITs of the height's members. Then it enters the replica as a
verified DECIDED, as if a member had sent it alone; the ledger executes it in full when it appends it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from consensus.codec import DecodeError, decode
from consensus.eras import Eras
from consensus.events import Event, Received
from consensus.identifiers import Address, Digest, Height
from consensus.membership import Membership
from consensus.messages import Decided, Status
from consensus.verification import Verified, verify_message
from ledger.block import Block, block_digest, block_is_whole
from ledger.ledger import Ledger
from node.chain.submission import verify_ahead
from node.chain.sync_planner import SyncFault, SyncPlanner
from node.logs import get_logger
from node.mesh.messages import Blocks, BlocksRequest, PeerMessage

PLAN_INTERVAL_S: Final = 0.25
"""Longest time between two looks at deadlines and links."""

PLAN_BLOCKS: Final = 32
"""Blocks applied between two looks, so that the next answers are on their way."""

LOG_INTERVAL_S: Final = 5.0
"""Between two log lines of progress."""

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
class SyncLinks:
    """How block sync reaches the rest of the node."""

    send: Callable[[Address, PeerMessage], None]
    connected: Callable[[], frozenset[Address]]
    post: Callable[[Event], None]
    """Hands an event to the driver."""
    refused: Callable[[str], None]
    """Counts wrong data, by reason."""
    names: Mapping[Address, str]
    """Labels of the peers, for the log."""


class BlockSync:
    """Fetches blocks while this node is far behind."""

    def __init__(self, *, ledger: Ledger, links: SyncLinks, clock_s: Callable[[], float] = time.monotonic) -> None:
        """Takes the ledger that the blocks are for."""
        self._ledger = ledger
        self._links = links
        self._clock_s = clock_s
        self._planner = SyncPlanner(undecided=Height(ledger.height + 1), weak_quorum=ledger.membership().weak_quorum)
        self._wake = asyncio.Event()
        self._samples: deque[tuple[float, Height]] = deque(maxlen=RATE_SAMPLES_MAX)
        self._first: Height | None = None
        self._logged_s = 0.0
        self._log = get_logger("sync")

    # --- what members send --------------------------------------------------------------------------------------

    def on_status(self, sender: Address, message: Status) -> None:
        """Notes how far a member says that it is."""
        if message.era == self._ledger.eras.at(message.undecided).number:
            self._planner.note_claim(sender, message.undecided)

    def on_blocks(self, sender: Address, message: Blocks) -> None:
        """Takes an answer."""
        fault = self._planner.take(sender, message.first, message.blocks, self._now_ms())
        if fault is not None:
            self._ban(sender, fault, message.first)
        self._wake.set()

    # --- work -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            self._plan()
            await self._apply_ready()
            if self._planner.next_block() is None:
                self._wake.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(PLAN_INTERVAL_S):
                        await self._wake.wait()

    def progress(self) -> SyncProgress | None:
        """Returns how far it is; None while this node is not far behind."""
        if self._first is None:
            return None
        target = max(self._planner.target(self._now_ms()), self._ledger.height)
        return SyncProgress(first=self._first, target=target, blocks_per_s=self._blocks_per_s())

    def _plan(self) -> None:
        planner, now_ms = self._planner, self._now_ms()
        planner.note_undecided(Height(self._ledger.height + 1))
        planner.note_connected(self._links.connected(), now_ms)
        for ask in planner.requests(now_ms):
            self._links.send(ask.peer, BlocksRequest(first=ask.first, count=ask.count))
        self._report()

    async def _apply_ready(self) -> None:
        """Feeds the blocks at hand in their order; others have their turn after each."""
        ledger = self._ledger
        for _ in range(PLAN_BLOCKS):
            height = Height(ledger.height + 1)  # may have grown while others had their turn
            self._planner.note_undecided(height)
            found = self._planner.next_block()
            if found is None:
                return
            sender, decided = found
            fault, block = check_decided(decided, height, ledger.tip, ledger.membership(), ledger.eras)
            if fault is not None:
                self._ban(sender, fault, height)
            if block is not None:
                await verify_ahead(self._ledger, block.transactions)
                if self._ledger.height + 1 == height:  # else it was decided meanwhile
                    self._links.post(Received(sender=sender, message=Verified(decided)))
                    if self._ledger.height + 1 == height:
                        await asyncio.sleep(PLAN_INTERVAL_S)  # the node is stopping
                        return
            await asyncio.sleep(0)

    def _ban(self, sender: Address, fault: SyncFault, height: Height) -> None:
        self._links.refused(fault.value)
        if fault is SyncFault.OTHER_ERA:
            self._planner.pass_over(sender)
            return
        self._planner.ban(sender, self._now_ms())
        self._log.warning(
            "a member sent wrong blocks and is not asked for a while",
            peer=self._links.names.get(sender, sender.hex()),
            reason=fault.value,
            height=height,
        )

    # --- progress ---------------------------------------------------------------------------------------------------

    def _report(self) -> None:
        height, now_s = self._ledger.height, self._clock_s()
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
        return round((self._ledger.height - height) / elapsed_s, 1) if elapsed_s > 0 else 0.0

    def _now_ms(self) -> int:
        return int(self._clock_s() * 1_000)


def check_decided(
    decided: Decided, height: Height, tip: Digest, membership: Membership, eras: Eras
) -> tuple[SyncFault | None, Block | None]:
    """Checks a fetched block of the undecided height, the cheap things first.

    Args:
        decided: block and certificate, whatever they are.
        height: undecided here.
        tip: digest of the last decided block.
        membership: of the height.
        eras: of the chain.

    Returns:
        What is wrong and no block, or nothing and the block. A block that Q members committed to comes back whatever
        its header says: if it does not extend the tip, agreement is broken, and the ledger stops the node.
    """
    era = eras.at(height)
    if decided.certificate.era != era.number:
        return SyncFault.OTHER_ERA, None
    try:
        block = decode(decided.proposal, Block)
    except DecodeError:
        return SyncFault.NOT_A_BLOCK, None
    header, certificate = block.header, decided.certificate
    assert certificate.height == height, "the planner hands out the undecided height"
    if block_digest(header) != certificate.block or not block_is_whole(block):
        return SyncFault.NOT_A_BLOCK, None
    is_decided = isinstance(verify_message(decided, membership, era), Verified)
    if is_decided:
        return None, block
    extends = (header.chain, header.height, header.parent) == (eras.chain, height, tip)
    return (SyncFault.BAD_CERTIFICATE if extends else SyncFault.DOES_NOT_CHAIN), None
