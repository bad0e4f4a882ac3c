"""Earlier blocks fill in behind a snapshot: beside the ledger that began with one grows a second one, from genesis.

The second ledger is an ordinary one, in a folder of its own. The blocks below the snapshot come from members: each is
proven by the certificate of its height's members, as genesis leads to them, and executed as any other. From the
snapshot's block on they come from the ledger that is there. So it gets past that block only if the state that was
taken follows from the blocks below. Once it has come as far as the other one, this run of the node ends, and the
ledger from genesis takes its place (`node.snapshots.filled`). Nothing of the present one is touched before.

It works on a thread, at a fifth of a processor, with one request to one member at a time, never while this node is
behind. One process has the second ledger open; whenever it ends, the next one goes on.
"""

import asyncio
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Final, TypeVar

from consensus.codec import DecodeError, decode
from consensus.identifiers import GENESIS_HEIGHT, Address, Height
from consensus.messages import CommitCertificate, Decided
from ledger.block import Block, block_digest, block_is_whole
from ledger.eras import BegunEra
from ledger.errors import DecidedBlockRefused, LedgerDamaged, LedgerError, LedgerForeign
from ledger.ledger import Ledger
from ledger.transactions import TransactionVerifier
from ledger.validation import certificate_fault
from node.home.folder import Home
from node.logs import get_logger
from node.mesh.messages import BLOCKS_PER_ANSWER_MAX, Blocks, BlocksRequest, PeerMessage
from node.names.names import label_of
from node.snapshots.filling_folder import FillingFolder

T = TypeVar("T")

NEAR_BLOCKS: Final = 32
"""Blocks that the ledger from genesis may lack as it takes the other one's place: they are executed then."""

ANSWER_DEADLINE_S: Final = 30.0
"""Longest wait for an answer: a member serves those first who are behind."""

LOOK_S: Final = 5.0
"""Between two looks at whether somebody can be asked, and this node is not behind."""

PAUSE_FACTOR: Final = 4
"""Pause after each block, in times what it took: a fifth of a processor."""

PAUSE_S_MIN: Final = 0.001

LEFT_OUT_S: Final = 600.0
"""How long a member is not asked that does not have the blocks, did not answer, or sent wrong ones."""

FREE_SIZE_BYTES_MIN: Final = 512 * 1024 * 1024
"""What is left free on the disk: the present ledger and the copies of its state need it."""

LOG_INTERVAL_S: Final = 60.0


class FillingFault(Enum):
    """What makes a member's blocks useless: as this it is counted."""

    NOT_ASKED = "filling_not_the_blocks"
    """Other heights than were asked for, or more."""
    NOT_A_BLOCK = "filling_not_a_block"
    """Not a block, or with another body than its header names."""
    BAD_CERTIFICATE = "filling_bad_certificate"
    """The members of the height, as genesis leads to them, did not decide it."""


class HistoriesDifferError(Exception):
    """Decided blocks do not lead to the block that this node began with. Says at which height, and how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FillingProgress:
    """How far earlier blocks are filled in."""

    height: Height
    """Up to which they are executed from genesis."""
    target: Height
    """That the ledger has that is in use."""
    notice: str | None
    """Why it does not go on, in words; None while it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FillingLinks:
    """How filling in reaches the rest of the node."""

    send: Callable[[Address, PeerMessage], None]
    connected: Callable[[], frozenset[Address]]
    refused: Callable[[str], None]
    """Counts what was refused: the reason."""
    is_behind: Callable[[], bool]


def take_decided(ledger: Ledger, block: Block, certificate: CommitCertificate) -> FillingFault | None:
    """Appends the next block of a chain, if it is one that its members decided.

    Returns:
        What is wrong with it; nothing was written then.

    Raises:
        HistoriesDifferError: it is decided, and does not follow from the blocks below it.
        LedgerWriteFailed: the disk does not take it.
        RulesUnknown: this program does not know its rules.
    """
    height, digest = Height(ledger.height + 1), block_digest(block.header)
    if not block_is_whole(block):
        return FillingFault.NOT_A_BLOCK
    fault = certificate_fault(certificate, height, digest, ledger.membership(), ledger.eras.at(height))
    if fault is not None or block.header.height != height:
        return FillingFault.BAD_CERTIFICATE
    if block.header.parent != ledger.tip:
        raise HistoriesDifferError(
            f"block {height} extends {block.header.parent.hex()}, and from genesis block {ledger.height} is "
            f"{ledger.tip.hex()}"
        )
    try:
        ledger.append(block, certificate)
    except DecidedBlockRefused as refused:
        raise HistoriesDifferError(f"block {height} does not follow from the blocks below it: {refused}") from None
    return None


