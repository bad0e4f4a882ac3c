"""Whatever step of a ceremony a home dies in, it takes the step again, and the ceremony comes to its end."""

import pytest

from tests.simulation.interrupted_ceremonies import POINTS, hold_interrupted


@pytest.mark.parametrize("runs_between", [False, True])
@pytest.mark.parametrize(("point", "tears"), POINTS, ids=str)
def test_an_interrupted_step_is_taken_again(point: str, tears: bool, runs_between: bool) -> None:
    hold_interrupted(point, tears=tears, runs_between=runs_between)
