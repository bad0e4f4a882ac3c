"""Which place of a peer is dialled when."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from node.admission.endpoint import Endpoint
from node.mesh.dial_schedule import PLACES_KEPT_MAX, STRANGE_DIALS_MAX, DialSchedule
from node.mesh.limits import MeshLimits

LIMITS = replace(MeshLimits(), backoff_initial_s=1.0, backoff_max_s=4.0, backoff_unknown_max_s=60.0)
HOME, HEARD, OTHER = (Endpoint("192.0.2.1", port) for port in (1, 2, 3))


def schedule() -> DialSchedule:
    return DialSchedule(first=HOME, limits=LIMITS, share=lambda: 1.0)


def dialled(plan: DialSchedule, places: list[Endpoint], *, until_s: float) -> dict[Endpoint, list[float]]:
    """Returns when each place is dialled if nobody ever answers."""
    attempts: dict[Endpoint, list[float]] = {place: [] for place in places}
    now_s = 0.0
    while True:
        place, due_s = plan.next(places)
        now_s = max(now_s, due_s)
        if now_s > until_s:
            return attempts
        attempts[place].append(now_s)
        plan.failed(place, now_s)


def test_all_places_are_tried_in_their_order_and_each_again_for_ever() -> None:
    attempts = dialled(schedule(), [HEARD, HOME], until_s=1_000)
    assert attempts[HEARD][0] == attempts[HOME][0] == 0
    assert next(iter(attempts)) == HEARD
    assert attempts[HOME][:5] == [0, 1, 3, 7, 11], "at most four seconds apart: its home may start at any time"
    assert attempts[HOME][-1] > 990


def test_a_place_that_only_the_member_named_is_dialled_once_a_minute() -> None:
    attempts = dialled(schedule(), [HEARD, HOME], until_s=3_600)
    assert len(attempts[HEARD]) <= 3_600 / 60 + 7
    assert attempts[HEARD][-1] > 3_500, "and is never given up"


def test_where_the_member_was_found_it_is_looked_for_as_at_home() -> None:
    plan = schedule()
    plan.next([HEARD, HOME])
    plan.found(HEARD)
    assert dialled(plan, [HEARD, HOME], until_s=100)[HEARD][:5] == [0, 1, 3, 7, 11]


def test_links_that_come_and_go_do_not_have_a_strangers_place_dialled_more_often() -> None:
    plan = schedule()
    places = [HEARD, HOME]
    dialled(plan, places, until_s=100)
    for now_s in range(100, 120):
        plan.link_ended(now_s)
        place, due_s = plan.next(places)
        assert (place, due_s) == (HOME, now_s + 1)
    plan.failed(HOME, 120)
    assert plan.next(places)[1] == 121, "it begins anew where it is known to be"


def test_a_new_place_is_dialled_at_once_and_one_that_is_gone_never() -> None:
    plan = schedule()
    dialled(plan, [HEARD, HOME], until_s=100)
    assert plan.next([OTHER, HEARD, HOME]) == (OTHER, 0)
    plan.failed(OTHER, 100)
    assert plan.next([HOME])[0] == HOME


def test_a_place_that_comes_back_has_to_show_again_that_the_member_is_there() -> None:
    plan = schedule()
    plan.next([HEARD, HOME])
    plan.found(HEARD)
    plan.next([HOME])
    assert len(dialled(plan, [HEARD, HOME], until_s=600)[HEARD]) < 20


def dialled_as_named(
    plan: DialSchedule, named: Callable[[float], list[Endpoint]], *, until_s: float
) -> dict[Endpoint, list[float]]:
    """Returns when each place is dialled if nobody ever answers and each ten seconds other places are named."""
    attempts: dict[Endpoint, list[float]] = {}
    now_s = 0.0
    while now_s <= until_s:
        place, due_s = plan.next(named(now_s))
        if due_s <= now_s:
            attempts.setdefault(place, []).append(now_s)
            plan.failed(place, now_s)
        else:
            now_s = min(due_s, (now_s // 10 + 1) * 10)
    return attempts


def most_in_a_minute(times: list[float]) -> int:
    ordered = sorted(times)
    return max(sum(start <= time < start + 60 for time in ordered) for start in ordered)


def places_of_hosts(numbers: Iterable[int]) -> list[Endpoint]:
    return [Endpoint(f"192.0.2.{number % 250 + 2}", 1 + number) for number in numbers]


@pytest.mark.parametrize("records", [2, 6, 500], ids=lambda count: f"{count} records")
def test_a_liar_that_names_ever_other_places_has_them_dialled_no_more_often(records: int) -> None:
    """It signs as many records as others take, six a minute with four places each, in turn."""
    limits = replace(LIMITS, backoff_initial_s=0.1, backoff_max_s=1.5)
    plan = DialSchedule(first=HOME, limits=limits, share=lambda: 1.0)

    def named(now_s: float) -> list[Endpoint]:
        record = int(now_s // 10) % records
        return [*places_of_hosts(range(4 * record, 4 * record + 4)), HOME]

    attempts = dialled_as_named(plan, named, until_s=3_600)
    assert len(attempts.pop(HOME)) > 2_000, "where it may start at any time"
    assert most_in_a_minute([time for times in attempts.values() for time in times]) <= STRANGE_DIALS_MAX
    assert max(len(times) for times in attempts.values()) <= 3_600 / 60 + 7


def test_who_names_other_places_all_the_time_is_found_where_it_really_is() -> None:
    plan = schedule()
    attempts = dialled_as_named(plan, lambda now_s: places_of_hosts([int(now_s // 10)]), until_s=600)
    now_s = max(time for times in attempts.values() for time in times)
    place, due_s = plan.next([OTHER])
    assert (place, due_s <= now_s + 60) == (OTHER, True)


@pytest.mark.parametrize(("others", "pause_s"), [(PLACES_KEPT_MAX - 1, 2), (PLACES_KEPT_MAX, 1)])
def test_what_is_remembered_of_places_is_bounded(others: int, pause_s: float) -> None:
    plan = schedule()
    for number, place in enumerate([OTHER, *places_of_hosts(range(others)), OTHER]):
        plan.failed(place, number * 60)
    now_s = (others + 1) * 60
    plan.link_ended(now_s)  # at home it begins anew
    assert plan.next([OTHER]) == (OTHER, now_s + pause_s)
