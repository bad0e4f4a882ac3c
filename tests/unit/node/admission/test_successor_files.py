"""Keys of offices at home, and the files in which they agree to act: what is made, what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consensus.identifiers import Digest
from node.admission.identity import load_key
from node.admission.office_keys import (
    FILE_SIZE_BYTES_MAX,
    create_office_key,
    is_encrypted,
    make_successor,
    read_successor,
)
from node.errors import FileRefused, IdentityError
from tests.support.contracts import make_genesis, seeded_key

HOMES = make_genesis(4)
OFFICE = HOMES.issuer_key.address
NEXT = seeded_key("successor", 0)


def test_a_key_is_made_for_its_owner_alone_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "issuer-2.key"
    create_office_key(path, b"a passphrase of some length")
    assert (path.stat().st_mode & 0o777, is_encrypted(path)) == (0o600, True)
    made = load_key(path, passphrase=b"a passphrase of some length")
    with pytest.raises(IdentityError, match="exists"):
        create_office_key(path, b"another one")
    assert load_key(path, passphrase=b"a passphrase of some length").public_key == made.public_key


def test_a_successor_is_read_as_it_was_made(tmp_path: Path) -> None:
    path = tmp_path / "issuer-2.successor"
    path.write_bytes(make_successor(HOMES.chain, OFFICE, NEXT))
    read = read_successor(path, HOMES.chain)
    assert (read.office, read.key) == (OFFICE, NEXT.public_key)


def with_field(**changes: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda fields: fields | {"successor": fields["successor"] | changes}


REFUSED: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "another chain": (lambda fields: fields | {"chain": bytes(32).hex()}, ".chain: is 000"),
    "another office": (with_field(office=HOMES.grid_key.address.hex()), "possession: the key did not sign"),
    "another key": (with_field(key=seeded_key("successor", 1).public_key.hex()), "possession: the key did not sign"),
    "a field more": (with_field(more="1"), "is no office's successor"),
    "a field less": (lambda fields: {"chain": fields["chain"]}, "is no office's successor"),
    "other digits": (lambda fields: fields | {"chain": fields["chain"].upper()}, "is no office's successor"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_successor_that_is_none_is_refused(tmp_path: Path, case: str) -> None:
    change, text = REFUSED[case]
    path = tmp_path / "issuer-2.successor"
    path.write_text(json.dumps(change(json.loads(make_successor(HOMES.chain, OFFICE, NEXT)))))
    with pytest.raises(FileRefused) as refused:
        read_successor(path, HOMES.chain)
    assert str(refused.value).startswith(str(path))
    assert text in str(refused.value)


@pytest.mark.parametrize("content", [None, b"", b"[]", b"\xff", b" " * (FILE_SIZE_BYTES_MAX + 1)])
def test_what_is_no_file_of_a_successor_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "issuer-2.successor"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FileRefused, match=path.name):
        read_successor(path, Digest(HOMES.chain))
