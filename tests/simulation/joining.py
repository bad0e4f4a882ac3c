"""Homes that join a simulated network: founders with a genesis of their own, newcomers with nothing but its file.

Who has no link sends nothing: two homes are linked while the state of each gives the other's key to a member, a
candidate or one that left lately, as the mesh has it. Verifiers and candidates do by themselves what nodes do.
"""

from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from consensus.identifiers import Address
from consensus.membership import Membership
from contracts.applicants import Applicant, Standing, Verdict
from contracts.joining import read_unfinished, should_say_ready
from contracts.state import MEMBER_LIST_KEY, MemberList, Overlay, applicant_key
from contracts.state_reading import read, require
from contracts.transactions import Action, GiveVerdict, SayReady, SetLeaving
from tests.simulation.faults import Faults, Role
from tests.simulation.host import TAU_MS, Host
from tests.simulation.ledger_application import LedgerApplication, simulated_community
from tests.simulation.network import RECOVERY_SLOTS_MAX, Network, Payload
from tests.support.contracts import Community
from tests.support.joining import Newcomer, newcomer, request_of

PLANNED_FROM = 1_000_000
"""Numbers of requests that say something in particular."""


class Home(LedgerApplication):
    """A founder or a newcomer."""

    def __init__(self, directory: Path, community: Community, number: int, newcomers: tuple[Newcomer, ...]) -> None:
        founders = len(community.addresses)
        key = None if number < founders else newcomers[number - founders].node_key
        self.planned: dict[int, Action] = {}
        super().__init__(directory, community, number, key=key)

    def new_request(self, number: int) -> bytes:
        """What was planned, else what clients ask for; those of a newcomer do not read its meter."""
        if number in self.planned:
            return self._signed(self.planned[number])
        return super().new_request(number if self._number < len(self._community.addresses) else 2 * number)

    def applicant(self, address: Address) -> Applicant | None:
        return read(self.ledger, applicant_key(address), Applicant)

    def members(self) -> tuple[Address, ...]:
        """The newest list, as this home knows it."""
        return require(self.ledger, MEMBER_LIST_KEY, MemberList).addresses


class Street(Network):
    """Founders, and newcomers that join one after the other."""

    def __init__(
        self,
        directory: Path,
        *,
        founders: int,
        newcomers: int,
        seed: int,
        faults: Faults,
        roles: Mapping[int, Role] | None = None,
        silent: frozenset[int] = frozenset(),
        community: Community | None = None,
    ) -> None:
        """Starts all homes.

        Args:
            directory: for their ledgers.
            founders: how many.
            newcomers: how many may join.
            seed: of all randomness.
            faults: what goes wrong.
            roles: of founders, by number.
            silent: newcomers, by number among themselves, that never say that they are ready.
            community: the founders, where it is not `simulated_community`.
        """
        self.community = community or simulated_community(founders, TAU_MS)
        self.newcomers = tuple(newcomer(number) for number in range(newcomers))
        self.silent = silent
        self._numbers = count(PLANNED_FROM)
        self._told: set[tuple[Address, Address, int]] = set()
        self._ready_height: dict[Address, int] = {}
        super().__init__(
            founders + newcomers,
            seed,
            faults,
            keys=(*self.community.node_keys, *(home.node_key for home in self.newcomers)),
            application=lambda _, number: Home(directory / str(number), self.community, number, self.newcomers),
            roles=roles or {},
            is_encoded=True,
        )

    # --- links --------------------------------------------------------------------------------------------------

    def are_linked(self, one: Host, other: Host) -> bool:
        return all(
            self.home(first).memberships().hears(second.key.address) or first.key.address == second.key.address
            for first, second in ((one, other), (other, one))
        )

    def is_cut_off(self, sender: Host, recipient: Host, payload: Payload) -> bool:
        return super().is_cut_off(sender, recipient, payload) or not self.are_linked(sender, recipient)

    def connected(self, host: Host) -> frozenset[Address]:
        up = super().connected(host)
        return frozenset(
            other.key.address for other in self.hosts if other.key.address in up and self.are_linked(host, other)
        )

    def home(self, host: Host) -> Any:
        return host.application

    # --- what homes do --------------------------------------------------------------------------------------------

    def say(self, host: Host, action: Action) -> None:
        host.submit(self._planned(host, action))

    def say_after(self, delay_ms: int, host: Host, action: Action) -> None:
        self.push(delay_ms, "submit", host, self._planned(host, action))

    def _planned(self, host: Host, action: Action) -> int:
        number = next(self._numbers)
        self.home(host).planned[number] = action
        return number

    def request(self, number: int, *, sponsor: int, application: int = 1) -> None:
        """A founder brings the application of a newcomer."""
        action = request_of(self.community, self.newcomers[number], number=application)
        self.say(self.hosts[sponsor], action)

    def leave(self, host: Host) -> None:
        self.say(host, SetLeaving(leaving=True))

    def act(self) -> None:
        """Verifiers say what they find, and candidates that they are ready."""
        for host in self.honest:
            if host.is_up and not host.asked:
                self._verify(host)
            if host.is_up and not host.asked:  # saying something, it may have died
                self._say_ready(host)

    def _verify(self, host: Host) -> None:
        own = host.key.address
        for address, applicant in read_unfinished(Overlay(self.home(host).ledger)):
            step = (own, address, applicant.number)
            if applicant.standing is Standing.OPEN and own in applicant.panel and step not in self._told:
                self._told.add(step)
                self.say(host, GiveVerdict(applicant=address, number=applicant.number, verdict=Verdict.ACCEPT))

    def _say_ready(self, host: Host) -> None:
        ledger, own = self.home(host).ledger, host.key.address
        if host.index - len(self.community.addresses) in self.silent or host.participant.sync.progress() is not None:
            return
        if self._ready_height.get(own) == ledger.height:
            return
        if should_say_ready(Overlay(ledger), own, slot=ledger.tip_slot, genesis=ledger.genesis):
            self._ready_height[own] = ledger.height
            self.say(host, SayReady(height=ledger.height, block=ledger.tip))

    # --- what tests ask for -----------------------------------------------------------------------------------------

    def until(self, holds: Callable[[], bool], *, slots: int = RECOVERY_SLOTS_MAX) -> None:
        """Runs, everybody acting, until something holds.

        Raises:
            AssertionError: it did not in so many slots.
        """

        def acting() -> bool:
            self.act()
            return holds()

        assert self.run(acting, slots * TAU_MS), f"stuck at {[self.home(host).ledger.height for host in self.hosts]}"

    def members_everywhere(self, expected: int, *, at: list[Host] | None = None) -> bool:
        """Says whether all honest homes that count know a list of so many, in force."""
        looked = [host for host in (at or self.honest) if host.is_up]
        memberships = [self.home(host).memberships() for host in looked]
        return all(
            len(both.undecided) == len(both.following) == expected and len(self.home(host).members()) == expected
            for host, both in zip(looked, memberships, strict=True)
        )

    def membership_of(self, host: Host) -> Membership:
        return self.home(host).memberships().undecided  # type: ignore[no-any-return]
