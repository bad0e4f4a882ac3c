"""Each deliberate break of a rule is noticed by a simulated run or a directed scenario."""

import pytest

from tests.simulation.ceremony_mutants import CEREMONY_MUTANTS
from tests.simulation.mutants import MUTANTS, Killer, Mutant

ALL = (*MUTANTS, *CEREMONY_MUTANTS)
KILLERS = {killer: mutant.name for mutant in ALL for killer in mutant.killers}


@pytest.mark.parametrize("killer", KILLERS, ids=KILLERS.values())
def test_a_killer_passes_on_the_true_code(killer: Killer) -> None:
    killer()


@pytest.mark.parametrize("mutant", ALL, ids=lambda mutant: f"{mutant.rule}: {mutant.name}")
def test_a_mutant_is_killed(mutant: Mutant) -> None:
    assert not mutant.survives(), f"nothing noticed: {mutant.name}"


def test_there_are_thirty_mutants_at_least() -> None:
    assert len(ALL) >= 30
