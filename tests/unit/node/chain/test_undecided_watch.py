"""When the log says that nothing is decided, and when it says that this is over."""

from dataclasses import dataclass

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from consensus.identifiers import Height
from node.chain.undecided_watch import WARNING_AFTER_SLOTS, UndecidedWatch, Waiting
from tests.support.consensus import TAU_MS, Members
from tests.support.explaining import explained, stalled_view_change

FIRST_MS = WARNING_AFTER_SLOTS * TAU_MS


@dataclass
class Height1:
    """What a test says of the undecided height."""

    height: int = 1
    waiting_ms: int | None = None
    explanations: int = 0

    def __call__(self) -> Waiting:
        return Waiting(height=Height(self.height), waiting_ms=self.waiting_ms)


@pytest.fixture
def position() -> Height1:
    return Height1()


@pytest.fixture
def watch(position: Height1) -> UndecidedWatch:
    scenario = stalled_view_change()

    def explain():  # type: ignore[no-untyped-def]
        position.explanations += 1
        return explained(scenario, silent=(2, 3))

    return UndecidedWatch(
        waiting=position,
        explain=explain,
        slot_duration_ms=TAU_MS,
    )


def look_at(watch: UndecidedWatch, position: Height1, *waiting_ms: int | None, height: int = 1) -> list[EventDict]:
    position.height = height
    with capture_logs() as lines:
        for position.waiting_ms in waiting_ms:
            watch.look()
    return list(lines)


def test_nothing_is_said_up_to_ten_slots(watch: UndecidedWatch, position: Height1) -> None:
    assert look_at(watch, position, None, 0, FIRST_MS) == []
    assert position.explanations == 0


def test_the_warning_says_who_is_missing(watch: UndecidedWatch, position: Height1) -> None:
    (line,) = look_at(watch, position, FIRST_MS + 1)
    assert (line["log_level"], line["event"], line["height"]) == ("warning", "nothing is decided", 1)
    assert (line["waiting_s"], line["verdict"]) == (10.0, "too_few_members")
    assert line["why"].startswith("Only 2 of 4 members can take part and a decision needs 3: ")
    assert f"{Members(4).address(2).hex()[:16]} (never heard)" in line["why"]


def test_warnings_come_at_doubling_intervals(watch: UndecidedWatch, position: Height1) -> None:
    seconds = [line["waiting_s"] for line in look_at(watch, position, *range(0, 170 * TAU_MS, TAU_MS))]
    assert seconds == [11, 21, 41, 81, 161]


def test_after_a_long_pause_of_this_process_one_warning_is_enough(watch: UndecidedWatch, position: Height1) -> None:
    assert len(look_at(watch, position, 1_000 * FIRST_MS, 1_001 * FIRST_MS)) == 1


def test_the_end_is_told_once_with_how_long_it_took(watch: UndecidedWatch, position: Height1) -> None:
    look_at(watch, position, FIRST_MS + 1, FIRST_MS + 3 * TAU_MS)
    (line,) = look_at(watch, position, 0, None, 100, height=2)
    assert (line["log_level"], line["event"]) == ("info", "decided after all")
    assert (line["height"], line["waited_s"]) == (1, 13.0)
    assert len(look_at(watch, position, FIRST_MS + 1, height=2)) == 1, "the next height is warned of as early"


def test_what_expires_undecided_is_told_too(watch: UndecidedWatch, position: Height1) -> None:
    look_at(watch, position, FIRST_MS + 1)
    (line,) = look_at(watch, position, None)
    assert line["event"] == "nothing waits any more"
