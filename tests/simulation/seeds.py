"""One seed is one run: the seed alone chooses members, faults, liars and load, and every moment of what follows.

Each kind of fault is on in about half of the seeds, so that rare combinations, and rare absences, meet. Faults end
after some seconds; from then on everything that clients asked of honest members must be executed by all honest
members within `RECOVERY_SLOTS_MAX` slots.
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from itertools import count
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Final

from consensus.clock import CLOCK_SETTLE_MS
from consensus.membership import Membership
from consensus.messages import RELAY_MEMBERS_MAX
from consensus.quorum import fault_bound
from tests.simulation.application import Application
from tests.simulation.faults import COLLECTING, Cut, Faults, Role
from tests.simulation.host import TAU_MS
from tests.simulation.ledger_application import LedgerApplication, simulated_community
from tests.simulation.network import RECOVERY_SLOTS_MAX, START_MS, Network, Observer, seeded_keys
from tests.simulation.opaque import BLOCK_REQUESTS_MAX
from tests.simulation.signing import Key, keyed_hash_keys, keyed_hashes
from tests.support.contracts import Community

MEMBERS_MAX: Final = 13
ED25519_EVERY: Final = 100
"""One seed of so many signs with real keys, and has its messages travel as bytes."""
ED25519_REST: Final = 42
LEDGER_EVERY: Final = 25
"""One seed of so many runs on the production ledger, contracts and mempool, with real keys."""
LEDGER_REST: Final = 7
BEHIND_SHARE: Final = 0.1
"""Of runs in which a member is absent while the others decide much."""
REQUESTS_BEHIND: Final = 100
LARGE_SHARE: Final = 0.02
"""Of runs whose blocks are as large as genesis allows by default."""
LARGE_REQUEST_BYTES: Final = 1024 * 1024 // BLOCK_REQUESTS_MAX
LINKS_MEMBERS_MIN: Final = 4
"""With fewer, every member must hear every other."""
DEAD_LINKS_SHARE: Final = 0.3
"""Of runs in which links are dead for good."""
DISK_ROLES: Final = [Role.BIT_ROT, Role.LOSES_BLOCKS, Role.FORGETS, Role.OLD_SIGN_STATE]
MEMORY_DISK: Final = Path("/dev/shm")


class Kind(Enum):
    """What the hosts of a run execute and sign with."""

    OPAQUE = "opaque"
    """Opaque blocks, keyed hashes."""
    ED25519 = "ed25519"
    """Opaque blocks, real keys, encoded messages."""
    LEDGER = "ledger"
    """The production ledger, real keys, encoded messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a seed chose."""

    seed: int
    members: int
    faults: Faults
    request_ms: tuple[int, ...]
    """When each request is made, after the start; each of an honest member in turn."""
    tick_ms: int
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it."""

    seed: int
    members: int
    kind: str
    violation: str | None
    """Why the run is not safe; None if it is."""
    is_stuck: bool
    heights: int
    events: int
    view_changes: int
    recovery_slots: int
    """From the end of all faults to everything executed."""
    trace: str
    occurred: dict[str, int]
    """What really went wrong, and how often."""


def setup_of(seed: int, members: int | None = None) -> Setup:
    """Returns what a seed chooses; `members` takes the place of its own choice."""
    random = Random(f"setup of seed {seed}")
    chosen = seed % MEMBERS_MAX + 1 if members is None else members
    until_ms = random.randint(16, 40) * TAU_MS
    is_behind = random.random() < BEHIND_SHARE
    return Setup(
        seed=seed,
        members=chosen,
        faults=_faults(random, _kind(seed), chosen, START_MS + until_ms, is_behind=is_behind),
        request_ms=_load(random, until_ms, is_behind=is_behind),
        tick_ms=random.choice((25, 50, 50, 125)),
        kind=_kind(seed),
    )


def _kind(seed: int) -> Kind:
    if seed % LEDGER_EVERY == LEDGER_REST:
        return Kind.LEDGER
    return Kind.ED25519 if seed % ED25519_EVERY == ED25519_REST else Kind.OPAQUE


def _faults(random: Random, kind: Kind, members: int, until_ms: int, *, is_behind: bool) -> Faults:
    def maybe(*values: float) -> float:
        return random.choice(values) if random.random() < 0.5 else 0

    return Faults(
        until_ms=until_ms,
        loss=maybe(0.02, 0.1, 0.3),
        duplication=maybe(0.05, 0.3),
        delay_ms_max=random.choice((5, 20, 50, 100, 300, 700)),
        straggling=maybe(0.01, 0.1),
        crash_per_tick=maybe(0.0005, 0.002, 0.005),
        crash_per_point=maybe(0.002, 0.01, 0.03),
        failing_writes=maybe(0.001, 0.005),
        slow_write_ms_max=int(maybe(20, 200, 2_000)) if random.random() < 0.3 else 0,
        slow_execution_ms_max=int(maybe(50, 500, 2_000)) if random.random() < 0.3 else 0,
        request_size_bytes=LARGE_REQUEST_BYTES if random.random() < LARGE_SHARE else 0,
        pause_per_tick=maybe(0.0005, 0.002),
        clock_jump_per_tick=maybe(0.001, 0.005),
        clock_offset_ms_max=int(maybe(100, 1_000)),
        drift_per_million_max=int(maybe(200, 5_000)),
        absent=min(1, fault_bound(members)) if is_behind else 0,
        partition_ms=int(maybe(120, 400, 1_500, 4_000)),
        cut=random.choice(list(Cut)),
        roles=_roles(random, kind, fault_bound(members), is_behind=is_behind),
        joint_jump_ms=int(maybe(300, 1_000, 3_000)),
        clock_settle_ms=random.choice((500, 2_000, CLOCK_SETTLE_MS)),
        dead_link_share=_dead_link_share(random, members),
    )


