"""The meter signs each hour once and keeps its salts; hours open by attendance; the pace is kept."""

import pytest

from consensus.codec import encode
from consensus.cryptography import verify
from consensus.identifiers import Address
from contracts.receipts import Reason
from contracts.transactions import PublishReading, gross_commitment
from contracts.units import WattHours
from node.home.append_log import AppendLogError
from node.household.attendance import Attendance
from node.household.interval import IntervalView
from node.meter.meter import Meter, MeterIdentity, measured_hours
from node.meter.readings_file import SHIPPED_READINGS, read_readings
from tests.support.contracts import make_genesis
from tests.unit.node.household.market_simulation import Faults, MemoryJournal, Simulation, gross, hour_start

COMMUNITY = make_genesis(4)
HOME, NEIGHBOUR, SILENT = COMMUNITY.addresses[:3]
GRACE_MS = 1_000


def make_meter(journal: MemoryJournal, nets: tuple[int, ...] = (250, -40, 0)) -> Meter:
    return Meter(
        identity=MeterIdentity(key=COMMUNITY.meter_keys[0], member=HOME, chain=COMMUNITY.chain),
        hours={hour_start(hour): gross(net) for hour, net in enumerate(nets)},
        salts=journal,
    )


class TestMeter:
    def test_a_reading_is_signed_by_the_meter_key_and_commits_to_the_gross_values(self) -> None:
        journal = MemoryJournal()
        meter = make_meter(journal)
        signed = meter.sign(hour_start(0))
        meter.sync()
        assert verify(COMMUNITY.meter_keys[0].public_key, encode(signed.reading), signed.meter_signature)
        (entry,) = journal.entries
        opened = gross_commitment(
            bytes.fromhex(entry["salt"]), WattHours(entry["consumption_wh"]), WattHours(entry["generation_wh"])
        )
        assert signed.reading.gross_commitment == opened
        assert (entry["consumption_wh"], entry["generation_wh"]) == (100, 350)
        assert len(bytes.fromhex(entry["salt"])) == 32

    @pytest.mark.parametrize(("hour", "net_wh", "source"), [(0, 250, "solar"), (1, -40, "grid"), (2, 0, "grid")])
    def test_net_and_source(self, hour: int, net_wh: int, source: str) -> None:
        reading = make_meter(MemoryJournal()).sign(hour_start(hour)).reading
        assert (reading.net_wh, reading.source, reading.interval_start_ms) == (net_wh, source, hour_start(hour))

    def test_salts_differ_between_hours_and_stay_when_an_hour_is_signed_again_after_a_restart(self) -> None:
        journal = MemoryJournal()
        meter = make_meter(journal)
        first, second = meter.sign(hour_start(0)), meter.sign(hour_start(1))
        assert meter.sign(hour_start(0)) == first
        meter.sync()
        assert journal.entries[0]["salt"] != journal.entries[1]["salt"]
        again = make_meter(journal)
        assert (again.sign(hour_start(0)), again.sign(hour_start(1))) == (first, second)
        again.sync()
        assert len(journal.entries) == 2

    def test_a_foreign_journal_is_refused(self) -> None:
        journal = MemoryJournal()
        journal.replace([{"raw": "00"}])
        with pytest.raises(AppendLogError, match="journal of salts"):
            make_meter(journal)

    @pytest.mark.parametrize(("hours", "expected"), [(0, 1_344), (1, 1), (48, 48)])
    def test_the_first_hours_of_a_file(self, hours: int, expected: int) -> None:
        readings = read_readings(SHIPPED_READINGS)
        measured = measured_hours(readings, readings.households[2], hours)
        assert len(measured) == expected
        assert tuple(measured) == readings.hours_start_ms[:expected]
        assert tuple(measured.values()) == readings.by_household[readings.households[2]][:expected]


def view(hour: int, *meters: Address) -> IntervalView:
    return IntervalView(
        start_ms=hour_start(hour), meters=frozenset(meters), closed=False, open_wh=WattHours(0), supplies=()
    )


