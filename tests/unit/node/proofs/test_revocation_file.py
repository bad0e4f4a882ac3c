"""The file in which the authority revokes a key on a chain: what is written is read, and nothing else is."""

from pathlib import Path

import pytest

from consensus.identifiers import Digest
from contracts.transactions import RevocationReason
from node.errors import FileRefused
from node.proofs.revocation_file import FILE_SIZE_BYTES_MAX, make_revocation, read_revocation
from tests.support.contracts import make_genesis

HOMES = make_genesis()
KEY = HOMES.node_keys[1].public_key


def written(path: Path, content: bytes | None = None) -> Path:
    made = make_revocation(HOMES.chain, KEY, RevocationReason.SUPERSEDED, HOMES.authority_key)
    path.write_bytes(made if content is None else content)
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    made = read_revocation(written(tmp_path / "node2.revocation"), HOMES.chain)
    revocation = made.revocation
    assert (revocation.node_key, revocation.reason) == (KEY, RevocationReason.SUPERSEDED)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no key's revocation"),
        (b"[]", "is no key's revocation"),
        (b"{" + b" " * FILE_SIZE_BYTES_MAX, "which no key's revocation is"),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(FileRefused, match=words):
        read_revocation(written(tmp_path / "node2.revocation", content), HOMES.chain)


def test_a_changed_one_and_another_chains_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "node2.revocation")
    path.write_bytes(path.read_bytes().replace(b"superseded", b"superb"))
    with pytest.raises(FileRefused, match="is no key's revocation"):
        read_revocation(path, HOMES.chain)
    with pytest.raises(FileRefused, match=r"revocation\.chain: is "):
        read_revocation(written(path), Digest(bytes(32)))
    with pytest.raises(FileRefused, match="cannot be read"):
        read_revocation(tmp_path / "nothing", HOMES.chain)
