"""Members that come and go by chance: one seed is one run, on the production contracts, ledger and participant.

The seed alone chooses who founds, joins and leaves, when they say so, what goes wrong and who lies. Faults end after
some seconds; from then on every change that was asked for must come into force with all honest homes, and what
clients ask for after it must be executed by all of them, within `RECOVERY_SLOTS_MAX` slots.

What the rules do not promise is not drawn: fewer honest verifiers than an application needs, more liars than F of the
fewest members that there will be, fewer members than genesis allows. A renewal that is asked for in time comes too
late where the chain stands meanwhile: such a home neither verifies nor brings applications, and is gone then like who
left. Of those that go the last ones stay where fewer than genesis' `members_min` would be left.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Final

from msgspec.structs import replace

from consensus.identifiers import FIRST_HEIGHT, Address
from consensus.quorum import fault_bound
from contracts.panels import verdicts_needed
from contracts.state import MEMBER_LIST_KEY, MemberList, validity_key
from contracts.state_reading import require
from contracts.transactions import SetLeaving
from contracts.validity_records import Validity
from ledger.ledger import Ledger
from tests.simulation.attendance import check_attendance
from tests.simulation.faults import Cut, Faults, Role
from tests.simulation.host import TAU_MS, Host
from tests.simulation.joining import Street
from tests.simulation.ledger_application import simulated_community
from tests.simulation.network import RECOVERY_SLOTS_MAX, START_MS
from tests.simulation.occurrences import ATTENDED, JOINED, KEPT, LEFT, RAN_OUT, RENEWED, TOO_LATE
from tests.simulation.seeds import MEMORY_DISK, Outcome, outcome_of
from tests.support.contracts import Community
from tests.support.validity import renewal, time_of, with_ends

KIND: Final = "changes"
"""Of outcomes."""
FOUNDERS: Final = (4, 4, 5, 5, 6, 7)
NEWCOMERS_MAX: Final = 3
MEMBERS_MIN: Final = 4
WAIT_SLOTS: Final = 1
"""The grace is as many as `GRACE_WAITS`, so that it ends in a run."""
EXPIRING_SHARE: Final = 0.4
RENEWING_SHARE: Final = 0.2
"""Of founders that stay; fewer where the others are too few to verify who joins."""
RENEWED_UNTIL_SLOT: Final = 2**32
NUDGES_FROM: Final = 10_000
"""Their numbers, among those of requests."""
NUDGE_SLOTS: Final = 8
"""What is due by time alone comes with the next block: something is asked for once in so many slots."""
REQUESTS: Final = 8
"""Of clients, while members come and go."""
ROLES: Final = (
    Role.SILENT,
    Role.EQUIVOCATING,
    Role.WITHHOLDING,
    Role.LATE,
    Role.FAR_FUTURE,
    Role.STALE,
    Role.FORGING,
    Role.FORGETS,
    Role.LOSES_BLOCKS,
    Role.OLD_SIGN_STATE,
)
"""Who may be found out to be a liar, or lose what it had, and stays a member."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a seed chose."""

    seed: int
    founders: int
    newcomers: int
    roles: dict[int, Role]
    """Of founders that stay, by number."""
    early: tuple[int, ...]
    """Founders that go at any time, beside homes that join."""
    expiring: tuple[int, ...]
    """Of these, who does not leave: its certificate runs out."""
    renewing: tuple[int, ...]
    """Founders whose certificates run out, too, and that ask to be renewed: in time, or too late."""
    late: tuple[int, ...]
    """Homes, by number, that leave once all have joined."""
    faults: Faults


def plan_of(seed: int) -> Plan:
    """Returns what a seed chooses."""
    random = Random(f"changes of seed {seed}")
    founders, newcomers = random.choice(FOUNDERS), random.randint(1, NEWCOMERS_MAX)
    spare = founders - verdicts_needed(founders)
    early = random.randint(0, min(spare, founders - MEMBERS_MIN))
    late = random.randint(0, founders + newcomers - early - MEMBERS_MIN)
    fewest = min(founders - early, founders + newcomers - early - late)
    liars = random.randint(0, min(spare - early, fault_bound(fewest)))
    numbers = random.sample(range(founders), founders)
    ends = Random(f"certificates of seed {seed}")
    lying, leaving, staying = numbers[:liars], numbers[liars : liars + early], numbers[liars + early :]
    roles = {number: random.choice(ROLES) for number in lying}
    going_late = random.sample([*staying, *range(founders, founders + newcomers)], late)
    expiring = tuple(number for number in leaving if ends.random() < EXPIRING_SHARE)
    renewing = [number for number in staying if ends.random() < RENEWING_SHARE]
    while renewing and not _can_do_without(renewing, staying, going_late, founders=founders):
        renewing.pop()
    return Plan(
        seed=seed,
        founders=founders,
        newcomers=newcomers,
        roles=roles,
        early=tuple(leaving),
        expiring=expiring,
        renewing=tuple(renewing),
        late=tuple(going_late),
        faults=_faults(random),
    )


