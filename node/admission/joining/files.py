"""What a home needs to join a chain, what it asks with, and what its verifiers see: files that people pass on.

A *street file* comes from any member: the rules, the authority's root, the newest block with what proves it and the
members' keys of today (`ledger/checkpoint.py`), and where these are to be found first. Nothing in it is secret.
Whoever gives it can keep a home from the chain, or show it another one: its name, the hash of the rules, and the
block's are compared with a neighbour's. The root is held against the home's own certificate: genesis names the
authority's first key alone, which may have been replaced since.

A *join request* goes back: the application that both keys signed and the authority's vouchers. It holds no name.

A *join identity* says who lives there, with the salt of what the chain has of it. Only verifiers see it.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import Meta
from pydantic import ValidationError

from consensus.codec import DecodeError, Record, decode, encode
from consensus.cryptography import HashKind, digest
from consensus.identifiers import Digest
from contracts.errors import GenesisRefused
from contracts.genesis import Genesis, chain_id
from contracts.genesis_state import check_genesis
from contracts.transactions import AddressBytes, DigestBytes, RequestJoin
from ledger.checkpoint import PROOF_SIZE_BYTES_MAX, Checkpoint, CheckpointProof, checkpoint_of
from ledger.errors import CheckpointRefused
from ledger.side_files import write_whole
from node.admission.chain import read_chain, require_root
from node.admission.identity import write_private
from node.errors import IdentityError, JoinError
from node.home.configuration import PEERS_MAX, PeerEntry
from node.home.json_record import json_of, read_json_record

R = TypeVar("R", bound=Record)

FILE_SIZE_BYTES_MAX: Final = 2 * PROOF_SIZE_BYTES_MAX + 1024 * 1024
"""A proof in hexadecimal, and 256 members with their places, which take about 150 kB."""

IDENTITY_LENGTH_MAX: Final = 4_096
IDENTITY_SIZE_BYTES_MAX: Final = 4_096
"""Of its UTF-8: what one box holds."""


@dataclass(frozen=True, kw_only=True)
class Street:
    """What a home needs of a chain before it can ask anything."""

    genesis: Genesis
    root: x509.Certificate
    """The authority's."""
    proof: CheckpointProof
    """Of a block that was the newest when the file was made."""
    peers: tuple[PeerEntry, ...]
    """Where members of then are to be found first: one at least."""

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """What the proof proves; it takes milliseconds for each change of the members.

        Raises:
            CheckpointRefused: nothing.
        """
        return checkpoint_of(self.proof, self.genesis)


class JoinIdentity(Record, frozen=True, kw_only=True, tag="p2pnode-2-join-identity"):
    """Who lives in a home that wants to join."""

    salt: DigestBytes
    """Random: without it nobody can try names against what the chain has."""
    identity: Annotated[str, Meta(max_length=IDENTITY_LENGTH_MAX)]
    """As the verifiers are to see it."""

    @property
    def commitment(self) -> Digest:
        """Returns what stands on the chain of it."""
        return digest(HashKind.COMMITMENT, encode((self.salt, self.identity)))


class _Contact(Record, frozen=True, kw_only=True):
    """A peer as it is written."""

    address: AddressBytes
    host: str
    port: int


class _StreetFile(Record, frozen=True, kw_only=True, tag="p2pnode-3-street"):
    """A street as it is written."""

    chain: DigestBytes
    """For people: it follows from genesis."""
    genesis: Genesis
    authority: str
    """The root's certificate, PEM."""
    proof: Annotated[bytes, Meta(max_length=PROOF_SIZE_BYTES_MAX)]
    """Of the checkpoint, encoded."""
    contacts: Annotated[tuple[_Contact, ...], Meta(min_length=1, max_length=PEERS_MAX)]


