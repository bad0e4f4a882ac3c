"""`p2pnode evidence`: who contradicted itself, what proves it, and whether a proof from elsewhere holds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import quote

import typer

from contracts.genesis import Genesis
from ledger.ledger import Ledger
from node.cli.asking import Question, ask
from node.cli.options import ConfigOption, GenesisOption, JsonOption
from node.cli.story_tables import show_misconduct as print_misconduct
from node.cli.story_tables import show_misconducts, show_pending_misconduct
from node.cli.terminal import error_console, output_console
from node.errors import FileRefused, NotFound
from node.home.configuration import load_configuration
from node.home.folder import Home
from node.home.genesis_file import load_genesis, load_genesis_file
from node.home.new_file import require_new_file, write_new_file
from node.names.names import names_of_home
from node.proofs.evidence_file import (
    Proof,
    check_evidence_file,
    evidence_text,
    pending_evidence,
    prove_evidence,
    show_pending,
)
from node.proofs.signed_file import read_file
from node.replies.stories import MisconductReply, MisconductsReply, PendingMisconduct
from node.stories.member_names import PREFIX
from node.stories.misconduct import OFFENCES, UNKNOWN_EVIDENCE, list_misconduct, show_misconduct
from node.stories.slices import Slices

LIST_EXAMPLE: Final = "Example: p2pnode evidence list --config testnet/node1/meter.toml"
SHOW_EXAMPLE: Final = (
    "Example: p2pnode evidence show 3f2a9c41d07be865 --config testnet/node1/meter.toml --output evidence.json"
)
VERIFY_EXAMPLE: Final = "Example: p2pnode evidence verify evidence.json --genesis genesis.json"

evidence_app = typer.Typer(
    name="evidence",
    no_args_is_help=True,
    help="Members that contradicted themselves, and what proves it.",
    epilog=VERIFY_EXAMPLE,
)


@evidence_app.command("list", epilog=LIST_EXAMPLE)
def list_command(config: ConfigOption, as_json: JsonOption = False) -> None:  # noqa: FBT002
    """List proven misconduct on the chain, and what this node keeps that no block has yet (pending)."""

    def read(ledger: Ledger, home: Home) -> Slices[MisconductsReply]:
        yield from ()
        return list_misconduct(ledger, names_of_home(home))

    reply = ask(config, Question(path="/v1/evidence", model=MisconductsReply, read=read))
    if as_json:
        typer.echo(reply.model_dump_json(indent=2))
        return
    home = load_configuration(config).home
    known = {item.misconduct for item in reply.misconducts}
    show_misconducts(output_console(), reply.misconducts, _pending(home, known))


def _pending(home: Home, known: set[str]) -> list[tuple[str, str, str]]:
    genesis = load_genesis(home)
    rows = []
    for proof in _kept_proofs(home, genesis):
        if proof.name.hex() not in known:
            words = f"{OFFENCES[proof.offence]} ({proof.offence})"
            rows.append((proof.name.hex(), names_of_home(home).of(proof.evidence.offender), words))
    return rows


def _kept_proofs(home: Home, genesis: Genesis) -> Iterator[Proof]:
    """Yields what the node's folder proves; says which of its files prove nothing."""
    for path, proof in pending_evidence(home.evidence, genesis):
        if isinstance(proof, FileRefused):
            error_console().print(f"passed over {path}: {proof}", markup=False)
        else:
            yield proof


@evidence_app.command(epilog=SHOW_EXAMPLE)
def show(
    name: Annotated[str, typer.Argument(metavar="ID", help="Its id; the first 8 or more digits do.")],
    config: ConfigOption,
    output: Annotated[
        Path | None, typer.Option(help="Make a file of it that proves itself.", show_default=False)
    ] = None,
    as_json: JsonOption = False,  # noqa: FBT002
) -> None:
    """Show a proven misconduct with both signed statements; with --output, write it for others to check.

    What the chain does not have yet is looked for among what this node keeps (pending).
    """
    if output is not None:
        require_new_file(output, option="--output")

    def read(ledger: Ledger, home: Home) -> Slices[MisconductReply]:
        yield from ()
        return show_misconduct(ledger, names_of_home(home), name)

    reply: MisconductReply | PendingMisconduct
    try:
        reply = ask(config, Question(path=f"/v1/evidence/{quote(name, safe='')}", model=MisconductReply, read=read))
    except NotFound as unknown:
        if unknown.reason != UNKNOWN_EVIDENCE or not PREFIX.fullmatch(name):
            raise
        reply = _pending_one(load_configuration(config).home, name, unknown)
    if output is not None:
        genesis = load_genesis(load_configuration(config).home)
        proof = prove_evidence(bytes.fromhex(reply.encoded), genesis)
        text = evidence_text(proof.evidence, proof.offence)
        write_new_file(output, text.encode("ascii"))
        typer.echo(f"evidence {proof.name.hex()} in {output}")
    elif as_json:
        typer.echo(reply.model_dump_json(indent=2))
    elif isinstance(reply, PendingMisconduct):
        show_pending_misconduct(output_console(), reply)
    else:
        print_misconduct(output_console(), reply)


def _pending_one(home: Home, name: str, unknown: NotFound) -> PendingMisconduct:
    genesis = load_genesis(home)
    found = [proof for proof in _kept_proofs(home, genesis) if proof.name.hex().startswith(name.lower())]
    if len(found) > 1:
        raise NotFound("ambiguous_name", f"{name} is the beginning of {len(found)} ids: give more digits")
    if not found:
        raise NotFound(unknown.reason, f"{unknown}, and this node keeps none") from None
    return show_pending(found[0], names_of_home(home))


@evidence_app.command(epilog=VERIFY_EXAMPLE)
def verify(
    file: Annotated[Path, typer.Argument(help="The evidence.", show_default=False)], genesis: GenesisOption
) -> None:
    """Check evidence without a node: the two signatures and the member's key in genesis are enough.

    Exits with 0 if it proves what it says, with 1 if not.
    """
    content, chain = read_file(file), load_genesis_file(genesis)
    try:
        proof = check_evidence_file(content, chain)
    except FileRefused as refused:
        raise FileRefused(f"{file} is NOT valid: {refused}") from None
    offender = proof.evidence.offender
    typer.echo(f"ok  both statements are signed by the node key of {offender.hex()}")
    typer.echo(f"ok  together they prove {proof.offence}: it {OFFENCES[proof.offence]}")
    typer.echo(f"{file} is valid: misconduct {proof.name.hex()}")
