"""All mutants of what hosts the replica, and of what it finds at its start; each file has those of one subject.

Left out are breaks that nothing can notice, for they change nothing:

| break | why |
|---|---|
| `Driver.fail` leaves the events in the queue | after a failure `post` takes nothing and no step goes on |
| `Driver._execute` executes after a failure | executing only reads; what it posts is not taken |
| `Driver._verify` hands a message on, then begins the silence that it shows | the silence goes to the front |
| `SignRecovery.on_answer` does not ask whether an answer is waited for | there is an inquiry only while one is |
| `Ledger.append` compares the parent, not the height | of another height a block on the tip is refused by its form |
| `make_database` does not sync the database's name | opening, which follows at once, syncs the same folder |
"""

from typing import Final

from tests.simulation.attendance_mutants import ATTENDANCE_MUTANTS
from tests.simulation.cluster_mutants import CLUSTER_MUTANTS
from tests.simulation.disk_mutants import DISK_MUTANTS
from tests.simulation.driver_mutants import DRIVER_MUTANTS
from tests.simulation.expiring_mutants import EXPIRING_MUTANTS
from tests.simulation.joining_mutants import JOINING_MUTANTS
from tests.simulation.leaving_mutants import LEAVING_MUTANTS
from tests.simulation.ledger_mutants import LEDGER_MUTANTS
from tests.simulation.mutant import Mutant
from tests.simulation.origin_mutants import ORIGIN_MUTANTS
from tests.simulation.randomness_mutants import RANDOMNESS_MUTANTS
from tests.simulation.removing_mutants import REMOVING_MUTANTS
from tests.simulation.restart_mutants import RESTART_MUTANTS
from tests.simulation.rotating_mutants import ROTATING_MUTANTS
from tests.simulation.rules_mutants import RULES_MUTANTS
from tests.simulation.suspending_mutants import SUSPENDING_MUTANTS
from tests.simulation.sync_mutants import SYNC_MUTANTS

HOSTING_MUTANTS: Final[tuple[Mutant, ...]] = (
    *RESTART_MUTANTS,
    *DRIVER_MUTANTS,
    *DISK_MUTANTS,
    *SYNC_MUTANTS,
    *LEDGER_MUTANTS,
    *ORIGIN_MUTANTS,
    *LEAVING_MUTANTS,
    *ROTATING_MUTANTS,
    *JOINING_MUTANTS,
    *ATTENDANCE_MUTANTS,
    *RANDOMNESS_MUTANTS,
    *REMOVING_MUTANTS,
    *EXPIRING_MUTANTS,
    *SUSPENDING_MUTANTS,
    *CLUSTER_MUTANTS,
    *RULES_MUTANTS,
)
