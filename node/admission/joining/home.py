"""A home that joins a running chain: what it asks with, and all that its node starts with.

Keys were born here (`node/admission/new_home.py`) and stay. What the home says of who lives there is written down
with a random salt, for its verifiers alone; on the chain stands the hash of both.
"""

import secrets
import time
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding

from consensus.codec import encode
from consensus.cryptography import HashKind, digest
from consensus.events import fresh_sign_state
from consensus.identifiers import DIGEST_SIZE_BYTES, FIRST_HEIGHT, Digest
from contracts.genesis import chain_id
from contracts.transactions import Application, RequestJoin
from contracts.units import Milliseconds
from ledger.side_files import write_whole
from ledger.state_copy import SNAPSHOT_INTERVAL
from node.admission.chain import read_chain, require_chain, require_member
from node.admission.identity import certificate_key, load_key
from node.admission.joining.files import JoinIdentity, Street, write_join_identity, write_join_request
from node.admission.new_home import configured
from node.admission.voucher import vouchers_of
from node.errors import IdentityError, JoinError
from node.home.checkpoint_file import write_checkpoint
from node.home.configuration_text import with_changes
from node.home.folder import Home
from node.home.genesis_file import load_genesis, write_genesis
from node.home.sign_state import SignStateFile

NS_PER_MS: Final = 1_000_000


def terms_digest(terms: bytes) -> Digest:
    """Returns the name of a main contract: the hash of its document."""
    return digest(HashKind.COMMITMENT, encode(("p2pnode main contract", terms)))


def ask_to_join(home: Home, street: Street, *, certificate: bytes, identity: str, terms: Digest) -> RequestJoin:
    """Writes all that a home's node starts with, and returns what it asks with. Doing it again asks anew.

    Args:
        home: with its keys and its meter.toml, of this chain or of none yet.
        street: the chain.
        certificate: PEM of the home's certificate and its issuing authority's.
        identity: who lives there, as the verifiers are to be shown it.
        terms: name of the main contract.

    Raises:
        JoinError: the home takes part in another chain.
        IdentityError: a key is missing, or the certificate is not the home's, or vouches for nothing.
        ConfigurationError: meter.toml or genesis does not load.
    """
    _require_chain(home, street)
    request, shown = _asked(home, street, certificate=certificate, identity=identity, terms=terms)
    peers = tuple(peer for peer in street.peers if peer.address != load_key(home.node_key).address.hex())
    is_first = not home.genesis.exists()
    text = (
        with_changes(configured(home, street.genesis, peers), node={"begins_with": beginning_for(street)})
        if is_first
        else with_changes(home.configuration.read_text(encoding="utf-8"), p2p={"peers": peers})
    )
    write_join_identity(home.join_identity, shown)
    if is_first and not home.sign_state.exists():
        SignStateFile.create(home.sign_state, encode(fresh_sign_state(FIRST_HEIGHT)))
    write_whole(home.authority_certificate, street.root.public_bytes(Encoding.PEM))
    write_whole(home.certificate, certificate)
    write_whole(home.configuration, text.encode())
    write_join_request(home.join_request, request)
    write_checkpoint(home.checkpoint, street.checkpoint)
    write_genesis(home, street.genesis)  # last: who has it begins nothing afresh
    return request


def beginning_for(street: Street) -> str:
    """Returns what a home begins with that has no reason of its own: the state of a late block where the members have
    copies of it, every block where the chain is short.
    """
    return "snapshot" if street.checkpoint.height >= SNAPSHOT_INTERVAL else "genesis"


def _require_chain(home: Home, street: Street) -> None:
    """Refuses a home that knows another chain, or has a ledger of one that nothing names any more."""
    if home.genesis.exists():
        is_other = chain_id(load_genesis(home)) != chain_id(street.genesis)
    else:
        is_other = home.ledger.exists()
    if is_other:
        raise JoinError(f"{home.directory}: takes part in another chain already, and is not changed")


def _asked(
    home: Home, street: Street, *, certificate: bytes, identity: str, terms: Digest
) -> tuple[RequestJoin, JoinIdentity]:
    """Returns the request, signed by both keys of the home, and the identity that it commits to."""
    node_key, meter_key, chain = load_key(home.node_key), load_key(home.meter_key), read_chain(certificate)
    require_chain(chain, street.root)
    require_member(chain[0])
    if certificate_key(chain[0]) != node_key.public_key:
        raise IdentityError(f"the certificate is not that of {home.node_key}")
    vouchers = vouchers_of(chain, certificate_key(street.root))
    if vouchers.home.meter_key != meter_key.public_key:
        raise IdentityError(f"the certificate is of another meter than {home.meter_key}")
    shown = JoinIdentity(salt=Digest(secrets.token_bytes(DIGEST_SIZE_BYTES)), identity=identity)
    application = Application(
        chain=chain_id(street.genesis),
        number=Milliseconds(time.time_ns() // NS_PER_MS),
        node_key=node_key.public_key,
        meter_key=meter_key.public_key,
        identity=shown.commitment,
        terms=terms,
    )
    signed = encode(application)
    request = RequestJoin(
        application=application,
        node_signature=node_key.sign(signed),
        meter_signature=meter_key.sign(signed),
        vouchers=vouchers,
    )
    return request, shown
