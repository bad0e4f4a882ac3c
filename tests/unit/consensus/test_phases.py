"""The table of phases: what it allows, and that everything else stops the node."""

from itertools import product

import pytest

from consensus.phases import TRANSITIONS, Phase, enter

ACTING = (Phase.VOTED, Phase.PREPARED, Phase.CHANGING_VIEW)
ALLOWED = (
    {(current, following) for current in (Phase.WAITING, *ACTING) for following in (*ACTING, Phase.APPLYING)}
    | {(Phase.APPLYING, Phase.WAITING)}
)  # fmt: skip


def test_the_table_has_a_row_for_every_phase() -> None:
    assert set(TRANSITIONS) == set(Phase)


@pytest.mark.parametrize(("current", "following"), list(product(Phase, Phase)))
def test_a_transition_is_in_the_table_or_a_bug(current: Phase, following: Phase) -> None:
    if (current, following) in ALLOWED:
        assert enter(current, following) is following
    else:
        with pytest.raises(AssertionError, match="no transition"):
            enter(current, following)


def test_a_decided_height_ends_only_by_being_applied() -> None:
    assert TRANSITIONS[Phase.APPLYING] == {Phase.WAITING}
