"""Who leads how many blocks of an endless backlog: what a leader before its slot gains, what unequal clocks cost."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tests.simulation.faults import Faults, Role
from tests.simulation.host import TAU_MS
from tests.simulation.network import Network
from tests.simulation.opaque import BLOCK_REQUESTS_MAX, read_block
from tests.simulation.signing import keyed_hash_keys, keyed_hashes

BACKLOG = 5 * BLOCK_REQUESTS_MAX
"""Requests that wait at any time: some blocks' worth."""

TOLERANCE = 0.1
"""How much of an equal share a leader may gain. Delays are drawn."""
LOSS_TOLERANCE = 0.125
"""How much one may lose: the predecessor of a greedy leader goes without that one's vote, which costs it 9 to 12 % at
N = 4, by seed, and withheld COMMITs as well would cost it 19: nobody has to vote.
"""

LOOK_MS = TAU_MS // 4
SLOTS_PER_BLOCK_MAX = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Led:
    """What came of a run."""

    blocks: tuple[int, ...]
    """Blocks that each member led."""
    view_changes: int
    """By honest members."""
    slots: int
    """That the run took."""

    @property
    def is_fair(self) -> bool:
        """Says whether all led equally much, nearly, and no view changed."""
        equal = sum(self.blocks) / len(self.blocks)
        is_equal = all(-LOSS_TOLERANCE <= blocks / equal - 1 <= TOLERANCE for blocks in self.blocks)
        return is_equal and self.view_changes == 0


def lead(
    members: int,
    blocks: int,
    *,
    seed: int = 1,
    greedy: Collection[int] = (),
    offsets_ms: Sequence[int] = (),
    delay_ms_max: int = 20,
) -> Led:
    """Has members decide blocks under an endless backlog.

    Args:
        members: N.
        blocks: how many.
        seed: of the delays.
        greedy: members that lead a slot early.
        offsets_ms: of the members' clocks, in their order; 0 by default.
        delay_ms_max: of a message.
    """
    with keyed_hashes():
        network = Network(
            members,
            seed,
            Faults(delay_ms_max=delay_ms_max),
            keys=keyed_hash_keys(members),
            roles=dict.fromkeys(greedy, Role.GREEDY),
        )
        for host, offset_ms in zip(network.hosts, offsets_ms, strict=False):
            host.clock_offset_ms = offset_ms
        started_ms = network.now_ms
        _keep_full(network, blocks)
    application = network.hosts[0].application
    leaders = Counter(
        read_block(application.decided(height).proposal)[2] for height in sorted(network.checker.decided)[:blocks]
    )
    return Led(
        blocks=tuple(leaders[key.address] for key in network.keys),
        view_changes=sum(host.view_changes for host in network.honest),
        slots=(network.now_ms - started_ms) // TAU_MS,
    )


def _keep_full(network: Network, blocks: int) -> None:
    """Clients of all honest members see to it that a backlog never ends."""
    first, asked = network.honest[0].application, 0
    limit_ms = network.now_ms + SLOTS_PER_BLOCK_MAX * blocks * TAU_MS
    while first.height < blocks:
        assert network.now_ms < limit_ms, "stuck"
        while asked < first.height * BLOCK_REQUESTS_MAX + BACKLOG:
            network.honest[asked % len(network.honest)].submit(asked)
            asked += 1
        network.run(lambda: False, LOOK_MS)
