"""Deliberate breaks quote lines of production code: who changes such a line learns it in seconds, not in an hour."""

from tests.simulation.mutant import Edit


def test_each_line_that_a_break_quotes_is_there() -> None:
    from tests.simulation.mutants import MUTANTS  # noqa: PLC0415  (seconds: not while all tests are collected)

    stale = []
    for mutant in MUTANTS:
        for _, _, broken in mutant.breaks:
            if isinstance(broken, Edit):
                try:
                    broken.compiled(lambda: None)
                except AssertionError as missing:
                    stale.append(f"{mutant.rule}: {mutant.name}: {missing}")
    assert stale == []
