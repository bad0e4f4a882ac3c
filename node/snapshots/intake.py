"""The hands of `IntakePlanner`: sends its requests, judges what comes, and writes what is right to the disk.

An origin is right if genesis alone proves it; a chunk is right if the state root in the origin's block proves it.
Both are judged before anything is written, an origin on a thread, and each chunk is on the disk before the next is
judged: a process that ends at any point goes on from there.
"""

import asyncio
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from consensus.codec import DecodeError, decode
from consensus.identifiers import Address, Height
from contracts.genesis import Genesis
from ledger.checkpoint import Checkpoint
from ledger.eras import BegunEras
from ledger.errors import CopyDamaged, OriginRefused
from ledger.origin import Origin, check_origin
from ledger.state_copy import ORIGIN_SIZE_BYTES_MAX
from ledger.state_intake import StateIntake
from ledger.state_ranges import chunk_fault
from node.logs import get_logger
from node.mesh.messages import PeerMessage, SnapshotAnswer
from node.names.names import label_of
from node.snapshots.intake_planner import IntakeFault, IntakePlanner, NoSnapshot, TakenChunk, TakenOrigin

PLAN_INTERVAL_S: Final = 0.25
"""Longest time between two looks at deadlines and links."""

LOG_INTERVAL_S: Final = 5.0
"""Between two log lines of progress."""

