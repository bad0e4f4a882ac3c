"""`p2pnode member return`: a member that was away while the others exchanged their keys finds them again."""

from pathlib import Path
from typing import Annotated, Final

import typer

from consensus.quorum import weak_quorum
from contracts.genesis import Genesis, chain_id
from ledger.block import block_digest
from ledger.errors import LedgerError
from ledger.ledger import Ledger
from ledger.side_files import write_whole
from ledger.trusted_sets import SetChange
from node.admission.joining.files import Street, read_street
from node.admission.next_keys import home_keys
from node.cli.homes.street import block_text, require_recent
from node.cli.options import YesOption, confirm
from node.errors import NodeError
from node.home.checkpoint_file import write_checkpoint
from node.home.configuration import load_configuration
from node.home.configuration_text import with_changes
from node.home.folder import Home
from node.home.genesis_file import load_genesis
from node.home.process import process_id_file
from node.home.storage import eras_of

RETURN_EXAMPLE: Final = """\
\b
1. p2pnode join street --config node1/meter.toml --output my-street.json
2. p2pnode member return my-street.json --config node4/meter.toml
3. p2pnode start --config node4/meter.toml"""


def return_(
    file: Annotated[Path, typer.Argument(help="A street file that a neighbour wrote.", show_default=False)],
    config: Annotated[Path, typer.Option(help="The stopped node's meter.toml.", show_default=False)],
    yes: YesOption = False,  # noqa: FBT002
) -> None:
    """Find the others again, after so long that they have other keys.

    A home knows the others by the keys that they had when it was last
    there. A street file, which a neighbour writes (1), proves those of
    today, and says where they are. The node must be stopped; once it runs
    it fetches what it missed.
    """
    configuration = load_configuration(config)
    home, street = configuration.home, read_street(file)
    genesis, point = load_genesis(home), street.checkpoint
    if point.chain != chain_id(genesis):
        raise NodeError(f"{file}: is of chain {point.chain.hex()}, and this home is on {chain_id(genesis).hex()}")
    require_recent(file, street)
    own_keys = {key.public_key for key in home_keys(home)}
    own = {address.hex() for address, key in (*point.undecided, *point.following) if key in own_keys}
    if not own:
        raise NodeError(f"{file}: this home is no member after block {point.height:,}. Nothing was changed")
    with process_id_file(home):
        _require_newer(home, genesis, street, file)
        confirm(
            f"{block_text(point)}: is this a block of your neighbours (p2pnode join check, at "
            f"{weak_quorum(len(point.following))} of them)? Go on by the members' keys of then?",
            yes=yes,
        )
        peers = tuple(peer for peer in street.peers if peer.address not in own)
        text = with_changes(home.configuration.read_text(encoding="utf-8"), p2p={"peers": peers})
        write_whole(home.configuration, text.encode())
        write_checkpoint(home.checkpoint, point)
    typer.echo(
        f"{configuration.node.name} knows the {len(point.following)} members after block {point.height:,}, and where "
        f"{len(peers)} of them are: start its node, which fetches the blocks that it missed"
    )


def _require_newer(home: Home, genesis: Genesis, street: Street, file: Path) -> None:
    """Refuses a file of a block that this home has, or with changes of the members that its blocks do not have."""
    if not home.ledger.exists():
        return
    try:
        ledger = Ledger.open(home.ledger, genesis, begun=eras_of(home))
    except LedgerError as error:
        raise NodeError(f"{home.ledger}: {error}") from error
    try:
        headers = [step.header for step in street.proof.changes if isinstance(step, SetChange)]
        for header in (*headers, street.proof.header):
            if header.height > ledger.height or ledger.lacks(header.height):
                continue
            if block_digest(ledger.decided_block(header.height).header) != block_digest(header):
                raise NodeError(
                    f"{file}: has another block {header.height:,} than this home: it is of another chain. Nothing "
                    "was changed"
                )
        if street.checkpoint.height <= ledger.height:
            raise NodeError(
                f"this home has block {street.checkpoint.height:,} of {file} already. Nothing was changed"
            )
    finally:
        ledger.close()
