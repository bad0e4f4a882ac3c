"""What a home needs to join a chain, and what it asks with: two files that people can read and pass on.

A *street file* comes from any member: the rules, the authority's root, where the members are to be found first.
Nothing in it is secret. Whoever gives it can keep a home from the chain, or show it another one: its name, the hash
of the rules, is compared with a neighbour's as a home founds a chain.

A *join request* goes back: the application that both keys signed and the authority's vouchers. It holds no name.
"""

import json
from pathlib import Path
from typing import Annotated, Final, TypeVar

from cryptography import x509
from msgspec import Meta

from consensus.codec import Record, encode
from consensus.rendering import render, unrender
from contracts.errors import GenesisRefused
from contracts.genesis import Genesis, chain_id
from contracts.genesis_state import check_genesis
from contracts.transactions import AddressBytes, RequestJoin
from ledger.side_files import write_whole
from node.admission.chain import read_chain, require_root
from node.admission.identity import certificate_key
from node.errors import IdentityError, JoinError
from node.home.bounded_file import FileTooLargeError, read_bounded

R = TypeVar("R", bound=Record)

FILE_SIZE_BYTES_MAX: Final = 1024 * 1024
"""256 members with their places take about 150 kB."""

SHOWN_LENGTH_MAX: Final = 200
"""Of what is wrong in a file of any size."""

CONTACTS_MAX: Final = 256


class Contact(Record, frozen=True, kw_only=True):
    """Where a member is to be found first."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    address: AddressBytes
    host: Annotated[str, Meta(min_length=1, max_length=253)]
    port: Annotated[int, Meta(ge=1, le=65_535)]


class StreetFile(Record, frozen=True, kw_only=True, tag="p2pnode-2-street"):
    """What a home needs of a chain before it can ask anything."""

    genesis: Genesis
    authority: Annotated[str, Meta(max_length=16_384)]
    """The root's certificate, PEM."""
    contacts: Annotated[tuple[Contact, ...], Meta(min_length=1, max_length=CONTACTS_MAX)]


def read_street(path: Path) -> StreetFile:
    """Returns a street file that holds together: rules that a chain may have, and the root that they name.

    Raises:
        JoinError: it cannot be read, is none, or does not hold together.
    """
    street, fields = _read(path, StreetFile, "street file")
    if fields.get("chain") != chain_id(street.genesis).hex():
        raise JoinError(f"{path}: its chain does not follow from its genesis: it was changed by hand, or damaged")
    try:
        check_genesis(street.genesis)
    except GenesisRefused as refused:
        raise JoinError(f"{path}: {refused}") from None
    root_of(street, path)
    return street


def root_of(street: StreetFile, path: Path) -> x509.Certificate:
    """Returns the authority's root.

    Raises:
        JoinError: it is none, or not of the key that genesis names.
    """
    try:
        root, *more = read_chain(street.authority.encode())
        require_root(root)
        if not more and certificate_key(root) == street.genesis.authority_key:
            return root
    except IdentityError:
        pass  # told below
    raise JoinError(f"{path}: the authority's certificate is not the root of the key that genesis names")


def write_street(path: Path, street: StreetFile) -> None:
    """Writes a street file in the place of an earlier one."""
    _write(path, {"chain": chain_id(street.genesis).hex(), **render(street)})


def read_join_request(path: Path) -> RequestJoin:
    """Returns a join request; what it says every member checks when it is on the chain.

    Raises:
        JoinError: it cannot be read, or is none.
    """
    return _read(path, RequestJoin, "join request")[0]


def write_join_request(path: Path, request: RequestJoin) -> None:
    """Writes a join request in the place of an earlier one."""
    _write(path, render(request))


def _write(path: Path, fields: object) -> None:
    write_whole(path, (json.dumps(fields, indent=2) + "\n").encode())


def _read(path: Path, record: type[R], what: str) -> tuple[R, dict[str, object]]:
    try:
        fields = json.loads(read_bounded(path, size_bytes_max=FILE_SIZE_BYTES_MAX))
        made = unrender(fields, record)
        encode(made)  # JSON can escape halves of characters, which no text has
    except OSError as error:
        raise JoinError(f"{path}: cannot be read: {error.strerror}") from None
    except FileTooLargeError as error:
        raise JoinError(f"{path}: {error}, which no {what} is") from None
    except (ValueError, OverflowError, RecursionError) as error:
        raise JoinError(f"{path}: is no {what}: {str(error)[:SHOWN_LENGTH_MAX]}") from None
    return made, fields
