"""Which place of a peer is dialled when."""

from dataclasses import replace

from node.admission.endpoint import Endpoint
from node.mesh.dial_schedule import DialSchedule
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