def read_street(path: Path) -> Street:
    """Returns a street that holds together: rules that a chain may have, one root, places that can be dialled.

    Raises:
        JoinError: it cannot be read, is none, or does not hold together.
    """
    file = _read(path, _StreetFile, "street file")
    if file.chain != chain_id(file.genesis):
        raise JoinError(f"{path}.chain: does not follow from genesis: it was changed by hand, or damaged")
    try:
        check_genesis(file.genesis)
        street = Street(
            genesis=file.genesis,
            root=_root(file.authority),
            proof=decode(file.proof, CheckpointProof),
            peers=_peers(file.contacts),
        )
        _require_members(street)
    except (GenesisRefused, IdentityError) as error:
        raise JoinError(f"{path}: {error}") from None
    except (DecodeError, CheckpointRefused) as error:
        raise JoinError(f"{path}.proof: {error}") from None
    return street


def write_street(path: Path, street: Street) -> None:
    """Writes a street file in the place of an earlier one."""
    contacts = tuple(_Contact(address=peer.address_bytes, host=peer.host, port=peer.port) for peer in street.peers)
    authority = street.root.public_bytes(Encoding.PEM).decode("ascii")
    file = _StreetFile(
        chain=chain_id(street.genesis),
        genesis=street.genesis,
        authority=authority,
        proof=encode(street.proof),
        contacts=contacts,
    )
    write_whole(path, json_of(file))


def _root(pem: str) -> x509.Certificate:
    root, *more = read_chain(pem.encode())
    if more:
        raise IdentityError(f"authority: there are {1 + len(more)} certificates, and a street has one root")
    require_root(root)
    return root


def _require_members(street: Street) -> None:
    checkpoint = street.checkpoint
    members = {address for address, _ in (*checkpoint.undecided, *checkpoint.following)}
    for peer in street.peers:
        if peer.address_bytes not in members:
            raise IdentityError(f"contacts: {peer.address} is no member after block {checkpoint.height}")


def _peers(contacts: tuple[_Contact, ...]) -> tuple[PeerEntry, ...]:
    if len({contact.address for contact in contacts}) < len(contacts):
        raise IdentityError("contacts: two are of one address")
    peers = []
    for contact in contacts:
        try:
            address = contact.address.hex()
            peers.append(PeerEntry(address=address, host=contact.host, port=contact.port))
        except ValidationError as error:
            fault = error.errors()[0]
            raise IdentityError(f"contacts.{fault['loc'][0]}: {fault['msg']}") from None
    return tuple(peers)


def read_join_request(path: Path) -> RequestJoin:
    """Returns a join request; what it says every member checks when it is on the chain.

    Raises:
        JoinError: it cannot be read, or is none.
    """
    return _read(path, RequestJoin, "join request")


def write_join_request(path: Path, request: RequestJoin) -> None:
    """Writes a join request in the place of an earlier one."""
    write_whole(path, json_of(request))


def read_join_identity(path: Path) -> JoinIdentity:
    """Returns what a home showed a verifier, fit to be printed.

    Raises:
        JoinError: it cannot be read, is none, or is not as `fault_of_identity` says.
    """
    shown = _read(path, JoinIdentity, "identity of a home that joins")
    require_identity(shown.identity, path)
    return shown


def write_join_identity(path: Path, identity: JoinIdentity) -> None:
    """Writes who lives in a home, in the place of an earlier one, so that only its owner may read it."""
    path.unlink(missing_ok=True)
    write_private(path, json_of(identity))


def fault_of_identity(identity: str) -> str | None:
    """Says what is wrong with an identity; None if it may be shown.

    A verifier's terminal shows what a stranger wrote: lines of printable characters alone, no more than a box holds.
    """
    size_bytes = len(identity.encode())
    if size_bytes > IDENTITY_SIZE_BYTES_MAX:
        return f"the identity has {size_bytes:,} bytes, and {IDENTITY_SIZE_BYTES_MAX:,} are allowed"
    for number, line in enumerate(identity.split("\n"), start=1):
        if not line.isprintable():  # neither controls nor what turns the direction of writing are
            return f"line {number} of the identity has a character that cannot be printed"
    return None


def require_identity(identity: str, path: Path) -> None:
    """Refuses what is not as `fault_of_identity` says.

    Raises:
        JoinError: names the file, and the line.
    """
    fault = fault_of_identity(identity)
    if fault is not None:
        raise JoinError(f"{path}: {fault}")


def _read(path: Path, record: type[R], what: str) -> R:
    return read_json_record(path, record, what=what, size_bytes_max=FILE_SIZE_BYTES_MAX, refused=JoinError)
