"""Flipped bytes in the files of a stopped node: found, or harmless; `make endurance` flips many more."""

from pathlib import Path

import pytest

from tests.endurance.flips import flip_daemons, flip_files
from tests.support.flips import Outcome

FLIPS = 120
DAEMON_FLIPS = 3


@pytest.mark.parametrize("killed", [False, True])
def test_every_flip_is_found_or_harmless(killed: bool) -> None:
    found = flip_files(count=FLIPS, seed=2, killed=killed)
    outcomes = found.tally.outcomes
    assert found.tally.wrong == ()
    assert outcomes.total() == FLIPS
    if killed:  # no seal: LevelDB's own log and the mark of the tip are in no checksum that is read at the start
        assert outcomes[Outcome.AT_START] > FLIPS // 8
        assert outcomes[Outcome.BY_VERIFY] > FLIPS // 8
        harmless = {file: by[Outcome.HARMLESS] for file, by in found.tally.by_file.items() if by[Outcome.HARMLESS]}
        in_tables = sum(number for file, number in harmless.items() if file.endswith(".ldb"))
        assert in_tables < FLIPS // 20, "a table has few bytes that no reader needs"
        assert {file for file in harmless if not file.endswith(".ldb")} <= {"database/LOG", "database/LOG.old", "tip"}
    else:
        assert outcomes[Outcome.AT_START] == FLIPS, "the seal of a clean stop covers every byte"
    assert found.sign_state == 8_192


def test_daemons_come_back_with_the_right_blocks(tmp_path: Path) -> None:
    found = flip_daemons(tmp_path, count=DAEMON_FLIPS, seed=11)
    assert found.went_on + found.fetched_again == DAEMON_FLIPS
    assert found.fetched_again >= 2
    assert found.answers > 20 * DAEMON_FLIPS
