"""`p2pnode ledger`: verify a stopped node's ledger from genesis, and look into it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from consensus.identifiers import DIGEST_SIZE_BYTES, GENESIS_HEIGHT, Address, Digest, Height
from ledger.errors import BlocksNotHere
from ledger.ledger import Ledger
from ledger.show import BlockRow, block_rows, show_block, show_history, show_state, show_transaction
from ledger.state_keys import parse_state_key
from ledger.verification_report import VerificationReport
from ledger.verify import verify_ledger
from node.cli.terminal import error_console, output_console
from node.errors import NodeError
from node.home.configuration import load_configuration
from node.home.folder import CONFIGURATION_NAME, Home
from node.home.genesis_file import load_genesis
from node.home.halt import clear_halt
from node.home.storage import eras_of
from node.names.names import Names, names_of_home

ledger_app = typer.Typer(
    name="ledger",
    no_args_is_help=True,
    help="Verify the ledger of a stopped node, and look into it.",
    epilog="Example: p2pnode ledger verify --home testnet/node1",
)

FIRST_BLOCK: Final = GENESIS_HEIGHT + 1

HomeOption = Annotated[Path, typer.Option(help="Folder of the node's meter.toml.", show_default=False)]


@ledger_app.command(epilog="Example: p2pnode ledger verify --home testnet/node1")
def verify(home: HomeOption) -> None:
    """Check everything that a stopped node stored, from genesis to the tip, or from where its ledger begins.

    Hashes, certificates, signatures, execution, state roots, receipts, and the books. Exits with 0 only if all
    of it holds; otherwise it names the heights that are damaged.
    """
    node_home = _node_home(home)
    try:
        report = _verify(node_home)
    except OSError as error:
        raise NodeError(f"{node_home.ledger}: cannot be read: {error.strerror or error}") from None
    if not report.holds:
        _show_damage(report)
        raise NodeError(_verdict(node_home, report))
    clear_halt(node_home)
    typer.echo(
        f"{node_home.ledger} holds: {report.heights_checked:,} blocks with {report.transactions:,} transactions "
        f"executed again from {_beginning(report)}, all hashes, certificates and state roots as stored, energy and "
        "tokens conserved"
    )
    if report.executed_from > GENESIS_HEIGHT:
        typer.echo(
            f"It begins at block {report.executed_from:,}: the state after it is the one that the members decided, "
            "as is shown from genesis on. Blocks below are not here, and were not executed"
        )


@ledger_app.command(
    epilog="Examples: p2pnode ledger show --home testnet/node1 --block 7; "
    "p2pnode ledger show --home testnet/node1 --key totals"
)
def show(
    home: HomeOption,
    block: Annotated[int | None, typer.Option(min=1, help="Show this block in full.", show_default=False)] = None,
    transaction: Annotated[
        str | None, typer.Option(help="Show this transaction (64 hexadecimal digits).", show_default=False)
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="Show a state key, such as totals, members or account:ADDRESS.", show_default=False),
    ] = None,
    history: Annotated[
        str | None, typer.Option(help="Show every value that a state key had.", show_default=False)
    ] = None,
    first: Annotated[int, typer.Option("--from", min=1, help="First block of the list.")] = FIRST_BLOCK,
    last: Annotated[
        int | None,
        typer.Option("--to", min=1, help="Last block of the list; the tip by default.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,  # noqa: FBT002
) -> None:
    """List a stopped node's blocks with slot, leader and the leader that Eq. 1 expects; or show one thing."""
    if sum(choice is not None for choice in (block, transaction, key, history)) > 1:
        raise NodeError("show one thing at a time: --block, --transaction, --key or --history")
    with _open_ledger(home) as ledger:
        if block is not None:
            _print_json(_found(show_block(ledger, Height(block)), f"block {block}; the tip is {ledger.height}"))
        elif transaction is not None:
            digest = _digest(transaction)
            _print_json(_found(show_transaction(ledger, digest), f"transaction {transaction}"))
        elif key is not None:
            _print_json(_found(show_state(ledger, parse_state_key(key)), f"value of {key}"))
        elif history is not None:
            versions = list(show_history(ledger, parse_state_key(history)))
            _print_json(_found(versions or None, f"value of {history}"))
        else:
            _require_blocks(ledger, first, last)
            rows = block_rows(ledger, first=Height(first), last=ledger.height if last is None else Height(last))
            _list_blocks(ledger, rows, names_of_home(_node_home(home)), as_json=as_json)