def decided_in(ledger: Ledger, height: Height) -> tuple[Block, CommitCertificate]:
    """Returns a decided block of a ledger, with what decided it."""
    certificate = ledger.certificate(height)
    assert certificate is not None, "a decided block has its certificate"
    return ledger.decided_block(height), certificate


def take_own(ledger: Ledger, block: Block, certificate: CommitCertificate) -> None:
    """Appends a block that another ledger of this home has.

    Raises:
        HistoriesDifferError, LedgerError: as `take_decided`; also if others decided it than genesis leads to.
    """
    fault = take_decided(ledger, block, certificate)
    if fault is not None:
        raise HistoriesDifferError(f"block {block.header.height}, which is here, is not the next one: {fault.value}")


class Filling:
    """Fills earlier blocks in. For use by one thread; it works on another, one piece at a time."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        home: Home,
        begun: Sequence[BegunEra],
        links: FillingLinks,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Takes the ledger in use; opens nothing yet."""
        self._clock_s = clock_s
        self._ledger = ledger
        self._home = home
        self._begun = begun
        self._links = links
        self._own: Ledger | None = None
        self._asked: tuple[Address, BlocksRequest] | None = None
        self._answer: asyncio.Future[Blocks] | None = None
        self._left_out_s: dict[Address, float] = {}
        """Members that are not asked, and until when."""
        self._turns: dict[Address, int] = {}
        self._folder = FillingFolder(home.filling)
        self._notice: str | None = None
        self._logged_s = 0.0
        self._log = get_logger("snapshots")

    # --- for others ------------------------------------------------------------------------------------------------

    @property
    def is_wanted(self) -> bool:
        """Says whether there is anything to fill in."""
        return self._ledger.lacks(GENESIS_HEIGHT)

    def progress(self) -> FillingProgress | None:
        """Returns how far it is; None where nothing is to be filled in."""
        if not self.is_wanted:
            return None
        height = GENESIS_HEIGHT if self._own is None else self._own.height
        return FillingProgress(height=height, target=self._ledger.height, notice=self._notice)

    def on_blocks(self, sender: Address, answer: Blocks) -> None:
        """Takes an answer; one that is not waited for is ignored."""
        waiting = self._asked
        if waiting is None or self._answer is None or self._answer.done():
            return
        if (sender, answer.first) == (waiting[0], waiting[1].first):
            self._answer.set_result(answer)

    # --- work ------------------------------------------------------------------------------------------------------

    async def run(self) -> bool:
        """Works until the ledger from genesis has come as far as the other one.

        Returns:
            Whether it has: the next run of the node takes it. False where nothing is to be filled in, or nothing can
            be; then `progress` says why.
        """
        if not self.is_wanted:
            await asyncio.to_thread(self._folder.remove)
            return False
        self._notice = self._folder.difference
        if self._notice is not None:
            return False
        try:
            self._own = await self._apart(self._open)
            try:
                await self._fill(self._own)
            finally:
                own, self._own = self._own, None
                await self._apart(own.close)
        except HistoriesDifferError as differ:
            self._note_difference(str(differ))
            return False
        except (LedgerError, OSError) as error:
            self._notice = f"earlier blocks cannot be filled in: {error}"
            self._log.error(self._notice)
            return False
        return True

    async def _fill(self, own: Ledger) -> None:
        below = self._ledger.first_height - 1
        while self._ledger.height - own.height > NEAR_BLOCKS or own.height <= below:
            self._report(own)
            if self._links.is_behind() or not self._has_room():
                await asyncio.sleep(LOOK_S)
            elif own.height < below:
                await self._fetch(own, Height(below))
            else:
                await self._paced(partial(take_own, own, *decided_in(self._ledger, Height(own.height + 1))))

    async def _fetch(self, own: Ledger, below: Height) -> None:
        """Asks one member for the next blocks, and executes what it gives."""
        peer = self._next_peer()
        if peer is None:
            self._notice = f"no member that is reached gives block {own.height + 1:,}; they are asked again"
            await asyncio.sleep(LOOK_S)
            return
        first = Height(own.height + 1)
        request = BlocksRequest(first=first, count=min(BLOCKS_PER_ANSWER_MAX, below - own.height))
        self._asked, self._answer = (peer, request), asyncio.get_running_loop().create_future()
        self._links.send(peer, request)
        try:
            async with asyncio.timeout(ANSWER_DEADLINE_S):
                answer = await self._answer
        except TimeoutError:
            self._leave_out(peer)
            return
        finally:
            self._asked = self._answer = None
        if not answer.blocks:
            self._leave_out(peer)
            return
        await self._take_all(own, peer, request, answer.blocks)

    async def _take_all(self, own: Ledger, peer: Address, request: BlocksRequest, answer: Sequence[Decided]) -> None:
        if len(answer) > request.count:
            self._refuse(peer, FillingFault.NOT_ASKED)
            return
        self._note_source(peer)
        for decided in answer:
            try:
                block = decode(decided.proposal, Block)
            except DecodeError:
                self._refuse(peer, FillingFault.NOT_A_BLOCK)
                return
            fault = await self._paced(partial(take_decided, own, block, decided.certificate))
            if fault is not None:
                self._refuse(peer, fault)
                return
            self._notice = None

    async def _paced(self, work: Callable[[], T]) -> T:
        """Does a piece of work, and nothing for a while."""
        began_s = self._clock_s()
        done = await self._apart(work)
        await asyncio.sleep(max(PAUSE_S_MIN, PAUSE_FACTOR * (self._clock_s() - began_s)))
        return done

    async def _apart(self, work: Callable[[], T]) -> T:
        """Does a piece of work on a thread; who is cancelled waits for its end: only it may touch the ledger."""
        task = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            with suppress(Exception):
                await task
            raise

    def _open(self) -> Ledger:
        """Goes on with the ledger that was begun, else begins one."""
        directory, genesis = self._folder.ledger, self._ledger.genesis
        verifier = TransactionVerifier(self._ledger.chain, remembered_max=1)  # nobody asks for one again
        try:
            if Ledger.exists(directory):
                return Ledger.open(directory, genesis, verifier, begun=self._begun)
        except (LedgerDamaged, LedgerForeign) as error:
            self._log.warning("the earlier blocks that were filled in are fetched anew", reason=str(error))
        self._folder.remove()
        self._folder.directory.mkdir(mode=0o700)
        return Ledger.create(directory, genesis, verifier, begun=self._begun)

    def _has_room(self) -> bool:
        free = shutil.disk_usage(self._home.directory).free
        if free >= FREE_SIZE_BYTES_MIN:
            return True
        self._notice = f"the disk has {free:,} bytes free: earlier blocks wait for {FREE_SIZE_BYTES_MIN:,}"
        return False

    # --- members ---------------------------------------------------------------------------------------------------

    def _next_peer(self) -> Address | None:
        """Returns who was asked longest ago of those who may be asked."""
        now_s, connected = self._clock_s(), self._links.connected()
        for gone in self._turns.keys() - connected:
            del self._turns[gone]
        able = [peer for peer in connected if now_s >= self._left_out_s.get(peer, 0.0)]
        if not able:
            return None
        chosen = min(able, key=lambda peer: (self._turns.get(peer, 0), peer))
        self._turns[chosen] = 1 + max(self._turns.values(), default=0)
        return chosen

    def _leave_out(self, peer: Address) -> None:
        self._left_out_s[peer] = self._clock_s() + LEFT_OUT_S

    def _refuse(self, peer: Address, fault: FillingFault) -> None:
        self._links.refused(fault.value)
        self._leave_out(peer)
        self._log.warning(
            "a member sent wrong earlier blocks and is not asked for a while", peer=label_of(peer), reason=fault.value
        )

    def _note_source(self, peer: Address) -> None:
        """Writes down who gave blocks, for the case that these do not lead to the block that this node began with."""
        known = self._folder.sources
        if label_of(peer) not in known:
            self._folder.write_sources(known | {label_of(peer)})

    def _note_difference(self, how: str) -> None:
        """Says for good that the blocks below do not lead to the block that this node began with."""
        names = ", ".join(sorted(self._folder.sources))
        self._notice = (
            f"the snapshot of block {self._ledger.first_height:,} that this node began with and the history that "
            f"{names} told differ: {how}. This node goes on with what it has. Ask neighbours who have all blocks "
            "which is theirs; to fetch the history anew, stop this node and remove filling/ of its home"
        )
        self._folder.write_difference(self._notice)
        self._log.critical("the history differs from the snapshot", notice=self._notice)

    def _report(self, own: Ledger) -> None:
        now_s = self._clock_s()
        if now_s - self._logged_s >= LOG_INTERVAL_S:
            self._logged_s = now_s
            self._log.info("filling earlier blocks in", height=own.height, of=self._ledger.height)
