"""Homes that join while the chain runs: on the production contracts, ledger and participant, under faults."""

from functools import partial
from pathlib import Path
from random import Random

import pytest

from consensus.identifiers import Height, Slot
from consensus.quorum import fault_bound
from contracts.applicants import Standing
from contracts.panels import PANEL_MAX
from contracts.transactions import SetLeaving
from tests.simulation.faults import Faults, Role, trouble
from tests.simulation.host import TAU_MS, Host
from tests.simulation.joining import Street
from tests.support.joining import request_of

CALM = Faults()
FAULTS_UNTIL_MS = 12_000


def trade_on(street: Street, hosts: list[Host], rounds: int = 2) -> None:
    """Clients of these homes ask for something, and it is executed everywhere."""
    for number in range(rounds * len(hosts)):
        hosts[number % len(hosts)].submit(1_000 * len(street._told) + street.sequence + number)
    street.until(lambda: not any(host.asked for host in hosts))


def is_candidate(street: Street, number: int) -> bool:
    """Says whether the first home knows a newcomer as a candidate."""
    applicant = street.home(street.hosts[0]).applicant(street.newcomers[number].address)
    return applicant is not None and applicant.standing is Standing.CANDIDATE


def join(street: Street, number: int, *, sponsor: int = 0) -> None:
    """A newcomer applies, and is a member in the end."""
    before = len(street.home(street.hosts[sponsor]).members())
    street.request(number, sponsor=sponsor)
    joined = street.hosts[len(street.community.addresses) + number]
    street.until(lambda: street.members_everywhere(before + 1, at=[street.hosts[sponsor], joined]))


@pytest.mark.parametrize("founders", [4, 5])
def test_a_street_grows_to_seven_and_shrinks_again(tmp_path: Path, founders: int) -> None:
    street = Street(tmp_path, founders=founders, newcomers=7 - founders, seed=founders, faults=CALM)
    for number in range(7 - founders):
        join(street, number, sponsor=number)
        trade_on(street, street.hosts[:founders])
    everybody = list(street.hosts)
    street.until(lambda: street.members_everywhere(7))
    trade_on(street, everybody, rounds=1)
    for leaver in everybody[:3]:
        street.leave(leaver)
    staying = everybody[3:]
    street.until(lambda: street.members_everywhere(4, at=staying))
    trade_on(street, staying)
    street.close()


@pytest.mark.parametrize("seed", range(2))
def test_a_home_is_verified_by_a_panel_that_is_drawn(tmp_path: Path, seed: int) -> None:
    """Of twelve founders ten are drawn, with no other work than their draw; two keep silent, as leaders too."""
    faults = Faults(loss=0.02 * seed, delay_ms_max=50)
    roles = {3: Role.SILENT, 4: Role.SILENT} if seed else {}
    street = Street(tmp_path, founders=12, newcomers=1, seed=seed, faults=faults, roles=roles)
    join(street, 0)
    ledger = street.home(street.hosts[0]).ledger
    applicant = street.home(street.hosts[0]).applicant(street.newcomers[0].address)
    assert applicant is not None
    assert len(applicant.panel) == PANEL_MAX
    headers = [ledger.decided_block(Height(height)).header for height in range(1, ledger.height + 1)]
    proven = [header for header in headers if header.vrf_proof]
    assert len({header.leader for header in proven}) >= fault_bound(12) + 1
    assert len({header.slot for header in proven}) == len(proven), "the first block of a slot, and no other"
    street.close()


def test_who_proves_an_output_of_its_choice_leads_in_vain(tmp_path: Path) -> None:
    """Of twelve, three do, every third: one of them leads while four leaders are waited for."""
    street = Street(tmp_path, founders=12, newcomers=1, seed=1, faults=CALM)
    liars = [street.hosts[number] for number in (2, 5, 8)]
    asked: list[Slot] = []

    def prove_something_else(liar: Host, statement: bytes) -> bytes:
        asked.append(street.home(liar).tip_slot)
        return liar.key.prove(b"tried until it suits" + statement)

    for liar in liars:
        street.home(liar)._prove = partial(prove_something_else, liar)
    join(street, 0)
    ledger = street.home(street.hosts[0]).ledger
    headers = [ledger.decided_block(Height(height)).header for height in range(1, ledger.height + 1)]
    assert asked, "a liar led while a proof was asked for"
    assert {header.leader for header in headers if header.vrf_proof}.isdisjoint(liar.key.address for liar in liars)
    street.close()


