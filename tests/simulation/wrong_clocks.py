"""Runs whose clocks are wrong in a directed way, on production replicas: what block time and progress make of it.

Block time is the slots in the headers. Each function raises AssertionError if it moved with the clocks, or stopped.
"""

from collections.abc import Callable

from consensus.clock import CLOCK_SETTLE_MS
from consensus.identifiers import Height
from consensus.messages import Prepare, PrePrepare
from consensus.quorum import fault_bound
from tests.simulation.application import voted_in
from tests.simulation.faults import Faults
from tests.simulation.host import TAU_MS, Host
from tests.simulation.network import Network, Payload
from tests.simulation.opaque import read_block
from tests.simulation.signing import keyed_hash_keys, keyed_hashes

HOUR_MS = 3_600_000
WEEK_MS = 7 * 24 * HOUR_MS
ASK_MS = 2 * TAU_MS
"""How often a client asks for something."""

ANSWER_SLOTS_MAX = 10
"""Within so many slots everything is executed that was asked for, wherever clocks do not stop that."""


class Boards:
    """A perfect network whose members' clocks a test sets. A client asks for something every other slot."""

    def __init__(self, members: int, offset_ms: int = 0) -> None:
        self.network = Network(members, members, Faults(), keys=keyed_hash_keys(members))
        self.hosts = self.network.hosts
        self._asked = 0
        self.right_ms = 0
        """Offset of the right time: slots are held against it."""
        if offset_ms:
            self.boot(offset_ms)

    def boot(self, offset_ms: int) -> None:
        """All members start anew with such clocks."""
        for host in self.hosts:
            host.clock_offset_ms = offset_ms
            host.start()

    def set(self, offset_ms: int, *members: int) -> None:
        """The clocks of some members, or all, are set."""
        for host in (self.hosts[member] for member in members) if members else self.hosts:
            host.clock_offset_ms = offset_ms

    def run(self, duration_ms: int, look: Callable[[], None] = lambda: None) -> None:
        """Time passes; clients ask."""
        end_ms = self.network.now_ms + duration_ms
        while self.network.now_ms < end_ms:
            self.hosts[self._asked % len(self.hosts)].submit(self._asked)
            self._asked += 1
            self.network.run(lambda: False, min(ASK_MS, end_ms - self.network.now_ms))
            look()

    def execute_all(self, slots: int = ANSWER_SLOTS_MAX) -> None:
        assert self.network.run(self.network.is_everything_executed, slots * TAU_MS), "stuck"

    @property
    def height(self) -> int:
        return max(host.application.height for host in self.hosts)

    @property
    def last_slot(self) -> int:
        """Slot in the header of the last block."""
        chain = max((host.application for host in self.hosts), key=lambda application: application.height)
        return read_block(chain.decided(Height(chain.height)).proposal)[1]

    def check_block_time(self) -> None:
        """The last block's slot is about the right one."""
        right = (self.network.now_ms + self.right_ms) // TAU_MS
        assert right - ANSWER_SLOTS_MAX <= self.last_slot <= right + 1, "block time moved with the clocks"


def an_hour_ahead_for_three_seconds(members: int) -> None:
    """A time server slips: all members' clocks go wrong together, and right again."""
    with keyed_hashes():
        boards = Boards(members)
        boards.run(20 * TAU_MS, boards.check_block_time)
        for by_ms in (HOUR_MS, -HOUR_MS):
            boards.set(by_ms)
            before = boards.height
            boards.run(3_000, boards.check_block_time)
            assert boards.height > before, "nothing was decided meanwhile"
            boards.set(0)
            boards.run(20 * TAU_MS, boards.check_block_time)
        boards.execute_all()
        assert sum(host.view_changes for host in boards.hosts) == 0


def set_right_one_after_the_other(from_ms: int, right_ms: int) -> None:
    """Five boards boot at last week's time. Four are set right within seconds, the fifth never."""
    with keyed_hashes():
        boards = Boards(5, from_ms)
        boards.run(20 * TAU_MS)
        for member in range(4):
            boards.set(right_ms, member)
            boards.run(1_000)
        boards.right_ms = right_ms
        boards.run(CLOCK_SETTLE_MS - 1_000)
        boards.execute_all()
        boards.run(TAU_MS)
        boards.execute_all()
        boards.check_block_time()


def an_hour_ahead_for_good(members: int) -> None:
    """All clocks were wrong, and are set right together: block time follows once they have stayed, and not before."""
    with keyed_hashes():
        boards = Boards(members)
        boards.run(20 * TAU_MS)
        boards.set(HOUR_MS)
        boards.run(CLOCK_SETTLE_MS - 2 * TAU_MS, boards.check_block_time)
        boards.right_ms = HOUR_MS
        boards.run(6 * TAU_MS)
        boards.run(20 * TAU_MS, boards.check_block_time)
        boards.execute_all()


def clocks_that_never_stay(members: int, wrong: int) -> None:
    """So many clocks jump every 20 seconds for ever, each elsewhere: block time goes on, and so does the chain."""
    with keyed_hashes():
        boards = Boards(members)
        boards.run(20 * TAU_MS)
        for turn in range(6):
            for member in range(wrong):
                boards.set((turn + 1) * HOUR_MS * (1 + member) * (-1) ** turn, member)
            boards.run(20_000, boards.check_block_time)
        boards.execute_all()


def a_clock_that_never_stays_from_the_start(members: int) -> None:
    """All boot at last week's time, and their clocks never stay for long enough: the chain goes on all the same."""
    with keyed_hashes():
        boards = Boards(members, -WEEK_MS)
        for turn in range(6):
            for member in range(members):
                boards.set((turn - 3) * HOUR_MS * (1 + member), member)
            before = boards.height
            boards.run(20_000)
            assert boards.height > before, "stands still"
        boards.execute_all()


def voted_while_clocks_were_wrong(members: int) -> None:
    """F + 1 vote in a slot an hour ahead, and nobody hears of it; then all start anew, with the right time."""
    with keyed_hashes():
        boards = Boards(members, HOUR_MS)
        network = boards.network

        def is_lost(sender: Host, recipient: Host, payload: Payload) -> bool:
            is_near = (recipient.index - sender.index) % members <= fault_bound(members)
            return isinstance(payload, Prepare) or (isinstance(payload, PrePrepare) and not is_near)

        def voters() -> int:
            return sum(voted_in(host.application.records()) is not None for host in boards.hosts)

        network.is_lost = is_lost
        boards.hosts[0].submit(0)
        assert network.run(lambda: voters() > fault_bound(members), 2 * TAU_MS), "the schedule does not come about"
        network.is_lost = lambda *_: False
        assert (voters(), boards.height) == (fault_bound(members) + 1, 0)
        boards.boot(0)
        boards.execute_all()