ORIGIN_REFUSED: Final = "snapshot_origin_refused"
"""As what an origin that does not prove itself is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeLinks:
    """How an intake reaches the rest of the node."""

    send: Callable[[Address, PeerMessage], None]
    connected: Callable[[], frozenset[Address]]
    refused: Callable[[str, Address], None]
    """Counts wrong data: the reason, and who sent it."""


class SnapshotIntake:
    """Takes the state after a decided block in, from several members at once."""

    def __init__(
        self,
        *,
        genesis: Genesis,
        begun: BegunEras | None = None,
        checkpoint: Checkpoint | None = None,
        directory: Path,
        links: IntakeLinks,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Goes on with what a folder holds of a state, else begins with nothing.

        Args:
            genesis: of the chain; nobody else is trusted.
            begun: eras that ceremonies began at this home.
            checkpoint: that the home joined with.
            directory: for the intake alone; it is made.
            links: to the members.
            clock_s: monotonic.
        """
        self._genesis = genesis
        self._begun = BegunEras(genesis) if begun is None else begun
        self._checkpoint = checkpoint
        self._directory = directory
        self._links = links
        self._clock_s = clock_s
        self._wake = asyncio.Event()
        self.unjudged: TakenOrigin | None = None
        """An origin that came: `judged` says what it is, `settle` takes that."""
        self._logged_s = 0.0
        self._log = get_logger("snapshots")
        self._taken = self._begun_before()
        known = None if self._taken is None else (self._taken.height, self._taken.covered)
        self._planner = IntakePlanner(now_ms=self._now_ms(), begun=known)

    def close(self) -> None:
        """Closes what is taken; it stays on the disk."""
        if self._taken is not None:
            self._taken.close()
            self._taken = None

    def discard(self) -> None:
        """Removes what is taken: a ledger was made of it, or no state can be had."""
        self.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    async def run(self) -> StateIntake | NoSnapshot:
        """Works until the state is whole, or none can be had; returns it, or why.

        Raises:
            LedgerWriteFailed: the disk does not take it.
        """
        while True:
            self._wake.clear()
            if self.unjudged is not None:
                taken = self.unjudged
                self.settle(taken, await asyncio.to_thread(self.judged, taken))
            self.plan()
            found = self.outcome()
            if found is not None:
                return found
            with suppress(TimeoutError):
                async with asyncio.timeout(PLAN_INTERVAL_S):
                    await self._wake.wait()

    def plan(self) -> None:
        """Looks at deadlines and links, and asks for what is missing."""
        self._planner.note_connected(self._links.connected())
        for ask in self._planner.requests(self._now_ms()):
            self._links.send(ask.peer, ask.question)
        self._report()

    def outcome(self) -> StateIntake | NoSnapshot | None:
        """Returns the state once it is whole, or why none can be had; None while it is taken in."""
        if self._taken is not None and self._taken.covered.is_whole:
            return self._taken
        return self._planner.ended(self._now_ms())

    def on_answer(self, sender: Address, answer: SnapshotAnswer) -> None:
        """Takes what a member sent; takes some 15 ms and a synced write for the largest chunk.

        Raises:
            LedgerWriteFailed: the disk does not take it.
        """
        match self._planner.take(sender, answer, self._now_ms()):
            case IntakeFault() as fault:
                self._refuse(sender, fault.value, "it sent a page of another size than it had said")
            case TakenOrigin() as origin:
                self.unjudged = origin
            case TakenChunk() as chunk:
                self._take_chunk(chunk)
            case None:
                pass
        self._wake.set()

    # --- judging --------------------------------------------------------------------------------------------------

    def judged(self, taken: TakenOrigin) -> Origin | str:
        """Returns a proven origin, or what is wrong: seconds for the largest. A thread may do it: nothing changes."""
        try:
            origin = decode(taken.content, Origin, size_bytes_max=ORIGIN_SIZE_BYTES_MAX)
            check_origin(origin, self._genesis, self._begun, checkpoint=self._checkpoint)
        except (DecodeError, OriginRefused) as error:
            return str(error)
        return origin

    def settle(self, taken: TakenOrigin, found: Origin | str) -> None:
        """Begins with a proven origin, or asks who sent a wrong one for nothing any more.

        Raises:
            LedgerWriteFailed: the disk does not take it.
        """
        self.unjudged = None
        if isinstance(found, str):
            self._refuse(taken.sender, ORIGIN_REFUSED, found)
            return
        self.close()
        self._taken = StateIntake.create(self._directory, found)
        self._log.info("a state is taken in", height=self._taken.height, block_of=label_of(taken.sender))
        self._planner.begin(self._taken.height, self._taken.covered, self._now_ms())

    def _take_chunk(self, taken: TakenChunk) -> None:
        state = self._taken
        assert state is not None, "chunks are asked for once there is an origin"
        fault = chunk_fault(taken.chunk, state.root, taken.position)
        if fault is not None:
            self._refuse(taken.sender, fault.value, "a piece of the state was not what the block commits to")
            return
        state.put(taken.position, taken.chunk)
        self._planner.took(taken.chunk, self._now_ms())

    def _refuse(self, sender: Address, reason: str, words: str) -> None:
        self._links.refused(reason, sender)
        self._planner.refuse(sender)
        self._log.warning(
            "a member sent a wrong state and is not asked again", peer=label_of(sender), reason=reason, detail=words
        )

    # --- the disk, and progress -----------------------------------------------------------------------------------

    def _begun_before(self) -> StateIntake | None:
        if not self._directory.exists():
            return None
        try:
            taken = StateIntake.open(self._directory)
        except CopyDamaged as error:
            self._log.warning("what was taken of a state is of no use, and taken anew", reason=str(error))
            return None
        if taken.chain != self._begun.chain:
            taken.close()
            return None
        return taken

    @property
    def height(self) -> Height | None:
        """Of the block whose state is taken in, None before it is known."""
        return None if self._taken is None else self._taken.height

    @property
    def share(self) -> float:
        """How much of the state is here, 0 to 1."""
        return 0.0 if self._taken is None else self._taken.covered.share

    def _report(self) -> None:
        now_s = self._clock_s()
        if self._taken is not None and now_s - self._logged_s >= LOG_INTERVAL_S:
            self._logged_s = now_s
            self._log.info("taking the state in", height=self.height, percent=round(100 * self.share, 1))

    def _now_ms(self) -> int:
        return int(self._clock_s() * 1_000)