@pytest.mark.parametrize("seed", [10, 55])
def test_homes_come_and_go_at_once_in_a_network_in_trouble(tmp_path: Path, seed: int) -> None:
    """A founder leaves while homes join, and the first that joined leaves again; anybody crashes at any time. Seeds
    that once failed; `p2pnode-sim changes` draws others.
    """
    random, founders, newcomers = Random(seed), 5, 3
    faults = trouble(FAULTS_UNTIL_MS, is_parted=bool(seed % 2), crash_per_tick=0.003, crash_per_point=0.002)
    street = Street(tmp_path, founders=founders, newcomers=newcomers, seed=seed, faults=faults)
    leaver, again = street.hosts[seed % founders], street.hosts[founders]
    sponsors = [host for host in street.hosts[:founders] if host is not leaver]
    for number in range(newcomers):
        moment_ms = random.randrange(FAULTS_UNTIL_MS // 2)
        request = request_of(street.community, street.newcomers[number])
        street.say_after(moment_ms, sponsors[number], request)
    street.say_after(random.randrange(FAULTS_UNTIL_MS), leaver, SetLeaving(leaving=True))
    street.until(lambda: any(host.is_up and again.key.address in street.home(host).members() for host in sponsors))
    street.leave(again)
    street.until(lambda: street.now_ms > FAULTS_UNTIL_MS)
    staying = [host for host in street.hosts if host not in (leaver, again)]
    expected = {host.key.address for host in staying}
    street.until(lambda: all(host.is_up for host in street.hosts))
    street.until(
        lambda: (
            street.members_everywhere(len(expected), at=staying)
            and all(set(street.home(host).members()) == expected for host in staying)
        )
    )
    trade_on(street, staying, rounds=1)
    street.close()


def test_a_candidate_that_never_comes_stops_nobody(tmp_path: Path) -> None:
    """Four, of whom one is dead, and a candidate that never says a word: three go on deciding."""
    street = Street(tmp_path, founders=4, newcomers=1, seed=1, faults=CALM, silent=frozenset({0}))
    first = street.home(street.hosts[0])
    street.request(0, sponsor=0)
    street.until(
        lambda: getattr(first.applicant(street.newcomers[0].address), "standing", None) is Standing.CANDIDATE
    )
    for host in (street.hosts[3], street.hosts[4]):
        host.crash(absent_ms=10**9)
    trade_on(street, street.hosts[:3], rounds=4)
    assert len(first.members()) == 4
    street.close()


def test_one_that_says_it_is_ready_and_dies_at_once_is_an_ordinary_crash(tmp_path: Path) -> None:
    street = Street(tmp_path, founders=4, newcomers=1, seed=2, faults=CALM)
    first, joined = street.home(street.hosts[0]), street.hosts[4]
    street.request(0, sponsor=0)
    street.until(lambda: len(first.members()) == 5)
    joined.crash(absent_ms=10**9)
    trade_on(street, street.hosts[:4], rounds=4)
    assert len(street.membership_of(street.hosts[0])) == 5
    street.push(0, "start", joined, None)
    street.until(lambda: joined.is_up and street.members_everywhere(5))
    trade_on(street, street.hosts)
    street.close()


def test_a_ready_that_finds_too_few_waits_until_they_are_back(tmp_path: Path) -> None:
    """Two of four are dead: nothing is decided. With three, four of five are there, and the home joins."""
    street = Street(tmp_path, founders=4, newcomers=1, seed=3, faults=CALM)
    first, joined = street.home(street.hosts[0]), street.hosts[4]
    street.request(0, sponsor=0)
    street.until(
        lambda: getattr(first.applicant(street.newcomers[0].address), "standing", None) is Standing.CANDIDATE
    )
    for host in street.hosts[2:4]:
        host.crash(absent_ms=10**9)
    street.run(lambda: street.act() is not None, 40 * TAU_MS)
    assert len(first.members()) == 4
    street.push(0, "start", street.hosts[2], None)
    street.until(lambda: street.members_everywhere(5, at=[street.hosts[0], joined]))
    trade_on(street, [*street.hosts[:3], joined])
    street.close()
