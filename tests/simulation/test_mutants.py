"""Each deliberate break of a rule is noticed by a simulated run or a directed scenario."""

import pytest

from tests.simulation.mutants import MUTANTS, Killer, Mutant

KILLERS = {killer: mutant.name for mutant in MUTANTS for killer in mutant.killers}
killed: list[str] = []


@pytest.mark.parametrize("killer", KILLERS, ids=KILLERS.values())
def test_a_killer_passes_on_the_true_code(killer: Killer) -> None:
    killer()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.rule}: {mutant.name}")
def test_a_mutant_is_killed(mutant: Mutant) -> None:
    assert not mutant.survives(), f"nothing noticed: {mutant.name}"
    killed.append(mutant.name)


def test_all_mutants_are_killed(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{len(killed)} of {len(MUTANTS)} mutants killed")  # noqa: T201
    assert len(MUTANTS) >= 30
