"""A process of its own that makes a ledger at the tip of a whole one, and kills itself on the way.

    python -m tests.support.origin_maker WHOLE DIRECTORY STEP

Before its step of that number (from 1 on: each batch, sync, mark and name) it ends as by SIGKILL. With step 0 it
prints how many there were.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ledger import creation, side_files
from ledger import ledger as ledger_module
from ledger.ledger import Ledger
from ledger.store import Store
from tests.support.contracts import make_genesis
from tests.support.origins import origin_of, state_at

BATCH_ENTRIES = 24


def main() -> None:
    whole_directory, directory, last = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    genesis = make_genesis().genesis
    whole = Ledger.open(whole_directory, genesis)
    origin, entries = origin_of(whole, whole.height), state_at(whole, whole.height)
    whole.close()
    steps = 0

    def counted(true: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return true(*arguments, **options)

        return step

    creation.BATCH_ENTRIES = BATCH_ENTRIES  # type: ignore[misc]
    Store.write = counted(Store.write)  # type: ignore[method-assign]
    Path.rename = counted(Path.rename)  # type: ignore[method-assign]
    os.fsync = counted(os.fsync)
    for module in (creation, ledger_module, side_files):
        for name in ("sync_directory", "create_tip_mark", "remove_seal"):
            if hasattr(module, name):
                setattr(module, name, counted(getattr(module, name)))
    Ledger.create_at(directory, genesis, origin, entries).close()
    sys.stdout.write(f"{steps}\n")


if __name__ == "__main__":
    main()
