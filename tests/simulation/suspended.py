"""Members that are suspended lead nothing: what liars make of that, and what it costs the others.

Who is suspended is fixed for a run. A liar holds nobody to be suspended: it leads its slots if it is, and asks for
slots that nobody leads. What honest members send is watched.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from random import Random
from statistics import median

from consensus.events import BlockOrigin
from consensus.identifiers import Address, Height
from consensus.membership import Leaders, Membership
from consensus.messages import PrePrepare, ViewChange
from consensus.quorum import fault_bound, quorum
from tests.simulation.application import Application
from tests.simulation.faults import BYZANTINE, Faults, Role
from tests.simulation.host import TAU_MS, Host
from tests.simulation.network import RECOVERY_SLOTS_MAX, TICK_MS, Network, Payload
from tests.simulation.occurrences import ASKED, PROPOSED
from tests.simulation.opaque import OpaqueApplication, read_block
from tests.simulation.seeds import Kind, Outcome, run_setup, setup_of
from tests.simulation.signing import keyed_hash_keys, keyed_hashes

MEMBERS = range(4, 11)


class Watched(OpaqueApplication):
    """Of an honest member: no block reaches it whose leader may not lead."""

    def check(self, proposal: bytes) -> BlockOrigin | None:
        assert read_block(proposal)[2] not in self.memberships().leaders.passing, "executed for who may not lead"
        return super().check(proposal)


class Street(Network):
    """Members of which some are suspended."""

    def __init__(
        self,
        members: int,
        seed: int,
        faults: Faults,
        *,
        suspended: Collection[int],
        roles: Mapping[int, Role],
        tick_ms: int = TICK_MS,
    ) -> None:
        self.suspended = frozenset(suspended)
        self.liars = {number for number, role in roles.items() if role in BYZANTINE}
        super().__init__(
            members,
            seed,
            faults,
            keys=keyed_hash_keys(members),
            application=self._application,
            roles=roles,
            tick_ms=tick_ms,
        )

    def _application(self, membership: Membership, number: int) -> Application:
        own = membership.addresses[number]
        if number in self.liars:
            return OpaqueApplication(membership, own)
        application = Watched(membership, own)
        application.suspended = self._addresses(membership)
        return application

    def _addresses(self, membership: Membership) -> frozenset[Address]:
        return frozenset(membership.addresses[number] for number in self.suspended)

    @property
    def leaders(self) -> Leaders:
        return Leaders(self.membership, self._addresses(self.membership))

    def send(self, host: Host, recipient: Address, payload: Payload) -> None:
        """Whoever is honest proposes in no slot that passes unused, passes no such proposal on, and asks for none."""
        if isinstance(payload, PrePrepare | ViewChange) and self.leaders.at(payload.slot) is None:
            self.occurred[PROPOSED if isinstance(payload, PrePrepare) else ASKED] += 1
            is_passed_on = isinstance(payload, ViewChange) and payload.signer != host.key.address
            assert host.liar is not None or is_passed_on, f"an honest {type(payload).__name__} for such a slot"
        super().send(host, recipient, payload)

    def check_leaders(self) -> None:
        """No decided block was led by a member whose slots pass unused."""
        application = self.honest[0].application
        for height in range(1, application.height + 1):
            _, slot, led_by, _ = read_block(application.decided(Height(height)).proposal)
            assert led_by == self.leaders.at(slot), f"height {height} was led by who may not lead"


def run_suspended(seed: int) -> Outcome:
    """Runs the faults of a seed in a street of four to ten, of whom one, or more, or one more than a quorum can spare
    are suspended. In half of the seeds the liars are among them.
    """
    random = Random(f"suspended of seed {seed}")
    members = MEMBERS[seed % len(MEMBERS)]
    setup = replace(setup_of(seed, members), kind=Kind.OPAQUE)
    numbers = random.sample(range(members), members)
    suspended = numbers[: random.randint(1, members - quorum(members) + 1)]
    if random.random() < 0.5:
        random.shuffle(numbers)
    roles = dict(zip(numbers[: fault_bound(members)], setup.faults.roles, strict=False))
    with keyed_hashes():
        network = Street(members, seed, setup.faults, suspended=suspended, roles=roles, tick_ms=setup.tick_ms)
        return run_setup(network, setup, kind="suspended", check=network.check_leaders)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waited:
    """How long single requests took where nothing goes wrong, in slots."""

    median: float
    mean: float
    worst: float
    view_changes: int
    """Of all members, in all of it."""


def wait(members: int, suspended: Collection[int], *, requests: int = 200, seed: int = 1) -> Waited:
    """Has one request after the other executed by all, each asked for at a drawn moment."""
    random = Random(f"moments of {seed}")
    waited: list[float] = []
    with keyed_hashes():
        network = Street(members, seed, Faults(), suspended=suspended, roles={})
        for number in range(requests):
            network.run(lambda: False, random.randint(0, members * TAU_MS))
            asked_ms = network.now_ms
            network.hosts[number % members].submit(number)
            assert network.run(network.is_everything_executed, RECOVERY_SLOTS_MAX * TAU_MS), "stuck"
            waited.append((network.now_ms - asked_ms) / TAU_MS)
        network.check_leaders()
    return Waited(
        median=round(median(waited), 2),
        mean=round(sum(waited) / len(waited), 2),
        worst=round(max(waited), 2),
        view_changes=sum(host.view_changes for host in network.hosts),
    )
