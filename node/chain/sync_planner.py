"""Plans how a node that is far behind fetches blocks: what to ask whom next, given answers and time.

Theory of operation
-------------------
Members a few heights behind catch up by single DECIDED messages (P8). Beyond that this planner asks several
members at once for ranges of blocks. It walks a window above the undecided height; each range goes to one member,
and what that member does not deliver (silence, a lost link, a shorter answer, wrong data) goes back among the
ranges wanted and so to another member, the lowest first. Answers may arrive in any order and are held, bounded in
count and bytes, until their height is the undecided one. Only then does the host check certificate and content,
for the members of a height are known only when the one before is applied.

Nothing here is believed: a claim about heights costs its author at most some unanswered requests, and blocks prove
themselves. A member that delivered wrong data is left out for a time, one that did not deliver is left out for a
moment, longer each time. No socket, clock or signature is touched here; time is handed in.
"""

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from consensus.identifiers import Address, Height
from consensus.intake import DECIDED_RUN_MAX
from consensus.messages import Decided
from node.mesh.messages import BLOCKS_PER_ANSWER_MAX

BEHIND_MIN: Final = DECIDED_RUN_MAX
"""Heights behind from which on ranges are asked for; up to it one DECIDED run is enough."""

CAUGHT_UP_MAX: Final = 2
"""Heights behind at which it ends: the rest is what is being decided just now."""

WINDOW_BLOCKS: Final = 1_024
"""How far above the undecided height blocks are asked for: at 500 blocks per second two seconds of answers."""

HELD_SIZE_BYTES_MAX: Final = 32 * 1024 * 1024
"""Blocks held before their turn. Beyond it only the undecided height is asked for."""

ENDORSEMENT_SIZE_BYTES: Final = 100
"""An address and a signature."""

PEER_REQUESTS_MAX: Final = 2
"""Requests open with one member: while one answer is applied the next is on its way."""

REQUESTS_MAX: Final = 8
"""Requests open with all members together: bounds what may arrive at once, 8 frames."""

LATE_REQUESTS_MAX: Final = 4
"""Timed-out requests remembered per member: a slow link's answer is late, not wrong, and still used."""

ANSWER_DEADLINE_MS: Final = 5_000
"""Longest wait for an answer before another member is asked: 2 MiB at 4 Mbit/s."""

PAUSE_INITIAL_MS: Final = 2_000
"""How long a member that did not deliver is not asked; doubles each time in a row."""

PAUSE_DOUBLINGS_MAX: Final = 5
"""Longest pause: about a minute."""

LACKED_WAIT_MS: Final = 10_000
"""How long links to more members are waited for once all that are up said that they do not have what is next."""

FAILURES_DOUBTED: Final = 3
"""Unanswered requests in a row after which a claim that nobody else makes counts only while its author is asked."""

BAN_MS: Final = 10 * 60 * 1_000
"""How long a member that sent wrong data is not asked, and its answers are not read."""


class SyncFault(Enum):
    """What makes a member's answer useless: all but `OTHER_ERA` are lies."""

    TOO_MANY = "sync_too_many"
    """More blocks than were asked for."""
    WRONG_HEIGHT = "sync_wrong_height"
    """Not the heights that were asked for, in their order."""
    NOT_A_BLOCK = "sync_not_a_block"
    """Not a block, or not the one that its certificate names, or with another body."""
    BAD_CERTIFICATE = "sync_bad_certificate"
    """Not exactly Q COMMITs of the height's members."""
    OTHER_ERA = "sync_other_era"
    """Its certificate names another era than the height has here: no lie, the member is in an era that this node does
    not know, or the other way round. It is asked again once it says that it has something of this era.
    """
    DOES_NOT_CHAIN = "sync_does_not_chain"
    """Another parent, height or chain in the header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request to send."""

    peer: Address
    first: Height
    count: int


@dataclass(slots=True, kw_only=True)
class _Request:
    first: int
    last: int
    """Inclusive."""
    asked_ms: int