class TestAttendance:
    MEMBERS = (HOME, NEIGHBOUR, SILENT)

    def test_an_hour_opens_when_every_member_has_measured(self) -> None:
        attendance = Attendance(grace_ms=GRACE_MS)
        assert not attendance.is_open(view(0, HOME, NEIGHBOUR), self.MEMBERS, 0)
        assert attendance.is_open(view(0, *self.MEMBERS), self.MEMBERS, 1)

    def test_an_hour_opens_without_a_member_exactly_when_the_grace_period_is_over(self) -> None:
        attendance = Attendance(grace_ms=GRACE_MS)
        assert not attendance.is_open(view(0, HOME), self.MEMBERS, 5)
        assert not attendance.is_open(view(0, HOME), self.MEMBERS, 5 + GRACE_MS - 1)
        assert attendance.is_open(view(0, HOME), self.MEMBERS, 5 + GRACE_MS)

    def test_who_missed_an_hour_is_not_waited_for_in_later_ones(self) -> None:
        attendance = Attendance(grace_ms=GRACE_MS)
        attendance.is_open(view(0, HOME, NEIGHBOUR), self.MEMBERS, 0)
        assert attendance.is_open(view(0, HOME, NEIGHBOUR), self.MEMBERS, GRACE_MS)
        assert attendance.is_open(view(1, HOME, NEIGHBOUR), self.MEMBERS, GRACE_MS)
        assert not attendance.is_open(view(2, HOME), self.MEMBERS, GRACE_MS), "the neighbour is active"

    def test_an_old_reading_does_not_make_a_member_active_again_but_a_new_one_does(self) -> None:
        attendance = Attendance(grace_ms=GRACE_MS)
        attendance.is_open(view(0, HOME, NEIGHBOUR), self.MEMBERS, 0)
        for hour in (0, 1):
            attendance.is_open(view(hour, HOME, NEIGHBOUR), self.MEMBERS, GRACE_MS)
        attendance.is_open(view(0, *self.MEMBERS), self.MEMBERS, GRACE_MS)
        assert attendance.is_open(view(2, HOME, NEIGHBOUR), self.MEMBERS, GRACE_MS)
        attendance.is_open(view(2, *self.MEMBERS), self.MEMBERS, GRACE_MS)
        assert not attendance.is_open(view(3, HOME, NEIGHBOUR), self.MEMBERS, GRACE_MS)

    def test_a_forgotten_hour_waits_anew(self) -> None:
        attendance = Attendance(grace_ms=GRACE_MS)
        attendance.is_open(view(0, HOME), self.MEMBERS, 0)
        attendance.forget(hour_start(0))
        assert not attendance.is_open(view(0, HOME), self.MEMBERS, GRACE_MS)


class TestPublishing:
    def test_no_more_hours_than_the_window_are_unsettled(self) -> None:
        simulation = Simulation([[-100] * 6, [300] * 6], window_hours=2, grace_ms=60_000, faults=Faults(loss=1.0))
        for _ in range(200):
            simulation.tick()
        assert [progress.published for member in simulation.members if (progress := member.progress())] == [
            2,  # the buyer waits for an answer
            4,  # the seller has nothing to wait for in these two
        ]

    def test_each_hour_is_published_once_with_rising_nonces(self) -> None:
        simulation = Simulation([[-100] * 5, [300] * 5, [0] * 5])
        simulation.run()
        assert len(simulation.receipts_of(PublishReading)) == 15
        assert simulation.declined(PublishReading) == []

    def test_a_restarted_meter_publishes_what_it_missed_and_that_is_traded(self) -> None:
        simulation = Simulation([[-100] * 8, [300, 0] * 4, [40] * 8])
        simulation.crash(1)
        for _ in range(400):
            simulation.tick()
        before_wh = simulation.traded_wh()
        assert before_wh == 8 * 40, "the others went on"
        simulation.start(1)
        simulation.run()
        assert simulation.traded_wh() == simulation.tradable_wh() == 4 * 100 + 4 * 40 > before_wh

    def test_missed_hours_are_published_faster_than_the_window_allows_for_new_ones(self) -> None:
        simulation = Simulation([[-100] * 12, [300] * 12, [40] * 12], window_hours=2)
        simulation.crash(1)
        for _ in range(400):
            simulation.tick()
        before = len(simulation.shared.blocks)
        simulation.start(1)
        while len(simulation.shared.blocks) == before:
            simulation.tick()
        assert len(simulation.shared.blocks[before].receipts) == 10, "all that the others are a window ahead of"

    def test_nodes_that_only_validate_cost_one_grace_period(self) -> None:
        ticks = Simulation([[-100] * 6, [300] * 6]).run()
        with_validators = Simulation([[-100] * 6, [300] * 6], validators=2, grace_ms=2_000).run()
        assert 2_000 / 50 <= with_validators <= ticks + 2_000 / 50 + 10

    def test_a_reading_that_the_chain_declines_is_not_sent_for_ever(self) -> None:
        simulation = Simulation([[-100, -100], [30_000, 300]], capacity_w=20_000)
        simulation.run()
        assert [receipt.reason for receipt in simulation.declined(PublishReading)] == [Reason.READING_ABOVE_CAPACITY]
        assert simulation.traded_wh() == 100

    def test_what_comes_after_gate_closure_is_published_and_not_waited_for(self) -> None:
        simulation = Simulation([[-100, -50], [300, 300], [20, 20]], gate_closure_slots=20)
        simulation.crash(1)
        for _ in range(200):
            simulation.tick()
        simulation.start(1)
        simulation.run()
        assert len(simulation.receipts_of(PublishReading)) == 6
        assert simulation.declined(PublishReading) == []