def _dead_link_share(random: Random, members: int) -> float:
    is_drawn = LINKS_MEMBERS_MIN <= members <= RELAY_MEMBERS_MAX and random.random() < DEAD_LINKS_SHARE
    return random.choice((0.1, 0.3, 0.5)) if is_drawn else 0.0


def _roles(random: Random, kind: Kind, fault_bound: int, *, is_behind: bool) -> tuple[Role, ...]:
    """Where there are files to damage, or blocks to fetch, those who damage or forge them come more often."""
    roles = (
        [role for role in Role if role not in COLLECTING]
        + (DISK_ROLES * 4 if kind is Kind.LEDGER else [])
        + [Role.FORGING] * 10 * is_behind
    )
    return tuple(random.choices(roles, k=random.randint(0, fault_bound)))


def _load(random: Random, until_ms: int, *, is_behind: bool) -> tuple[int, ...]:
    """Requests now and then, or a backlog of many blocks at once, or both. For someone to fall behind, many."""
    moments = [random.randint(0, until_ms) for _ in range(random.randint(3, 12) + is_behind * REQUESTS_BEHIND)]
    if random.random() < 0.3:
        moments += [random.randint(0, until_ms)] * random.randint(10, 40)
    return tuple(sorted(moments))


def run_seed(seed: int, members: int | None = None, observer: Observer | None = None) -> Outcome:
    """Runs one seed; a violation of safety is an outcome, not an exception."""
    setup = setup_of(seed, members)
    with ExitStack() as stack:
        return run_setup(make_network(setup, stack, observer), setup, kind=setup.kind.value)


def make_network(setup: Setup, stack: ExitStack, observer: Observer | None = None) -> Network:
    """Returns the network of a setup; `stack` holds what must be given up after the run."""
    keys: list[Key]
    application: Callable[[Membership, int], Application] | None = None
    match setup.kind:
        case Kind.OPAQUE:
            keys = [*keyed_hash_keys(setup.members)]
            stack.enter_context(keyed_hashes())
        case Kind.ED25519:
            keys = [*seeded_keys(setup.members)]
        case Kind.LEDGER:
            community = simulated_community(setup.members, TAU_MS)
            keys = [*community.node_keys]
            application = _ledgers(community, stack)
    network = Network(
        setup.members,
        setup.seed,
        setup.faults,
        keys=keys,
        application=application,
        tick_ms=setup.tick_ms,
        is_encoded=setup.kind is not Kind.OPAQUE,
        observer=observer,
    )
    stack.callback(network.close)
    return network


def _ledgers(community: Community, stack: ExitStack) -> Callable[[Membership, int], Application]:
    directory = MEMORY_DISK if MEMORY_DISK.is_dir() else None
    root = Path(stack.enter_context(TemporaryDirectory(prefix="p2pnode-sim-", dir=directory)))
    places = count()
    return lambda _, number: LedgerApplication(root / str(next(places)), community, number)


def run_setup(network: Network, setup: Setup, *, kind: str, check: Callable[[], None] | None = None) -> Outcome:
    """Has a network go through the faults and requests of a setup; `check` judges what came of them."""
    violation: str | None = None
    is_finished = True
    try:
        is_finished = _run(network, setup)
        if check is not None:
            check()
    except Exception as error:  # noqa: BLE001  (whatever breaks in production code is a finding)
        violation = f"{type(error).__name__}: {error}"
    return outcome_of(
        network,
        seed=setup.seed,
        kind=kind,
        violation=violation,
        is_stuck=not is_finished,
        healed_ms=setup.faults.until_ms,
    )


def _run(network: Network, setup: Setup) -> bool:
    for number, moment_ms in enumerate(setup.request_ms):
        network.push(moment_ms, "submit", network.honest[number % len(network.honest)], number)
    faulty_ms = setup.faults.until_ms - network.now_ms
    network.run(lambda: not network.is_faulty, faulty_ms)
    return network.run(network.is_everything_executed, RECOVERY_SLOTS_MAX * TAU_MS)


def outcome_of(
    network: Network, *, seed: int, kind: str, violation: str | None, is_stuck: bool, healed_ms: int
) -> Outcome:
    """Returns what came of a run whose faults ended at a moment."""
    return Outcome(
        seed=seed,
        members=len(network.keys),
        kind=kind,
        violation=violation,
        is_stuck=is_stuck,
        heights=max(network.checker.decided, default=0),
        events=network.sequence,
        view_changes=sum(host.view_changes for host in network.honest),
        recovery_slots=max(0, network.now_ms - healed_ms) // TAU_MS,
        trace=network.trace.hexdigest(),
        occurred=dict(sum((host.application.occurred for host in network.hosts), network.occurred)),
    )


def failed(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Returns the outcomes that are violations or stuck."""
    return [outcome for outcome in outcomes if outcome.violation is not None or outcome.is_stuck]
