"""All mutants of what hosts the replica, and of what it finds at its start; each file has those of one subject."""

from typing import Final

from tests.simulation.disk_mutants import DISK_MUTANTS
from tests.simulation.driver_mutants import DRIVER_MUTANTS
from tests.simulation.mutant import Mutant
from tests.simulation.restart_mutants import RESTART_MUTANTS
from tests.simulation.sync_mutants import SYNC_MUTANTS

HOSTING_MUTANTS: Final[tuple[Mutant, ...]] = (*RESTART_MUTANTS, *DRIVER_MUTANTS, *DISK_MUTANTS, *SYNC_MUTANTS)