def _can_do_without(renewing: list[int], staying: list[int], late: list[int], *, founders: int) -> bool:
    """Says whether the other founders are enough to verify who joins, whoever of them leaves, and one of them is
    there for all of the run, or at least until all have joined where no founder stays.
    """
    there = [number for number in staying if number not in late] or staying
    steady = {*staying} - {*renewing}
    return len(steady) >= verdicts_needed(founders - len(renewing)) and not steady.isdisjoint(there)


def _faults(random: Random) -> Faults:
    def maybe(*values: float) -> float:
        return random.choice(values) if random.random() < 0.5 else 0

    return Faults(
        until_ms=START_MS + random.randint(16, 40) * TAU_MS,
        loss=maybe(0.02, 0.1, 0.3),
        duplication=maybe(0.05, 0.3),
        delay_ms_max=random.choice((5, 20, 50, 100, 300)),
        straggling=maybe(0.01, 0.1),
        crash_per_tick=maybe(0.0005, 0.002, 0.005),
        crash_per_point=maybe(0.002, 0.01),
        slow_write_ms_max=int(maybe(20, 200)) if random.random() < 0.3 else 0,
        pause_per_tick=maybe(0.0005, 0.002),
        clock_jump_per_tick=maybe(0.001, 0.005),
        clock_offset_ms_max=int(maybe(100, 1_000)),
        partition_ms=int(maybe(120, 400, 1_500)),
        cut=random.choice(list(Cut)),
    )


def _community_of(plan: Plan) -> Community:
    """Returns founders whose certificates end as planned, at moments within the faults."""
    random, made = Random(f"ends of seed {plan.seed}"), simulated_community(plan.founders, TAU_MS)
    verifiers = (key.public_key for number, key in enumerate(made.node_keys) if number not in plan.renewing)
    rules = replace(made.genesis.membership, removal_wait_slots=WAIT_SLOTS, verifier_keys=tuple(verifiers))
    first, last = START_MS // TAU_MS, plan.faults.until_ms // TAU_MS
    ends = {number: random.randint(first, last) for number in (*plan.expiring, *plan.renewing)}
    return with_ends(made, ends, membership=rules)


