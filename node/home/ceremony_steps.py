"""In what order a ceremony's steps reach the disk of a home, for the command line and for the simulator.

Each call that is handed in is durable when it returns. After a crash between any two of them the step is taken again,
as if it had never begun; what it left in the meantime makes the home do less, never more.
"""

from collections.abc import Callable

from consensus.ceremony import Applied
from consensus.events import SignState

Step = Callable[[], object]
Save = Callable[[SignState], object]


def export(sign_state: SignState, *, save: Save, write_statement: Step) -> None:
    """Seals a home, then lets its statement leave: no statement speaks of a seal that a crash can undo."""
    save(sign_state)
    write_statement()


def join(sign_state: SignState, *, keep_plans: Step, save: Save, write_join: Step) -> None:
    """Keeps the plan, so that later statements can name it; binds the home to it; then lets the agreement leave."""
    keep_plans()
    save(sign_state)
    write_join()


def apply(begun: Applied, *, keep_plans: Step, set_ledger_aside: Step, keep_eras: Step, save: Save) -> None:
    """Begins an era. A ledger with the carried block by an older certificate goes before the files say that an era
    has begun, or it would be damaged to whoever opens it in between. The sign state comes last: one that knows
    nothing of the era that the files have is an old one to whoever starts in between, and keeps silent.
    """
    keep_plans()
    if begun.drops_carried:
        set_ledger_aside()
    keep_eras()
    save(begun.sign_state)
