"""The program `p2pnode`, also as `python -m node`: what must hold before up to a second of imports begins.

Ctrl-C ends the program at once while it is still being loaded: there is nothing to clean up yet.
"""

import os
import signal
import sys
from types import FrameType
from typing import Final

EXIT_INTERRUPTED: Final = 128 + signal.SIGINT


def main() -> None:
    """Loads the command line and runs it."""
    loading = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else whoever started us ignores it
    if loading:
        signal.signal(signal.SIGINT, _end_at_once)
    from node.cli.main import COMMANDS, load  # noqa: PLC0415  (the second)
    from node.cli.main import main as run_command  # noqa: PLC0415
    from node.cli.terminal import guard_standard_streams  # noqa: PLC0415

    if sys.argv[1:] and sys.argv[1] in COMMANDS:
        load(sys.argv[1])

    guard_standard_streams()
    if loading:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run_command()
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    finally:
        if loading:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # the interpreter takes a while to end, too


def _end_at_once(_: int, __: FrameType | None) -> None:
    os._exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
