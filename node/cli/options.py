"""Options that several commands take, and how an operator is asked."""

import re
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from node.admission.passphrase import checked_passphrase, read_passphrase_file
from node.cli.terminal import asked
from node.errors import JoinError, NodeError

ConfigOption = Annotated[
    Path,
    typer.Option(help="A node's meter.toml: asks the node if it runs, else opens its ledger.", show_default=False),
]
RunningConfig = Annotated[Path, typer.Option("--config", help="The meter.toml of a node that runs.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the API's reply.")]
GenesisOption = Annotated[Path, typer.Option(help="The chain's genesis.json or genesis.msgpack.", show_default=False)]
YesOption = Annotated[bool, typer.Option("--yes", help="Confirm without being asked.")]
KeyFileOption = Annotated[
    Path | None,
    typer.Option(
        help="A file with the passphrase of the authority's keys, mode 0600. Without, it is asked for.",
        show_default=False,
    ),
]


_ADDRESS: Final = re.compile("[0-9a-f]{64}")


def require_home_address(address: str) -> None:
    """Refuses what is to be the address of a home and is none.

    Raises:
        JoinError: says what it has.
    """
    if _ADDRESS.fullmatch(address) is None:
        raise JoinError(f"{address[:64]!r} is no address of a home: it has 64 digits, 0 to 9 and a to f")


def confirm(question: str, *, yes: bool) -> None:
    """Asks, unless that was confirmed already.

    Raises:
        NodeError: the answer is no, or nobody answered.
    """
    if not yes and not asked(lambda: typer.confirm(question), option="--yes"):
        raise NodeError("nothing was changed")


def passphrase_of(key_file: Path | None, *, is_new: bool = False) -> bytes:
    """Returns the passphrase of a key: a file's, or what is typed without being shown.

    Args:
        key_file: the file, if one was named.
        is_new: it is to be typed twice.

    Raises:
        NodeError: the file does not hold one, nobody can be asked, or it is too short.
    """
    if key_file is not None:
        return read_passphrase_file(key_file)
    if not sys.stdin.isatty():
        raise NodeError("nobody can be asked for the passphrase here: --key-file names a file that holds it")
    text: str = asked(
        lambda: typer.prompt("Passphrase of the key", hide_input=True, confirmation_prompt=is_new),
        option="--key-file",
    )
    return checked_passphrase(text) if is_new else text.encode(errors="surrogateescape")