@dataclass(slots=True, kw_only=True)
class _Peer:
    is_connected: bool = False
    claim: int = 0
    """Highest height that it says is decided."""
    open: dict[int, _Request] = field(default_factory=dict)
    """By first height."""
    late: dict[int, _Request] = field(default_factory=dict)
    lacked: int = 0
    """Height up to which it said to have nothing, though it is above: it began with a snapshot."""
    failures: int = 0
    """Requests in a row that it did not answer."""
    turn: int = 0
    """Number of the last request that it got."""
    paused_until_ms: int = 0
    banned_until_ms: int = 0


class SyncPlanner:
    """What is wanted, held, and asked of whom. Memory: the window's blocks within their bounds."""

    def __init__(self, *, undecided: Height, weak_quorum: int) -> None:
        """Takes the undecided height, and F + 1: of so many claims one is honest."""
        self._undecided: int = undecided
        self._weak_quorum = weak_quorum
        self._peers: dict[Address, _Peer] = {}
        self._held: dict[int, tuple[Address, Decided]] = {}
        self._held_size_bytes = 0
        self._holes: list[tuple[int, int]] = []
        """Ranges (first, last) that were asked for and not delivered, the lowest first."""
        self._cursor: int = undecided
        """Lowest height that was never asked for."""
        self._turns = 0
        """Requests made."""
        self._lacked_ms: int | None = None
        """Since when all said that they do not have the undecided height."""
        self.is_active = False
        """True while this node is far enough behind to ask for ranges."""

    # --- what the host tells ----------------------------------------------------------------------------------

    def note_claim(self, peer: Address, undecided: Height) -> None:
        """Takes a member's word (STATUS) for its undecided height."""
        self._peer(peer).claim = undecided - 1

    def note_connected(self, connected: frozenset[Address], now_ms: int) -> None:
        """Takes the members whose link is up; what was asked of the others is wanted again."""
        for address in connected:
            self._peer(address).is_connected = True
        for address, peer in self._peers.items():
            if peer.is_connected and address not in connected:
                peer.is_connected = False
                for request in list(peer.open.values()):
                    self._fail(peer, request, now_ms)

    def note_undecided(self, undecided: Height) -> None:
        """Takes this node's undecided height; all below is done."""
        for height in range(self._undecided, min(undecided, self._undecided + WINDOW_BLOCKS)):
            self._drop(height)
        self._undecided = undecided
        self._cursor = max(self._cursor, undecided)

    def take(self, sender: Address, first: Height, blocks: Sequence[Decided], now_ms: int) -> SyncFault | None:
        """Takes an answer; one that was not asked for is ignored.

        Returns:
            What is wrong with it if that shows without its content. The caller then calls `ban`.
        """
        peer = self._peer(sender)
        is_late = first not in peer.open
        request = peer.late.pop(first, None) if is_late else peer.open.pop(first)
        if request is None:
            return None
        if not is_late:  # else it is wanted from others already
            self._want(request.first + min(len(blocks), request.last - request.first + 1), request.last)
        if len(blocks) > request.last - request.first + 1:
            return self._refused(request, SyncFault.TOO_MANY)
        if any(block.certificate.height != first + index for index, block in enumerate(blocks)):
            return self._refused(request, SyncFault.WRONG_HEIGHT)
        if not blocks:
            peer.lacked, peer.claim = max(peer.lacked, first), min(peer.claim, first - 1)
            self._pause(peer, now_ms)
            return None
        peer.failures = peer.lacked = 0
        for block in blocks:
            self._hold(sender, block)
        return None

    def ban(self, sender: Address, now_ms: int) -> None:
        """Leaves a member out for a time; all that it sent or was asked for is wanted from others."""
        self._peer(sender).banned_until_ms = now_ms + BAN_MS
        self._drop_all_of(sender)

    def pass_over(self, sender: Address) -> None:
        """Asks a member for nothing until it says again what it has: what it sent is of another era."""
        peer = self._peer(sender)
        peer.claim = min(peer.claim, self._undecided - 1)
        self._drop_all_of(sender)

    def _drop_all_of(self, sender: Address) -> None:
        peer = self._peer(sender)
        for request in peer.open.values():
            self._want(request.first, request.last)
        peer.open.clear()
        peer.late.clear()
        for height in [height for height, (source, _) in self._held.items() if source == sender]:
            self._drop(height)
            self._want(height, height)

    # --- what the host asks -----------------------------------------------------------------------------------

    def next_block(self) -> tuple[Address, Decided] | None:
        """Returns what is held for the undecided height, and who sent it."""
        return self._held.get(self._undecided)

    def target(self, now_ms: int) -> Height:
        """Returns the height that this node is on its way to: one that an honest member has decided if F + 1 say
        so, else the highest claim of who seems to answer.
        """
        ahead = [peer for peer in self._usable(now_ms) if peer.claim >= self._undecided]
        claims = sorted((peer.claim for peer in ahead), reverse=True)
        if len(claims) >= self._weak_quorum:
            return Height(claims[self._weak_quorum - 1])
        answering = [
            peer.claim for peer in ahead if peer.failures < FAILURES_DOUBTED or now_ms >= peer.paused_until_ms
        ]
        return Height(max(answering, default=self._undecided - 1))

    def nobody_gives(self, now_ms: int) -> bool:
        """Says whether all who are further, and answer, have said that the undecided height is not theirs to give."""
        usable = self._usable(now_ms)
        may_have = [
            peer
            for peer in usable
            if peer.lacked < self._undecided <= peer.claim and peer.failures < FAILURES_DOUBTED
        ]
        if may_have or all(peer.lacked < self._undecided for peer in usable):
            self._lacked_ms = None
            return False
        self._lacked_ms = now_ms if self._lacked_ms is None else self._lacked_ms
        return now_ms - self._lacked_ms >= LACKED_WAIT_MS

    def ask_all_again(self) -> None:
        """Forgets who said that the undecided height is not theirs to give."""
        self._lacked_ms = None
        for peer in self._peers.values():
            peer.lacked = 0

    def requests(self, now_ms: int) -> list[Ask]:
        """Returns what to ask now, as asked from now on. Call it when anything was told, and in between."""
        for peer in self._peers.values():
            for request in list(peer.open.values()):
                if request.last < self._undecided:  # decided without it
                    self._give_up(peer, request)
                elif now_ms - request.asked_ms >= ANSWER_DEADLINE_MS:
                    self._fail(peer, request, now_ms)
        self._update_activity(now_ms)
        asks: list[Ask] = []
        while self.is_active:
            ask = self._next_ask(now_ms)
            if ask is None:
                break
            asks.append(ask)
        return asks

    @property
    def held_size_bytes(self) -> int:
        """Bytes of the blocks held before their turn."""
        return self._held_size_bytes

    @property
    def open_requests(self) -> int:
        """Requests that wait for their answer."""
        return sum(len(peer.open) for peer in self._peers.values())

    def banned(self, now_ms: int) -> frozenset[Address]:
        """Returns the members that are left out for wrong data."""
        return frozenset(address for address, peer in self._peers.items() if now_ms < peer.banned_until_ms)

    # --- planning ---------------------------------------------------------------------------------------------

    def _update_activity(self, now_ms: int) -> None:
        behind = self.target(now_ms) - (self._undecided - 1)
        if not self.is_active and behind > BEHIND_MIN:
            self.is_active = True
        elif self.is_active and behind <= CAUGHT_UP_MAX:
            self.is_active = False
            self._holes.clear()
            self._held.clear()
            self._held_size_bytes = 0
            self._cursor = self._undecided
            for peer in self._peers.values():
                peer.open.clear()
                peer.late.clear()

    def _next_ask(self, now_ms: int) -> Ask | None:
        wanted = self._lowest_wanted()
        if wanted is None or self.open_requests >= REQUESTS_MAX:
            return None
        first, last = wanted
        if first > self._undecided and self._held_size_bytes >= HELD_SIZE_BYTES_MAX:
            return None
        address = self._best_peer(first, now_ms)
        if address is None:
            return None
        peer = self._peers[address]
        last = min(last, peer.claim, first + BLOCKS_PER_ANSWER_MAX - 1)
        self._take_out(first, last)
        self._turns += 1
        peer.turn = self._turns
        peer.open[first] = _Request(first=first, last=last, asked_ms=now_ms)
        return Ask(peer=address, first=Height(first), count=last - first + 1)

    def _lowest_wanted(self) -> tuple[int, int] | None:
        """Returns the lowest range that nobody was asked for, or nobody delivered; None: all is under way."""
        while self._holes:
            first, last = self._holes[0]
            while first <= last and (first < self._undecided or first in self._held):
                first += 1
            while len(self._holes) > 1 and self._holes[1][0] <= last + 1:
                last = max(last, self._holes[1][1])
                del self._holes[1]
            if first <= last:
                self._holes[0] = (first, last)
                return first, last
            del self._holes[0]
        end = self._undecided + WINDOW_BLOCKS
        return (self._cursor, end - 1) if self._cursor < end else None

    def _take_out(self, first: int, last: int) -> None:
        if not self._holes:
            self._cursor = last + 1
            return
        hole_first, hole_last = self._holes[0]
        assert hole_first == first, "the lowest range is the one asked for"
        del self._holes[0]
        self._want(last + 1, hole_last)

    def _best_peer(self, first: int, now_ms: int) -> Address | None:
        """Returns the least busy member that says it has a height, in turn; None if there is none now."""
        able = [
            (len(peer.open), peer.failures, peer.turn, address)
            for address, peer in self._peers.items()
            if peer.is_connected
            and now_ms >= max(peer.banned_until_ms, peer.paused_until_ms)
            and peer.claim >= first
            and len(peer.open) < PEER_REQUESTS_MAX
            and first not in peer.open
        ]
        return min(able)[3] if able else None

    def _usable(self, now_ms: int) -> list[_Peer]:
        return [peer for peer in self._peers.values() if peer.is_connected and now_ms >= peer.banned_until_ms]

    # --- bookkeeping ------------------------------------------------------------------------------------------

    def _peer(self, address: Address) -> _Peer:
        return self._peers.setdefault(address, _Peer())

    def _fail(self, peer: _Peer, request: _Request, now_ms: int) -> None:
        """Another member is to be asked; this one's answer is used all the same if it still comes."""
        self._give_up(peer, request)
        self._pause(peer, now_ms)
        self._want(request.first, request.last)

    @staticmethod
    def _give_up(peer: _Peer, request: _Request) -> None:
        del peer.open[request.first]
        peer.late[request.first] = request
        while len(peer.late) > LATE_REQUESTS_MAX:
            del peer.late[next(iter(peer.late))]

    @staticmethod
    def _pause(peer: _Peer, now_ms: int) -> None:
        if now_ms < peer.paused_until_ms:
            return  # all that was open failed at once: that is one failure
        peer.paused_until_ms = now_ms + (PAUSE_INITIAL_MS << min(peer.failures, PAUSE_DOUBLINGS_MAX))
        peer.failures += 1

    def _refused(self, request: _Request, fault: SyncFault) -> SyncFault:
        self._want(request.first, request.last)
        return fault

    def _want(self, first: int, last: int) -> None:
        if first <= last:
            insort(self._holes, (first, last))

    def _hold(self, sender: Address, block: Decided) -> None:
        height = block.certificate.height
        if height in self._held or not self._undecided <= height < self._undecided + WINDOW_BLOCKS:
            return
        self._held[height] = (sender, block)
        self._held_size_bytes += _size_bytes(block)

    def _drop(self, height: int) -> None:
        dropped = self._held.pop(height, None)
        if dropped is not None:
            self._held_size_bytes -= _size_bytes(dropped[1])


def _size_bytes(block: Decided) -> int:
    return len(block.proposal) + ENDORSEMENT_SIZE_BYTES * len(block.certificate.endorsements)
