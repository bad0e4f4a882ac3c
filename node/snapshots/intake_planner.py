"""Plans how a home takes a state in: what to ask whom next, given answers and time.

Theory of operation
-------------------
First all linked members are asked which state they have. Of the height that most of them name, the highest first,
the origin is asked of one of them, page by page; what does not prove itself by genesis alone is refused, and so is
who sent it. Then the hashes are walked in lanes: of each the chunk at its lowest hash that is missing is asked of one
member or another, several at once, the least busy first. Until the first chunk came only one is asked for: of a small
state it is all.

Nothing here is believed. Who sent anything wrong is not asked again; who is silent is left out for a moment, longer
each time; who does not have the state any more is asked for nothing of it. When nobody is left who has it, all begins
again with another one, a few times. When nothing has come for long, or nobody has one, it ends with the reason: then
the home executes from genesis, as it can without any state. While nobody is linked it waits: a home that joins starts
before it is admitted. No socket, clock, disk or signature is touched here.
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from consensus.identifiers import GENESIS_HEIGHT, Address, Digest, Height
from ledger.state_copy import ORIGIN_PAGE_SIZE_BYTES
from ledger.state_ranges import Covered, Region, StateChunk
from node.mesh.messages import (
    ChunkAnswer,
    ChunkRequest,
    OriginPage,
    OriginRequest,
    SnapshotAnswer,
    SnapshotOffer,
    SnapshotQuestion,
    SnapshotRequest,
)

LANE_BITS: Final = 5
"""The hashes are walked in 32 lanes: more than requests are open, so that all ask for disjoint chunks."""

REQUESTS_MAX: Final = 8
"""Requests open with all members together: bounds what may arrive at once, 8 frames."""

PEER_REQUESTS_MAX: Final = 2
"""Requests open with one member: while one answer is written the next is on its way."""

OFFERS_WAIT_MS: Final = 3_000
"""How long offers are waited for, once one came, before one of them is taken."""

ANSWER_DEADLINE_MS: Final = 10_000
"""Longest wait for an answer before another member is asked: 4 MiB, the largest, at 4 Mbit/s."""

PAUSE_INITIAL_MS: Final = 2_000
"""How long a member that did not answer is not asked; doubles each time in a row."""

PAUSE_DOUBLINGS_MAX: Final = 5

LINKS_WAIT_MS: Final = 10_000
"""How long links to more members are waited for before those that are up decide that there is nothing to be had."""

GIVE_UP_MS: Final = 60_000
"""Longest time in which less comes than `PROGRESS_SIZE_BYTES`: then it ends."""

PROGRESS_SIZE_BYTES: Final = 64 * 1024
"""Keys and values, or pages. Who tells one entry at a time tells no lie, but would keep a home waiting for days."""

BEGINNINGS_MAX: Final = 4
"""States that are begun before it ends, each because nobody had the one before any more."""

_LANES: Final = tuple(
    Region(Digest(bytes([number << (8 - LANE_BITS)]) + bytes(31)), LANE_BITS) for number in range(1 << LANE_BITS)
)


class NoSnapshot(Enum):
    """Why no state could be had, in words: the home executes from genesis instead."""

    NONE_YET = "no member has a copy of the state yet"
    SILENT = "no member that was asked for the state answered in time"
    REFUSED = "what members sent of the state was wrong, or did not prove itself"
    GONE = "the members had other states before one was here"


class IntakeFault(Enum):
    """What makes an answer a lie, beside what its content shows."""

    NOT_THE_PAGE = "snapshot_not_the_page"
    """A page of another size than the offer said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request to send."""

    peer: Address
    question: SnapshotQuestion


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenOrigin:
    """All pages of an origin, from one member: the host says whether it is proven (`begin` or `refuse`)."""

    sender: Address
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenChunk:
    """A chunk that was asked for: the host says whether it is right (`took` or `refuse`)."""

    sender: Address
    position: Digest
    chunk: StateChunk


@dataclass(slots=True, kw_only=True)
class _Peer:
    is_connected: bool = False
    is_refused: bool = False
    """It sent something wrong."""
    offer: SnapshotOffer | None = None
    lacks: bool = False
    """It said that it does not have the state that is taken in."""
    open: dict[SnapshotQuestion, int] = field(default_factory=dict)
    """What it was asked and when."""
    failures: int = 0
    paused_until_ms: int = 0
    turn: int = 0


class IntakePlanner:
    """What is wanted, and asked of whom. Memory: the pages of one origin."""

    def __init__(self, *, now_ms: int, begun: tuple[Height, Covered] | None = None) -> None:
        """Takes the height and the cover of a state that was begun before, if one was."""
        self._peers: dict[Address, _Peer] = {}
        self._pages: list[bytes] = []
        self._source: Address | None = None
        """Who is asked for the origin."""
        self._is_judging = False
        """An origin came, and the host has not said yet whether it is proven."""
        self._height: Height | None = None
        """Of the state whose chunks are taken; None before its origin is proven."""
        self._covered = Covered()
        self._beginnings = 0
        self._began_ms = self._progress_ms = now_ms
        """When so much had come that it was progress."""
        self._came_bytes = 0
        """Since then."""
        self._offered_ms: int | None = None
        self._turns = 0
        if begun is not None:
            self._height, self._covered = begun

    # --- what the host tells ----------------------------------------------------------------------------------

    def note_connected(self, connected: frozenset[Address]) -> None:
        """Takes the members whose link is up; what was asked of the others is asked elsewhere."""
        for address in connected:
            self._peers.setdefault(address, _Peer()).is_connected = True
        for address, peer in self._peers.items():
            if peer.is_connected and address not in connected:
                peer.is_connected = False
                peer.open.clear()
                self._leave(address)

    def take(
        self, sender: Address, answer: SnapshotAnswer, now_ms: int
    ) -> TakenOrigin | TakenChunk | IntakeFault | None:
        """Takes an answer; one that was not asked for, or is not waited for any more, is ignored.

        Returns:
            What the host has to judge, or what is wrong with it; then the host calls `refuse`.
        """
        peer = self._peers.get(sender)
        if peer is None or peer.is_refused or peer.open.pop(_question_of(answer), None) is None:
            return None
        match answer:
            case SnapshotOffer():
                peer.offer = answer
                if answer.height != GENESIS_HEIGHT:
                    self._offered_ms = now_ms if self._offered_ms is None else self._offered_ms
                return None
            case OriginPage():
                return self._take_page(sender, answer, now_ms)
            case ChunkAnswer():
                if answer.height != self._height:
                    return None
                if answer.chunk is None:
                    peer.lacks = True
                    return None
                peer.failures = 0
                return TakenChunk(sender=sender, position=answer.position, chunk=answer.chunk)

    def _take_page(self, sender: Address, page: OriginPage, now_ms: int) -> TakenOrigin | IntakeFault | None:
        offer = self._peers[sender].offer
        if sender != self._source or offer is None or page.height != offer.height or page.page != len(self._pages):
            return None
        if not page.content:  # it has another one by now, or never had this one
            self._pause(sender, now_ms)
            return None
        missing = offer.origin_size_bytes - len(self._pages) * ORIGIN_PAGE_SIZE_BYTES
        if len(page.content) != min(missing, ORIGIN_PAGE_SIZE_BYTES):
            return IntakeFault.NOT_THE_PAGE
        self._peers[sender].failures = 0
        self._pages.append(page.content)
        self._note_progress(len(page.content), now_ms)
        if missing > ORIGIN_PAGE_SIZE_BYTES:
            return None
        content = b"".join(self._pages)
        self._leave(sender)
        self._is_judging = True
        return TakenOrigin(sender=sender, content=content)

    def begin(self, height: Height, covered: Covered, now_ms: int) -> None:
        """Takes that an origin is proven, and what is covered of its state: grows as the host writes chunks."""
        self._height, self._covered = height, covered
        self._is_judging = False
        self._note_progress(PROGRESS_SIZE_BYTES, now_ms)
        self._beginnings += 1
        for peer in self._peers.values():
            peer.lacks = False

    def took(self, chunk: StateChunk, now_ms: int) -> None:
        """Takes that a chunk was right and is written."""
        self._note_progress(chunk.size_bytes, now_ms)

    def refuse(self, sender: Address) -> None:
        """Asks a member for nothing any more: what it sent was wrong."""
        self._is_judging = False
        peer = self._peers[sender]
        peer.is_refused = True
        peer.open.clear()
        self._leave(sender)

    # --- planning ---------------------------------------------------------------------------------------------

    @property
    def height(self) -> Height | None:
        """Of the state whose chunks are taken, None before there is one."""
        return self._height

    @property
    def open_requests(self) -> int:
        """How many requests are under way."""
        return sum(len(peer.open) for peer in self._peers.values())

    def requests(self, now_ms: int) -> list[Ask]:
        """Returns what to ask now."""
        if not any(peer.is_connected for peer in self._peers.values()):
            self._began_ms = self._progress_ms = now_ms  # who is not admitted yet cannot fetch blocks either
        self._look_at_deadlines(now_ms)
        if self._height is not None and self._is_gone():
            self._begin_anew()
        asks: list[Ask] = []
        if self._is_judging:
            self._progress_ms = now_ms  # no member is waited for
        elif self._height is None:
            asks += self._ask_for_offers(now_ms)
            asks += self._ask_for_origin(now_ms)
        else:
            while (ask := self._next_chunk(now_ms)) is not None:
                asks.append(ask)
        return asks

    def ended(self, now_ms: int) -> NoSnapshot | None:
        """Says why no state can be had, None while one may be."""
        if self._height is not None and self._covered.is_whole:
            return None
        if self._beginnings > BEGINNINGS_MAX:
            return NoSnapshot.GONE
        known = [peer for peer in self._peers.values() if peer.is_connected or peer.is_refused]
        usable = [peer for peer in known if not peer.is_refused]
        has_liars = len(known) > len(usable)
        nothing_to_ask = self._height is None and all(_has_none(peer) for peer in usable)
        if known and (nothing_to_ask or not usable) and now_ms - self._began_ms >= LINKS_WAIT_MS:
            return NoSnapshot.REFUSED if has_liars else NoSnapshot.NONE_YET
        if now_ms - self._progress_ms < GIVE_UP_MS:
            return None
        return NoSnapshot.REFUSED if has_liars else NoSnapshot.SILENT

    def _look_at_deadlines(self, now_ms: int) -> None:
        for address, peer in self._peers.items():
            late = [question for question, asked_ms in peer.open.items() if now_ms - asked_ms >= ANSWER_DEADLINE_MS]
            for question in late:
                del peer.open[question]
            if late:
                self._pause(address, now_ms)

    def _ask_for_offers(self, now_ms: int) -> list[Ask]:
        asked = [
            (address, peer)
            for address, peer in self._peers.items()
            if _may_be_asked(peer, now_ms) and peer.offer is None and SnapshotRequest() not in peer.open
        ]
        return [self._ask(address, SnapshotRequest(), now_ms) for address, _ in asked]

    def _ask_for_origin(self, now_ms: int) -> list[Ask]:
        if self._source is None:
            self._source = self._best_offer(now_ms)
        if self._source is None:
            return []
        peer = self._peers[self._source]
        assert peer.offer is not None, "who is asked for an origin has offered one"
        question = OriginRequest(height=peer.offer.height, page=len(self._pages))
        return [] if question in peer.open else [self._ask(self._source, question, now_ms)]

    def _best_offer(self, now_ms: int) -> Address | None:
        """Returns who is asked for an origin: once all have answered, or those who did not were waited for."""
        usable = {address: peer for address, peer in self._peers.items() if _may_be_asked(peer, now_ms)}
        is_waiting = any(peer.offer is None for peer in usable.values())
        if self._offered_ms is None or (is_waiting and now_ms - self._offered_ms < OFFERS_WAIT_MS):
            return None
        offers = {address: peer.offer.height for address, peer in usable.items() if peer.offer is not None}
        named = Counter(offers.values())
        able = [
            (named[height], height, -usable[address].turn, address)
            for address, height in offers.items()
            if height != GENESIS_HEIGHT
        ]
        return max(able)[3] if able else None

    def _next_chunk(self, now_ms: int) -> Ask | None:
        is_first = not self._covered.intervals
        if self.open_requests >= (1 if is_first else REQUESTS_MAX):
            return None
        asked = {question for peer in self._peers.values() for question in peer.open}
        for lane in _LANES:
            position = self._covered.first_missing(lane)
            question = None if position is None else ChunkRequest(height=self._chosen, position=position)
            if question is not None and question not in asked:
                peer = self._best_peer(now_ms)
                return None if peer is None else self._ask(peer, question, now_ms)
        return None

    def _best_peer(self, now_ms: int) -> Address | None:
        able = [
            (len(peer.open), peer.failures, peer.turn, address)
            for address, peer in self._peers.items()
            if _may_be_asked(peer, now_ms) and not peer.lacks and len(peer.open) < PEER_REQUESTS_MAX
        ]
        return min(able)[3] if able else None

    # --- bookkeeping ------------------------------------------------------------------------------------------

    def _note_progress(self, size_bytes: int, now_ms: int) -> None:
        self._came_bytes += size_bytes
        if self._came_bytes >= PROGRESS_SIZE_BYTES:
            self._came_bytes, self._progress_ms = 0, now_ms

    @property
    def _chosen(self) -> Height:
        assert self._height is not None, "chunks are asked for once an origin is proven"
        return self._height

    def _ask(self, address: Address, question: SnapshotQuestion, now_ms: int) -> Ask:
        peer = self._peers[address]
        self._turns += 1
        peer.turn = self._turns
        peer.open[question] = now_ms
        return Ask(peer=address, question=question)

    def _is_gone(self) -> bool:
        """Says whether everybody who can be asked lacks the state."""
        usable = [peer for peer in self._peers.values() if peer.is_connected and not peer.is_refused]
        return bool(usable) and all(peer.lacks for peer in usable)

    def _begin_anew(self) -> None:
        self._height, self._covered = None, Covered()
        self._offered_ms = None
        for address, peer in self._peers.items():
            peer.open.clear()
            self._forget_offer(address)

    def _pause(self, address: Address, now_ms: int) -> None:
        """Leaves a member out for a moment, and asks it then what it has."""
        peer = self._peers[address]
        peer.paused_until_ms = now_ms + (PAUSE_INITIAL_MS << min(peer.failures, PAUSE_DOUBLINGS_MAX))
        peer.failures += 1
        self._forget_offer(address)

    def _forget_offer(self, address: Address) -> None:
        self._peers[address].offer = None
        self._leave(address)

    def _leave(self, address: Address) -> None:
        """Begins with the pages of an origin anew if a member is asked for them."""
        if self._source == address:
            self._source = None
            self._pages = []


def _may_be_asked(peer: _Peer, now_ms: int) -> bool:
    return peer.is_connected and not peer.is_refused and now_ms >= peer.paused_until_ms


def _has_none(peer: _Peer) -> bool:
    return peer.offer is not None and peer.offer.height == GENESIS_HEIGHT


def _question_of(answer: SnapshotAnswer) -> SnapshotQuestion:
    match answer:
        case SnapshotOffer():
            return SnapshotRequest()
        case OriginPage():
            return OriginRequest(height=answer.height, page=answer.page)
        case ChunkAnswer():
            return ChunkRequest(height=answer.height, position=answer.position)
