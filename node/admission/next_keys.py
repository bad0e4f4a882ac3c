"""The next key of a home, of its node or of its meter: born beside the present one, and in its place once the chain
has it.

    next/   node.key or meter.key, and node.csr    the authority is asked for the certificate
            node.crt                               the chain is asked, and both keys are in use as the chain says
    taken/                                         the chain has no use for the old key: the files take its place

One exchange at a time: a voucher is of a new key beside the other one that the chain has. Each step may be repeated,
and is whole after a crash: what is in `next` is not in use before the chain has it, and what is in `taken` is moved
file by file, before anything else is read.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from consensus.cryptography import SigningKey
from consensus.identifiers import Address, Digest, PublicKey
from contracts.transactions import KeyUse, Renew, ReplaceMeter, RotateKey, replacement, rotation
from ledger.side_files import sync_directory, write_whole
from node.admission.chain import read_chain, require_chain, require_member
from node.admission.endpoint import endpoint_of
from node.admission.identity import (
    Identity,
    certificate_key,
    create_key,
    load_certified_key,
    load_chain,
    load_identity,
    load_key,
    load_root,
)
from node.admission.meter_claim import claim_meter
from node.admission.request import make_request
from node.admission.voucher import vouchers_of
from node.errors import IdentityError
from node.home.folder import Home

FOLDER_MODE: Final = 0o700


class StateOfKeys(NamedTuple):
    """What the chain's state says of a member's keys."""

    acting: PublicKey
    """Of its node: signs transactions in the next block, and votes at the latest two heights later."""
    voting: PublicKey | None
    """Of its node, at the undecided height; None while it is no member."""
    meter: PublicKey


# --- asking ----------------------------------------------------------------------------------------------------


def begun_exchange(home: Home) -> KeyUse | None:
    """Returns which key of a home has a next one in its folder; None if none has."""
    if home.next.node_key.exists():
        return KeyUse.NODE
    return KeyUse.METER if home.next.meter_key.exists() else None


def prepare(home: Home, use: KeyUse, *, name: str, capacity_w: int) -> None:
    """Makes the next key and the request for its certificate; what is there already stays.

    Args:
        home: with its present keys and certificate.
        use: which key gets a next one.
        name: of the household, for the authority.
        capacity_w: of the home's connection, as the chain has it.

    Raises:
        IdentityError: the home has no certificate that names where it is reached, a key file is not usable, or the
            disk does not take it.
    """
    own = _next_key_file(home, use)
    with _writing(home.next):
        home.next.directory.mkdir(mode=FOLDER_MODE, exist_ok=True)
        if not own.exists():
            create_key(own)
            sync_directory(home.next.directory)
    if home.next.request.exists():
        return
    certificate = load_chain(home.certificate)[0]
    endpoint = endpoint_of(certificate.extensions)
    if endpoint is None:
        raise IdentityError(f"{home.certificate}: names no place where this home is reached")
    node_key, meter_key = _keys_asked_for(home, use)
    claim = claim_meter(node_key.public_key, meter_key, capacity_w)
    asking = home.next if use is KeyUse.NODE else home
    request = make_request(name, asking.node_key, endpoint, claim)
    with _writing(home.next):
        write_whole(home.next.request, request)


def take_certificate(home: Home, use: KeyUse, certificate: bytes) -> None:
    """Puts the certificate that the authority gave beside the next key.

    Raises:
        IdentityError: it is of another key or another meter, not the authority's, or vouches for nothing; or the disk
            does not take it.
    """
    node_key, meter_key = _keys_asked_for(home, use)
    chain, root = read_chain(certificate), load_root(home.authority_certificate)
    require_chain(chain, root)
    require_member(chain[0])
    if certificate_key(chain[0]) != node_key.public_key:
        raise IdentityError(f"the certificate is not of the key that {home.next.request} asks for")
    if vouchers_of(chain, certificate_key(root)).home.meter_key != meter_key.public_key:
        raise IdentityError(f"the certificate is of another meter than {home.next.request} asks for")
    with _writing(home.next):
        write_whole(home.next.certificate, certificate)


def renewal_of(home: Home, certificate: bytes) -> Renew:
    """Returns how the chain is told of a certificate of this home's present keys.

    Raises:
        IdentityError: it is of another key or another meter, not the authority's, or vouches for nothing; or a file
            is not usable.
    """
    chain, root = read_chain(certificate), load_root(home.authority_certificate)
    require_chain(chain, root)
    require_member(chain[0])
    keys = load_key(home.node_key).public_key, load_key(home.meter_key).public_key
    vouchers = vouchers_of(chain, certificate_key(root))
    if (vouchers.home.node_key, vouchers.home.meter_key) != keys:
        raise IdentityError("the certificate is of another node key or meter than this home has")
    return Renew(vouchers=vouchers)


def put_certificate(home: Home, certificate: bytes) -> None:
    """Puts a certificate of this home's present keys in the place of the one that it has.

    Raises:
        IdentityError: the disk does not take it.
    """
    with _writing(home):
        write_whole(home.certificate, certificate)


def action_of(home: Home, use: KeyUse, chain: Digest, member: Address) -> RotateKey | ReplaceMeter:
    """Returns what the chain is asked with; the certificate is there.

    Raises:
        IdentityError: a file is not usable.
    """
    node_key, meter_key = _keys_asked_for(home, use)
    vouchers = vouchers_of(load_chain(home.next.certificate), certificate_key(load_root(home.authority_certificate)))
    if use is KeyUse.NODE:
        return rotation(chain, member, node_key, vouchers)
    return replacement(chain, member, meter_key, vouchers)


def discard(home: Home) -> None:
    """Removes a next key that the chain does not have.

    Raises:
        IdentityError: the disk does not take it.
    """
    with _writing(home.next):
        shutil.rmtree(home.next.directory)
        sync_directory(home.directory)


def next_key(home: Home, use: KeyUse) -> PublicKey:
    """Returns the next key of a home.

    Raises:
        IdentityError: its file is not usable.
    """
    return load_key(_next_key_file(home, use)).public_key


def _next_key_file(home: Home, use: KeyUse) -> Path:
    return home.next.node_key if use is KeyUse.NODE else home.next.meter_key


def _keys_asked_for(home: Home, use: KeyUse) -> tuple[SigningKey, SigningKey]:
    nodes, meters = (home.next, home) if use is KeyUse.NODE else (home, home.next)
    return load_key(nodes.node_key), load_key(meters.meter_key)


# --- in use ----------------------------------------------------------------------------------------------------


def home_keys(home: Home) -> tuple[SigningKey, ...]:
    """Returns the node keys of a home that have a certificate: the present one, and the next one.

    Raises:
        IdentityError: a file is not usable.
    """
    present = load_certified_key(home)
    return (present, load_certified_key(home.next)) if _is_certified(home, KeyUse.NODE) else (present,)


def load_identities(home: Home) -> tuple[Identity, ...]:
    """Returns the identities of a home, one for each node key, the present one first.

    Raises:
        IdentityError: as `load_identity`.
    """
    finish_taking(home)
    present = load_identity(home)
    return (present, load_identity(home, home.next)) if _is_certified(home, KeyUse.NODE) else (present,)


def is_in_force(home: Home, state: StateOfKeys) -> bool:
    """Says whether the chain has the next key, so that the node takes it into use."""
    use = begun_exchange(home)
    if use is None or not _is_certified(home, use):
        return False
    return next_key(home, use) == (state.acting if use is KeyUse.NODE else state.meter)


def may_take(home: Home, state: StateOfKeys) -> bool:
    """Says whether the chain has the next key and no use for the old one: it votes at no undecided height."""
    is_done = begun_exchange(home) is KeyUse.METER or state.voting in (state.acting, None)
    return is_done and is_in_force(home, state)


def take(home: Home) -> None:
    """Puts the next key in the place of the old one, which is erased by that.

    Raises:
        IdentityError: the disk does not take it; doing it again goes on.
    """
    with _writing(home.taken):
        home.next.directory.rename(home.taken.directory)
        sync_directory(home.directory)
    finish_taking(home)


def finish_taking(home: Home) -> None:
    """Goes on where a crash interrupted `take`.

    Raises:
        IdentityError: as `take`.
    """
    taken = home.taken
    if not taken.directory.exists():
        return
    moves = (
        (taken.certificate, home.certificate),
        (taken.node_key, home.node_key),
        (taken.meter_key, home.meter_key),
    )
    with _writing(taken):
        for source, target in moves:
            if source.exists():
                source.replace(target)
        sync_directory(home.directory)
        shutil.rmtree(taken.directory)
        sync_directory(home.directory)


@contextmanager
def _writing(folder: Home) -> Iterator[None]:
    """Tells people what the disk does not take."""
    try:
        yield
    except OSError as error:
        raise IdentityError(f"{folder.directory} cannot be written or moved: {error.strerror}") from None


def _is_certified(home: Home, use: KeyUse) -> bool:
    return begun_exchange(home) is use and home.next.certificate.exists()
