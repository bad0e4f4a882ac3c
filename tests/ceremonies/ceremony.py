"""One row of the table, from the first transaction to the last check."""

import time
from pathlib import Path
from typing import Final

from tests.ceremonies.cases import CASES
from tests.ceremonies.checks import check_end, take_statements
from tests.ceremonies.processes import daemons
from tests.ceremonies.run import CeremonyRun, Tell
from tests.ceremonies.table import Row

REASON_MAX: Final = 2_000


def run_case(letter: str, members: int, directory: Path, tell: Tell) -> Row:
    """Runs a case; what does not hold stands in the row's note."""
    started_s = time.monotonic()
    with daemons() as running:
        run = CeremonyRun(letter, CASES[letter], members, directory, running, tell)
        try:
            run.decide_under_load()
            run.lose()
            run.stand_still()
            take_statements(run)
            run.hold()
            run.go_on()
            check_end(run)
        except (AssertionError, OSError) as error:
            run.row.note = f"{type(error).__name__}: {error}"[:REASON_MAX]
            tell(f"{error}\n{run.explain()}")
    run.row.elapsed_s = round(time.monotonic() - started_s, 1)
    return run.row
