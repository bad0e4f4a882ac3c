"""A host's part in block sync: the production planner, driven on the virtual clock.

As the node's hands for it (`node.chain.block_sync`, `node.chain.block_server`) do: looks a few times a slot whom to
ask for what, checks a block when its height is the undecided one, and feeds it to the replica as a verified DECIDED.
"""

from typing import TYPE_CHECKING, Final

from consensus.events import Received
from consensus.identifiers import Address, Height
from consensus.messages import Status
from consensus.verification import Verified
from node.chain.sync_planner import HELD_SIZE_BYTES_MAX, REQUESTS_MAX, WINDOW_BLOCKS, SyncFault, SyncPlanner
from node.mesh.messages import Blocks, BlocksRequest

if TYPE_CHECKING:
    from tests.simulation.host import Host

PLAN_MS: Final = 250
"""Between two looks at deadlines and links."""


class Syncing:
    """What one process knows of the blocks that it fetches; gone with the process."""

    def __init__(self, host: "Host") -> None:
        application = host.application
        self._host = host
        self._planned_ms = -PLAN_MS
        self._planner = SyncPlanner(
            undecided=Height(application.height + 1), weak_quorum=application.membership.weak_quorum
        )

    # --- what members send --------------------------------------------------------------------------------------

    def on_status(self, sender: Address, message: Status) -> None:
        self._planner.note_claim(sender, message.undecided)

    def on_request(self, sender: Address, request: BlocksRequest) -> None:
        """Answers with what is decided here, of what was asked for."""
        application = self._host.application
        heights = range(request.first, min(request.first + request.count, application.height + 1))
        blocks = tuple(application.decided(Height(number)) for number in heights)
        self._host.network.send(self._host, sender, Blocks(first=request.first, blocks=blocks))

    def on_blocks(self, sender: Address, message: Blocks) -> None:
        fault = self._planner.take(sender, message.first, message.blocks, self._now_ms())
        if fault is not None:
            self._ban(sender, fault)
        self._work()

    # --- work -----------------------------------------------------------------------------------------------------

    def on_tick(self) -> None:
        if self._host.network.now_ms - self._planned_ms >= PLAN_MS:
            self._planned_ms = self._host.network.now_ms
            self._work()

    def _work(self) -> None:
        self._apply_ready()
        host, planner, now_ms = self._host, self._planner, self._now_ms()
        if not host.is_up:
            return
        was_active = planner.is_active
        planner.note_connected(self._connected(), now_ms)
        for ask in planner.requests(now_ms):
            host.network.send(host, ask.peer, BlocksRequest(first=ask.first, count=ask.count))
        host.network.occurred["a member far behind asked for ranges of blocks"] += planner.is_active > was_active

    def _apply_ready(self) -> None:
        """Feeds the blocks at hand in their order; the process may die at each."""
        host, planner = self._host, self._planner
        while host.is_up:
            height = Height(host.application.height + 1)
            planner.note_undecided(height)
            found = planner.next_block()
            if found is None:
                return
            sender, decided = found
            fault = host.application.sync_fault(decided)
            if fault is not None:
                self._ban(sender, fault)
                continue
            host.post(Received(sender=sender, message=Verified(decided)))
            host.network.occurred["a block came by sync"] += 1
            if host.application.height < height:
                return  # it died before the block was written

    def _ban(self, sender: Address, fault: SyncFault) -> None:
        host = self._host
        host.network.occurred[f"refused: {fault.value}"] += 1
        if fault is SyncFault.OTHER_ERA:
            self._planner.pass_over(sender)
            return
        host.network.occurred["refused: a range of blocks"] += 1
        host.network.checker.note_banned(sender, host.network.byzantine, fault)
        self._planner.ban(sender, self._now_ms())

    def _connected(self) -> frozenset[Address]:
        hosts = self._host.network.hosts
        return frozenset(host.key.address for host in hosts if host.is_up and host.key is not self._host.key)

    def _now_ms(self) -> int:
        return self._host.now().monotonic_ms

    def check_memory(self) -> None:
        """The planner's bounds."""
        planner = self._planner
        assert planner.open_requests <= REQUESTS_MAX, "more requests are open than bounds allow"
        assert len(planner._held) <= WINDOW_BLOCKS, "more blocks are held than bounds allow"
        assert planner.held_size_bytes <= 2 * HELD_SIZE_BYTES_MAX, "more bytes are held than bounds allow"
