"""`p2pnode recover alone`: the operator's word that a node may sign again, where no other member can be asked."""

from pathlib import Path
from typing import Annotated, Final

import typer

from consensus.codec import encode
from consensus.events import UNANSWERED, EraStanding, SignState, fresh_sign_state, standing_in
from consensus.identifiers import Height
from consensus.recovery import asked_members, can_ask
from ledger.errors import LedgerError, LedgerUnreadable
from ledger.ledger import Ledger
from node.chain.records import PREPARED_KEY
from node.cli.options import YesOption, confirm
from node.errors import NodeError, SignStateError
from node.home.configuration import load_configuration
from node.home.folder import Home
from node.home.genesis_file import load_genesis
from node.home.halt import refuse_if_halted
from node.home.process import process_id_file
from node.home.sign_state import SignStateFile
from node.home.storage import eras_of, read_sign_state, set_aside

ALONE_EXAMPLE: Final = "Example: p2pnode recover alone --config node1/meter.toml"

_WARNING: Final = """\
A node remembers in its sign state what it has signed, so that it never signs two different things. Where that file \
is lost, damaged or older than what was signed, the node signs nothing.

This command makes a new sign state that lets {name} sign from height {height} on, on your word that

  1. its ledger is the newest there is: it ends at height {tip}, and no other member has a later block;
  2. its key is on no other machine, and nothing has signed with it since that block.

If one of these is wrong, the node may sign twice, and the chain may split.
"""

_OTHERS_KNOW: Final = """\
this chain has {members} members: the others say what {name} may have signed, nobody needs to give his word. Start \
it and wait; two blocks later it takes part again. Nothing was changed"""

_INTACT: Final = """\
nothing is wrong with {path}: it says what {name} signed up to height {height}; the ledger ends at {tip}. \
Without it the node could sign twice. Start it. Nothing was changed"""


def alone(
    config: Annotated[Path, typer.Option(help="The stopped node's meter.toml.", show_default=False)],
    yes: YesOption = False,  # noqa: FBT002
) -> None:
    """No ceremony: let a stopped node sign again whose sign state is lost, where no other member can be asked.

    Chains of one or two members need it after a lost disk. In larger ones a node asks the others by itself once it is
    started, and is refused here; where too many lost theirs, hold a ceremony (`p2pnode recover --help`).
    """
    configuration = load_configuration(config)
    home = configuration.home
    refuse_if_halted(home)
    with process_id_file(home):
        members, tip, has_prepared, standing = _read_ledger(home)
        name = configuration.node.name
        if can_ask(members):
            raise NodeError(_OTHERS_KNOW.format(members=members, name=name))
        signed = _remembered(home)
        if signed is not None and signed.height > tip and (signed.prepared is None or has_prepared):
            path, height = home.sign_state, signed.height
            raise NodeError(_INTACT.format(path=path, name=name, height=height, tip=tip))
        typer.echo(_WARNING.format(name=name, height=tip + 1, tip=tip))
        confirm("Let it sign again?", yes=yes)
        if home.sign_state.exists():
            set_aside(home.sign_state)
        SignStateFile.create(home.sign_state, encode(fresh_sign_state(Height(tip + 1), standing)))
    typer.echo(f"{name} signs again from height {tip + 1} on")


def _read_ledger(home: Home) -> tuple[int, Height, bool, EraStanding]:
    """Returns the number of members, the last height, whether the block that is prepared above it is there, and the
    standing of a member in the ledger's era.
    """
    try:
        ledger = Ledger.open(home.ledger, load_genesis(home), begun=eras_of(home))
    except LedgerUnreadable:
        raise
    except LedgerError as error:
        raise NodeError(
            f"{home.ledger}: {error}. Without a whole ledger nobody knows what this node may have signed. If there "
            "are peers, start it to fetch the ledger from them, then come back"
        ) from error
    try:
        members, has_prepared = len(asked_members(ledger.memberships())), PREPARED_KEY in ledger.undecided()
        return members, ledger.height, has_prepared, standing_in(ledger.eras.newest)
    finally:
        ledger.close()


def _remembered(home: Home) -> SignState | None:
    """Returns what the sign state knows; None if it is lost, damaged, or says itself that it is not all."""
    try:
        file = SignStateFile(home.sign_state)
    except SignStateError as error:
        if error.is_lost:
            return None
        raise
    try:
        signed = read_sign_state(file)
    except SignStateError:
        return None  # of another version
    finally:
        file.close()
    return None if signed.silent_through == UNANSWERED else signed
