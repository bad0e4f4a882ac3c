"""A home that joins a running chain: what it asks with, and all that its node starts with.

Keys were born here (`new_home.py`) and stay. What the home says of who lives there is written down with a random
salt, for its verifiers alone; on the chain stands the hash of both.
"""

import json
import secrets
import time
from pathlib import Path
from typing import Final

from consensus.codec import encode
from consensus.cryptography import HashKind, SigningKey, digest
from consensus.events import fresh_sign_state
from consensus.identifiers import FIRST_HEIGHT, Digest
from contracts.genesis import chain_id
from contracts.transactions import Application, RequestJoin
from contracts.units import Milliseconds
from contracts.vouchers import Vouchers
from ledger.side_files import write_whole
from node.admission.chain import read_chain, require_chain, require_member
from node.admission.identity import certificate_key, load_key, write_private
from node.admission.join_file import StreetFile, root_of, write_join_request
from node.admission.voucher import vouchers_of
from node.errors import IdentityError, JoinError
from node.home.configuration import PeerEntry
from node.home.configuration_text import with_changes
from node.home.folder import Home
from node.home.genesis_file import load_genesis, write_genesis
from node.home.sign_state import SignStateFile

SALT_SIZE_BYTES: Final = 32


def identity_commitment(salt: bytes, identity: str) -> Digest:
    """Returns what stands on the chain of who lives in a home."""
    return digest(HashKind.COMMITMENT, encode((salt, identity)))


def terms_digest(terms: bytes) -> Digest:
    """Returns the name of a main contract: the hash of its document."""
    return digest(HashKind.COMMITMENT, encode(("p2pnode main contract", terms)))


def ask_to_join(
    home: Home, street: StreetFile, street_file: Path, *, certificate: bytes, identity: str, terms: Digest
) -> RequestJoin:
    """Writes all that a home's node starts with, and returns what it asks with. Doing it again asks anew.

    Args:
        home: with its keys and its meter.toml, of a chain or of none yet.
        street: as read.
        street_file: where it was read from, for messages.
        certificate: PEM of the home's certificate and its issuing authority's.
        identity: who lives there, as the verifiers are to be shown it.
        terms: name of the main contract.

    Raises:
        JoinError: the home takes part in another chain.
        IdentityError: a key is missing, or the certificate is not the home's.
    """
    node_key, meter_key = load_key(home.node_key), load_key(home.meter_key)
    vouchers = _vouchers(home, street, street_file, certificate, node_key)
    if vouchers.home.meter_key != meter_key.public_key:
        raise IdentityError(f"the certificate is of another meter than {home.meter_key}")
    if home.genesis.exists() and chain_id(load_genesis(home)) != chain_id(street.genesis):
        raise JoinError(f"{home.directory}: takes part in another chain already, and is not changed")
    salt = secrets.token_bytes(SALT_SIZE_BYTES)
    application = Application(
        chain=chain_id(street.genesis),
        number=Milliseconds(time.time_ns() // 1_000_000),
        node_key=node_key.public_key,
        meter_key=meter_key.public_key,
        identity=identity_commitment(salt, identity),
        terms=terms,
    )
    signed = encode(application)
    request = RequestJoin(
        application=application,
        node_signature=node_key.sign(signed),
        meter_signature=meter_key.sign(signed),
        vouchers=vouchers,
    )
    _write(home, street, certificate, request, salt=salt, identity=identity)
    return request


def _vouchers(
    home: Home, street: StreetFile, street_file: Path, certificate: bytes, node_key: SigningKey
) -> Vouchers:
    root, chain = root_of(street, street_file), read_chain(certificate)
    require_chain(chain, root)
    require_member(chain[0])
    if certificate_key(chain[0]) != node_key.public_key:
        raise IdentityError(f"the certificate is not that of {home.node_key}")
    return vouchers_of(chain, street.genesis.authority_key)


def _write(
    home: Home, street: StreetFile, certificate: bytes, request: RequestJoin, *, salt: bytes, identity: str
) -> None:
    home.join_identity.unlink(missing_ok=True)
    shown = {"salt": salt.hex(), "identity": identity}
    write_private(home.join_identity, (json.dumps(shown, indent=2) + "\n").encode())
    if not home.sign_state.exists() and not home.ledger.exists():
        SignStateFile.create(home.sign_state, encode(fresh_sign_state(FIRST_HEIGHT)))
    write_whole(home.authority_certificate, street.authority.encode())
    write_whole(home.certificate, certificate)
    peers = tuple(
        PeerEntry(name=contact.name, address=contact.address.hex(), host=contact.host, port=contact.port)
        for contact in street.contacts
        if contact.address != load_key(home.node_key).address
    )
    text = with_changes(home.configuration.read_text(encoding="utf-8"), p2p={"peers": peers})
    write_whole(home.configuration, text.encode())
    write_join_request(home.join_request, request)
    write_genesis(home, street.genesis)  # last: who has it begins nothing afresh
