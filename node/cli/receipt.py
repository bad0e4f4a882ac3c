"""`p2pnode receipt`: take a receipt that proves itself, check one with genesis alone, or compare members' answers."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import quote

import typer
from rich.table import Table

from contracts.genesis import Genesis
from ledger.ledger import Ledger
from node.admission.identity import load_key
from node.cli.asking import Question, ask, ask_url
from node.cli.options import ConfigOption, GenesisOption
from node.cli.terminal import output_console
from node.errors import FileRefused, NodeError
from node.home.folder import Home
from node.home.genesis_file import load_genesis_file
from node.home.new_file import require_new_file, write_new_file
from node.names.names import label_of
from node.proofs.genesis_members import genesis_membership
from node.proofs.receipt_check import check_receipt, check_receipt_file
from node.proofs.receipt_file import SignedReceipt, answer_of, export_receipt, parse_receipt
from node.proofs.signed_file import file_text, read_file
from node.replies.stories import ReceiptFileReply
from node.stories.member_names import require_id
from node.stories.slices import Slices

EXPORT_EXAMPLE: Final = (
    "Example: p2pnode receipt export 3f2a9c41d07be865 --config testnet/node1/meter.toml --output receipt.json"
)
VERIFY_EXAMPLE: Final = "Example: p2pnode receipt verify receipt.json --genesis testnet/node1/genesis.json"
ASK_EXAMPLE: Final = (
    "Example: p2pnode receipt ask 3f2a9c41d07be865 --genesis genesis.json "
    "--url http://127.0.0.1:8001 --url http://127.0.0.1:8003"
)

receipt_app = typer.Typer(
    name="receipt",
    no_args_is_help=True,
    help="Receipts that prove themselves, to keep and to show to others.",
    epilog=VERIFY_EXAMPLE,
)

NameArgument = Annotated[
    str,
    typer.Argument(metavar="ID", help="Trade id, or any decided transaction; the first 8 or more digits do."),
]


@receipt_app.command(epilog=EXPORT_EXAMPLE)
def export(
    name: NameArgument,
    config: ConfigOption,
    output: Annotated[
        Path | None, typer.Option(help="The file to make; without it, it is printed.", show_default=False)
    ] = None,
) -> None:
    """Write a receipt that the node signs: transaction, outcome, balance changes, Merkle paths, certificate."""
    require_id(name)
    if output is not None:
        require_new_file(output, option="--output")

    def read(ledger: Ledger, home: Home) -> Slices[ReceiptFileReply]:
        receipt = yield from export_receipt(ledger, name, load_key(home.node_key))
        return ReceiptFileReply.model_validate(receipt.document(ledger.genesis))

    reply = ask(config, Question(path=_path(name), model=ReceiptFileReply, read=read))
    text = file_text(reply.model_dump())
    if output is None:
        typer.echo(text, nl=False)
        return
    write_new_file(output, text.encode("ascii"))
    typer.echo(f"receipt of transaction {reply.about['transaction']} in {output}")


@receipt_app.command(epilog=VERIFY_EXAMPLE)
def verify(
    file: Annotated[Path, typer.Argument(help="The receipt.", show_default=False)], genesis: GenesisOption
) -> None:
    """Check a receipt with nothing else at hand, and say what it proves, line by line.

    Exits with 0 if all of it holds, with 1 if not.
    """
    content = read_file(file)
    try:
        lines = check_receipt_file(content, load_genesis_file(genesis))
    except FileRefused as refused:
        raise FileRefused(f"{file} is NOT valid: {refused}") from None
    for line in lines:
        typer.echo(f"ok  {line}")
    typer.echo(f"{file} is valid.")


@receipt_app.command("ask", epilog=ASK_EXAMPLE)
def ask_command(
    name: NameArgument,
    genesis: GenesisOption,
    url: Annotated[list[str], typer.Option(help="API of a node; give several.", show_default=False)],
) -> None:
    """Ask several members for a receipt and count the equal answers: of F + 1, one is honest.

    Members are told apart by the signature under their answer, not by where it came from. Exits with 0 if at least
    F + 1 members answer the same.
    """
    require_id(name)
    chain = load_genesis_file(genesis)
    answers = asyncio.run(_ask_all(url, name, chain))
    needed = genesis_membership(chain).weak_quorum
    groups = _groups([receipt for _, receipt, _ in answers if receipt is not None])
    _show_answers(answers, groups)
    equal = max((len(members) for members in groups.values()), default=0)
    typer.echo(f"equal answers of different members: {equal}; needed: F + 1 = {needed}")
    if equal < needed:
        raise NodeError("not enough equal answers: ask more members, or the same ones again")


Answer = tuple[str, SignedReceipt | None, str]
"""Where it came from, the signed receipt if there is one, and what is to be said of it."""


async def _ask_all(urls: Sequence[str], name: str, genesis: Genesis) -> list[Answer]:
    return list(await asyncio.gather(*(asyncio.to_thread(_ask_one, url, name, genesis) for url in urls)))


def _ask_one(url: str, name: str, genesis: Genesis) -> Answer:
    try:
        reply = ask_url(url, _path(name), ReceiptFileReply)
        receipt = parse_receipt(file_text(reply.model_dump()).encode("ascii"), genesis)
    except NodeError as error:
        return url, None, str(error)
    try:
        check_receipt(receipt, genesis)
    except FileRefused as refused:
        return url, receipt, f"its proof does NOT hold: {refused}"
    return url, receipt, "its proof holds"


def _groups(receipts: Sequence[SignedReceipt]) -> dict[bytes, set[bytes]]:
    """Returns the members by what they answer; a member with two answers counts for neither."""
    by_member: dict[bytes, set[bytes]] = {}
    for receipt in receipts:
        by_member.setdefault(receipt.content.exporter, set()).add(answer_of(receipt))
    groups: dict[bytes, set[bytes]] = {}
    for member, answers in by_member.items():
        if len(answers) == 1:
            groups.setdefault(next(iter(answers)), set()).add(member)
    return groups


def _show_answers(answers: Sequence[Answer], groups: dict[bytes, set[bytes]]) -> None:
    order = sorted(groups, key=lambda answer: -len(groups[answer]))
    table = Table()
    for heading in ("asked", "member", "outcome", "answer", "proof"):
        table.add_column(heading, overflow="fold")
    for url, receipt, words in answers:
        if receipt is None:
            table.add_row(url, "-", "-", "-", words)
            continue
        answer, outcome = answer_of(receipt), receipt.content.proof.receipt
        group = f"number {order.index(answer) + 1}" if answer in groups else "contradicts itself"
        exporter = receipt.content.exporter
        table.add_row(url, label_of(exporter), outcome.status.value, group, words)
    output_console().print(table)


def _path(name: str) -> str:
    return f"/v1/trades/{quote(name, safe='')}/receipt"
