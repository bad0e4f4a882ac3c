"""What goes wrong in a simulated run: the network, the hosts, their clocks and disks, and members that lie."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from consensus.clock import CLOCK_SETTLE_MS


class Role(Enum):
    """What one of the at most F faulty members does, also after all other faults have ended."""

    SILENT = "silent"
    """Sends nothing."""
    EQUIVOCATING = "equivocating"
    """Tells every second member something else, in every kind of message, and votes for everything."""
    WITHHOLDING = "withholding"
    """Sends each statement to some members only."""
    LATE = "late"
    """Sends everything up to some slots late."""
    FAR_FUTURE = "far_future"
    """Adds statements of far slots and heights, and a clock that is far ahead."""
    STALE = "stale"
    """Claims an older certificate than it holds, and repeats what anyone said before."""
    FORGING = "forging"
    """Answers with lies: wrong STATUS, bodies, DECIDED, ranges of blocks and heights; tears certificates off what
    others said.
    """
    GREEDY = "greedy"
    """Leads its slot from the start of the slot before on."""
    HOARDING = "hoarding"
    """Says what it should of itself, and gives nothing that it has of others: no certificate, no block, no answer."""
    HALF_TELLING = "half_telling"
    """Hoards, and tells every second member alone what it says of itself, others at each height."""
    COUNTERFEITING = "counterfeiting"
    """Hands out certificates that do not hold, unasked too, and asks all for certificates without limit."""
    TWIN = "twin"
    """Two honest copies under one key, each with its own disk."""
    LOSES_BLOCKS = "loses_blocks"
    """Honest; loses blocks at a restart, but not its sign state: a wiped disk, or one whose syncs lie."""
    BIT_ROT = "bit_rot"
    """Honest; a bit of its files changes while it is stopped."""
    FORGETS = "forgets"
    """Honest; loses its sign state at a restart, and sometimes blocks too: asks the others what it may sign."""
    OLD_SIGN_STATE = "old_sign_state"
    """Honest; an older sign state is put back while it is stopped, as by a backup or by a disk whose syncs lie."""
    WILD_CLOCK = "wild_clock"
    """Honest; its clock jumps by up to an hour."""


BYZANTINE: Final = frozenset(Role) - {
    Role.LOSES_BLOCKS,
    Role.BIT_ROT,
    Role.FORGETS,
    Role.OLD_SIGN_STATE,
    Role.WILD_CLOCK,
}
"""Members that the checker expects nothing of."""

COLLECTING: Final = (Role.HOARDING, Role.HALF_TELLING, Role.COUNTERFEITING)
"""What who collects for others can do wrong: only where clusters are drawn does it collect alone."""


class Cut(Enum):
    """How a partition cuts."""

    SYMMETRIC = "symmetric"
    ONE_WAY = "one_way"
    """What one side sends is lost, what it is sent arrives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Probabilities and ranges; the defaults are a perfect network."""

    until_ms: int = 1_000_000_000
    """Faults of the network and of hosts end here; roles stay what they are."""
    loss: float = 0.0
    duplication: float = 0.0
    delay_ms_max: int = 20
    straggling: float = 0.0
    """Share of messages that take up to `STRAGGLER_MS_MAX`."""
    crash_per_tick: float = 0.0
    crash_per_point: float = 0.0
    """Of a crash at each of the points between durable steps, and in the middle of a write."""
    failing_writes: float = 0.0
    """Share of durable writes that fail: a full disk, or a sync that says so. Some of their bytes may be there."""
    slow_write_ms_max: int = 0
    """How long a durable write may take; the process does nothing else meanwhile."""
    slow_execution_ms_max: int = 0
    """How long building or executing a block may take, likewise."""
    request_size_bytes: int = 0
    """Bytes added to each request: with enough of them blocks are as large as they may be."""
    pause_per_tick: float = 0.0
    clock_jump_per_tick: float = 0.0
    clock_offset_ms_max: int = 0
    drift_per_million_max: int = 0
    """How much faster or slower a host's clocks run."""
    joint_jump_ms: int = 0
    """Every so long all clocks jump together, by up to a minute, or back to where they were; 0 for never."""
    clock_settle_ms: int = CLOCK_SETTLE_MS
    """How long a clock stays after a jump before it is followed."""
    absent: int = 0
    """So many honest members are down until faults end: behind by all that the others decide meanwhile."""
    partition_ms: int = 0
    """Every so long, the members are cut in two for the same time; 0 for never. Short ones flap."""
    cut: Cut = Cut.SYMMETRIC
    dead_links: frozenset[tuple[int, int]] = frozenset()
    """Sender and recipient, by number: what one sends the other is lost, also after all other faults have ended."""
    dead_link_share: float = 0.0
    """The same for links drawn between members without a role: about so many, and each member keeps a quorum that it
    reaches over at most one other.
    """
    roles: tuple[Role, ...] = ()
    """Of the first F members in an order drawn from the seed; more roles than F are not given."""


def trouble(until_ms: int, *, is_parted: bool, crash_per_tick: float = 0.002, crash_per_point: float = 0.0) -> Faults:
    """Returns a bad network, with crashes and pauses, for a while; with partitions, if it is parted."""
    return Faults(
        until_ms=until_ms,
        loss=0.05,
        duplication=0.05,
        delay_ms_max=150,
        crash_per_tick=crash_per_tick,
        crash_per_point=crash_per_point,
        pause_per_tick=0.001,
        partition_ms=1_500 if is_parted else 0,
    )


STRAGGLER_MS_MAX: Final = 5_000
CALM_DELAY_MS_MAX: Final = 20
"""Of messages once faults have ended."""