def _node_home(directory: Path) -> Home:
    if directory.is_file():
        raise NodeError(f"{directory} is a file: --home is the folder that it lies in, {directory.parent}")
    return load_configuration(directory / CONFIGURATION_NAME).home


@contextmanager
def _open_ledger(directory: Path) -> Iterator[Ledger]:
    node_home = _node_home(directory)
    ledger = Ledger.open(node_home.ledger, load_genesis(node_home), begun=eras_of(node_home))
    try:
        yield ledger
    finally:
        ledger.close()


def _verify(node_home: Home) -> VerificationReport:
    console = error_console()
    progress = Progress(
        TextColumn("verifying"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    with progress:
        task = progress.add_task("", total=None)

        def advance(height: Height, tip: Height) -> None:
            progress.update(task, completed=height, total=tip)

        return verify_ledger(node_home.ledger, load_genesis(node_home), advance, begun=eras_of(node_home))


def _beginning(report: VerificationReport) -> str:
    return "genesis" if report.executed_from == GENESIS_HEIGHT else f"the state after block {report.executed_from:,}"


def _show_damage(report: VerificationReport) -> None:
    table = Table(title="Damage", title_justify="left")
    table.add_column("height", justify="right")
    table.add_column("what")
    for damage in report.damage:
        table.add_row("unknown" if damage.height is None else f"{damage.height:,}", damage.what)
    console = error_console()
    if report.damage:
        console.print(table)
    for line in report.unbalanced:
        console.print(f"does not add up: {line}", markup=False, highlight=False)


def _verdict(node_home: Home, report: VerificationReport) -> str:
    heights = ", ".join(str(height) for height in report.heights_damaged)
    named = f" at height {heights}" if heights else ""
    books = "" if report.conserved else "; energy or tokens do not add up"
    return f"{node_home.ledger} is damaged{named}: {report.damage_count:,} faults found{books}"


def _require_blocks(ledger: Ledger, first: int, last: int | None) -> None:
    """Refuses a list that would be empty for what was asked, not for what there is."""
    if last is not None and first > last:
        raise NodeError(f"there are no blocks from {first} to {last}: the first is above the last")
    if first > max(FIRST_BLOCK, ledger.height):
        raise NodeError(f"the chain holds no block {first}; the tip is {ledger.height}")
    if last is not None and ledger.lacks(Height(last)):
        raise BlocksNotHere(ledger.first_height)


def _list_blocks(ledger: Ledger, rows: Iterator[BlockRow], names: Names, *, as_json: bool) -> None:
    listed = list(rows)
    if as_json:
        _print_json([{name: getattr(row, name) for name in row.__struct_fields__} for row in listed])
        return
    table = Table(title=f"Blocks of chain {ledger.chain.hex()[:16]}…", title_justify="left")
    eras = ("era",) if ledger.eras.newest.number else ()
    for heading in ("height", *eras, "slot", "transactions"):
        table.add_column(heading, justify="right")
    for heading in ("leader", "expected leader", "digest"):
        table.add_column(heading)
    for row in listed:
        table.add_row(
            f"{row.height:,}",
            *([f"{row.era:,}"] if eras else []),
            f"{row.slot:,}",
            f"{row.transactions:,}",
            names.of(Address(bytes.fromhex(row.leader))),
            names.of(Address(bytes.fromhex(row.expected_leader))),
            row.digest,
        )
    other = sum(row.leader != row.expected_leader for row in listed)
    if not listed:
        table.caption = "no block is decided yet"
    else:
        table.caption = (
            "every leader is the one that Eq. 1 expects" if not other else f"{other} leaders NOT as expected"
        )
    if ledger.first_height > FIRST_BLOCK:
        table.caption += f"; blocks below {ledger.first_height:,} are not here"
    output_console().print(table)


def _found(shown: Any, what: str) -> Any:
    if shown is None:
        raise NodeError(f"the chain holds no {what}")
    return shown


def _digest(text: str) -> Digest:
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != DIGEST_SIZE_BYTES:
        raise NodeError(f"{text!r} is not a transaction's name: {2 * DIGEST_SIZE_BYTES} hexadecimal digits")
    return Digest(digest)


def _print_json(shown: Any) -> None:
    typer.echo(json.dumps(shown, indent=2, ensure_ascii=False))