class Changing:
    """A street whose homes do what a plan says."""

    def __init__(self, directory: Path, plan: Plan) -> None:
        self.plan = plan
        founding = _community_of(plan)
        self.street = Street(
            directory,
            founders=plan.founders,
            newcomers=plan.newcomers,
            seed=plan.seed,
            faults=plan.faults,
            roles=plan.roles,
            community=founding,
        )
        self._random = Random(f"course of seed {plan.seed}")
        hosts = self.street.hosts
        self._joining = {host.key.address for host in hosts[plan.founders :]}
        self._applying: dict[int, tuple[int, Host]] = {}
        """When each newcomer applies, and who brings its application."""
        self._leaving_late = [hosts[number] for number in plan.late]
        going = {hosts[number] for number in (*plan.early, *plan.late)}
        self._renewing = {hosts[number].key.address for number in plan.renewing if number not in plan.late}
        self._staying = [
            host for host in self.street.honest if host not in going and host.key.address not in self._renewing
        ]
        self._going = {host.key.address for host in going}
        self._homes = {host.key.address for host in hosts}
        self._nudges = count(NUDGES_FROM)
        self._nudged_ms = 0

    def run(self) -> bool:
        """Says whether every change came into force, and whether the chain goes on with who is there then."""
        plan, street = self.plan, self.street
        faulty_ms = plan.faults.until_ms - START_MS
        clients = [host for host in self._staying if host.index < plan.founders]
        no_sponsors = {*plan.early, *plan.renewing}
        sponsors = [
            host for host in street.hosts[: plan.founders] if host.role is None and host.index not in no_sponsors
        ]
        for number in range(plan.newcomers):
            self._applying[number] = (START_MS + self._random.randrange(faulty_ms), self._random.choice(sponsors))
        for number in plan.renewing:
            renewed = renewal(street.community, number, RENEWED_UNTIL_SLOT)
            street.say_after(self._random.randrange(faulty_ms), street.hosts[number], renewed)
        for number in set(plan.early) - set(plan.expiring):
            street.say_after(self._random.randrange(faulty_ms), street.hosts[number], SetLeaving(leaving=True))
        for number in range(REQUESTS if clients else 0):
            street.push(self._random.randrange(faulty_ms), "submit", self._random.choice(clients), number)
        return (
            self._until(lambda: not street.is_faulty)
            and self._until(lambda: not self._leaving_late and self._is_in_force())
            and self._is_going_on()
        )

    def _until(self, holds: Callable[[], bool]) -> bool:
        def acting() -> bool:
            self.street.act()
            self._apply()
            self._leave_late()
            self._nudge()
            return holds()

        return self.street.run(acting, RECOVERY_SLOTS_MAX * TAU_MS)

    def _apply(self) -> None:
        """A member that brought another application meanwhile is asked again when that one is over."""
        for number, (moment_ms, sponsor) in [*self._applying.items()]:
            if self.street.now_ms < moment_ms or not sponsor.is_up or sponsor.asked:
                continue
            if self.street.home(sponsor).applicant(self.street.newcomers[number].address) is None:
                self.street.request(number, sponsor=sponsor.index)
            else:
                del self._applying[number]

    def _leave_late(self) -> None:
        """Who is to leave once all have joined says so when its state says that they have; some may be gone again."""
        for host in [*self._leaving_late]:
            if host.is_up and self._joining <= self._ever_members(host):
                self._leaving_late.remove(host)
                self.street.leave(host)

    def _nudge(self) -> None:
        """Has somebody ask for something while a certificate is to run out."""
        if not self.plan.expiring or self.street.now_ms < self._nudged_ms + NUDGE_SLOTS * TAU_MS:
            return
        host = next((one for one in self._staying if one.is_up and not one.asked and self._is_member(one)), None)
        if host is not None and not self._knows_all_changes(host):
            self._nudged_ms = self.street.now_ms
            host.submit(next(self._nudges))

    def _is_member(self, host: Host) -> bool:
        return host.key.address in self.street.home(host).members()

    def _ever_members(self, host: Host) -> set[Address]:
        terms = require(self.street.home(host).ledger, MEMBER_LIST_KEY, MemberList).terms
        return {term.address for term in terms}

    def _is_in_force(self) -> bool:
        return all(host.is_up and self._knows_all_changes(host) for host in self._staying)

    def _knows_all_changes(self, host: Host) -> bool:
        home = self.street.home(host)
        both = home.memberships()
        going = self._going | self._too_late(home.ledger)
        staying = self._homes - going
        members = {*home.members()}
        return (
            staying <= members
            and len(members) == max(MEMBERS_MIN, len(staying))
            and all({*addresses} == members for addresses in (both.undecided.addresses, both.following.addresses))
        )

    def _too_late(self, ledger: Ledger) -> set[Address]:
        """Returns who was not renewed: it is gone, or is to go, or stays while genesis wants so many."""
        return {address for address in self._renewing if not self._is_renewed(ledger, address)}

    def _is_renewed(self, ledger: Ledger, address: Address) -> bool:
        until_ms = require(ledger, validity_key(address), Validity).until_ms
        return until_ms == time_of(ledger.genesis, RENEWED_UNTIL_SLOT)

    def _is_going_on(self) -> bool:
        for host in self._staying:
            host.submit(REQUESTS + 2 * host.index)
        return self._until(lambda: not any(host.asked for host in self._staying))

    def count(self) -> None:
        """Counts the changes that came into force, by the list of a home that stays."""
        terms = require(self.street.home(self._staying[0]).ledger, MEMBER_LIST_KEY, MemberList).terms
        occurred = self.street.occurred
        occurred[JOINED] += sum(term.first_height > FIRST_HEIGHT for term in terms)
        occurred[LEFT] += sum(term.last_height is not None for term in terms)
        ledger = self.street.home(self._staying[0]).ledger
        gone = {term.address for term in terms if term.last_height is not None}
        hosts, too_late = self.street.hosts, self._too_late(ledger)
        occurred[RENEWED] += len(self._renewing - too_late)
        occurred[TOO_LATE] += len(too_late & gone)
        occurred[RAN_OUT] += sum(hosts[number].key.address in gone for number in self.plan.expiring)
        occurred[KEPT] += len(self._going - gone)
        occurred[ATTENDED] += check_attendance(self.street.home(self._staying[0]).ledger)


def run_changes(seed: int) -> Outcome:
    """Runs one seed; a violation of safety is an outcome, not an exception."""
    return run_plan(plan_of(seed))


def run_plan(plan: Plan) -> Outcome:
    """Runs what a seed chose, as `run_changes`."""
    with TemporaryDirectory(prefix="p2pnode-sim-", dir=MEMORY_DISK if MEMORY_DISK.is_dir() else None) as directory:
        changing = Changing(Path(directory), plan)
        violation: str | None = None
        is_finished = True
        try:
            is_finished = changing.run()
            changing.count()
        except Exception as error:  # noqa: BLE001  (whatever breaks in production code is a finding)
            violation = f"{type(error).__name__}: {error}"
        finally:
            changing.street.close()
        return outcome_of(
            changing.street,
            seed=plan.seed,
            kind=KIND,
            violation=violation,
            is_stuck=not is_finished,
            healed_ms=plan.faults.until_ms,
        )
