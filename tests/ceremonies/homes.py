"""What happens to homes: files are lost, a house burns down, a new home takes its place."""

import shutil
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from consensus.codec import encode
from consensus.events import SignState, fresh_sign_state
from consensus.identifiers import FIRST_HEIGHT
from ledger.ledger import Ledger
from node.admission.authority import Authority
from node.admission.identity import create_key
from node.home.era_files import begun_eras
from node.home.folder import Home
from node.home.genesis_file import load_genesis
from node.home.sign_state import SignStateFile
from node.home.storage import read_sign_state
from node.testnet.folder import AUTHORITY_KEY_NAME
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


def build_anew(node: Node, burnt: Home, street: Path) -> None:
    """Makes a new home in a member's place: new keys, a certificate by the authority, the place of the old one.

    Its neighbours reach it where they reached the old one.
    """
    new = node.home
    new.directory.mkdir(mode=0o700)
    for path in (burnt.genesis, burnt.genesis_text, burnt.authority_certificate, burnt.configuration):
        shutil.copy(path, new.directory)
    key = create_key(new.node_key)
    create_key(new.meter_key)
    new.certificate.write_bytes(_authority(street, burnt).issue(node.name, key.public_key, host="127.0.0.1"))
    SignStateFile.create(new.sign_state, encode(fresh_sign_state(FIRST_HEIGHT)))


def _authority(street: Path, home: Home) -> Authority:
    """Returns the street's authority: its key lies in the testnet's folder."""
    authority = Authority.__new__(Authority)
    authority._key = load_pem_private_key((street / AUTHORITY_KEY_NAME).read_bytes(), password=None)  # type: ignore[assignment]
    authority.certificate = x509.load_pem_x509_certificate(home.authority_certificate.read_bytes())
    return authority
