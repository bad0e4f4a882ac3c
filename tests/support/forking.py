"""Processes that fork from one which has loaded their code and done nothing else: that saves a second for each.

From the test's own process they could not: it opens ledgers, and LevelDB's background thread does not come along.
"""

import multiprocessing
from typing import Final

FORKING: Final = multiprocessing.get_context("forkserver")

FORKING.set_forkserver_preload(["tests.faults.streets", "tests.ceremonies.processes"])
"""In one place, as there is one such process for all."""
