"""What happens to homes: files are lost, a house burns down."""

from typing import Final

from consensus.events import SignState
from ledger.ledger import Ledger
from node.home.era_files import begun_eras
from node.home.folder import Home
from node.home.genesis_file import load_genesis
from node.home.sign_state import SignStateFile
from node.home.storage import read_sign_state
from tests.support.testnet import Node

GONE_SUFFIX: Final = ".gone"


def lose_sign_state(node: Node) -> None:
    node.home.sign_state.unlink()


def lose_records(node: Node) -> None:
    """Loses the proposal, the certificate and the copy of the sign state that the ledger keeps of its next height."""
    ledger = Ledger.open(node.home.ledger, load_genesis(node.home), begun=begun_eras(node.home))
    try:
        ledger.drop_undecided()
    finally:
        ledger.close()


def sign_state_of(node: Node) -> SignState:
    """Returns what a stopped node's sign state says."""
    file = SignStateFile(node.home.sign_state)
    try:
        return read_sign_state(file)
    finally:
        file.close()


def has_records(node: Node) -> bool:
    """Says whether a stopped node signed something that needs a record, at a height that it has not decided."""
    signed = sign_state_of(node)
    return (signed.voted is not None or signed.prepared is not None) and signed.height == height_of(node) + 1


def height_of(node: Node) -> int:
    """Returns the last decided height of a stopped node."""
    ledger = Ledger.open(node.home.ledger, load_genesis(node.home), begun=begun_eras(node.home))
    try:
        return ledger.height
    finally:
        ledger.close()


def burn_down(node: Node) -> Home:
    """Takes a member's home away; returns where it is kept, to be looked into after the run."""
    kept = node.home.directory.with_name(node.name + GONE_SUFFIX)
    node.home.directory.rename(kept)
    return Home(kept)
