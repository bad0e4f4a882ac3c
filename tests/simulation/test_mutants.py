"""Each deliberate break of a rule is noticed by a simulated run or a directed scenario."""

import pytest

from tests.simulation.mutant import Killer, Mutant
from tests.simulation.mutants import MUTANTS

KILLERS = {killer: mutant.name for mutant in MUTANTS for killer in mutant.killers}


@pytest.mark.parametrize("killer", KILLERS, ids=KILLERS.values())
def test_a_killer_passes_on_the_true_code(killer: Killer) -> None:
    killer()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.rule}: {mutant.name}")
def test_a_mutant_is_killed(mutant: Mutant) -> None:
    assert mutant.lives_by() is None


def test_none_is_there_twice_and_none_got_lost() -> None:
    assert len(MUTANTS) == len({(mutant.rule, mutant.name) for mutant in MUTANTS}) >= 696
