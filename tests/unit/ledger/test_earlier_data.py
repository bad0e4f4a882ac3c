"""What version 0.1.0 first wrote (data/SOURCE.md) is refused, with both versions named."""

import tarfile
from pathlib import Path

import pytest

from contracts.genesis import known_text
from ledger.errors import LedgerForeign
from ledger.ledger import Ledger
from ledger.store import FORMAT_VERSION
from ledger.verify import verify_ledger
from node.errors import ConfigurationError
from node.home.genesis_file import load_genesis_file
from tests.support.contracts import make_genesis

KEPT = Path(__file__).parent / "data" / "format-1.tar.gz"
REFUSAL = f"store format 1; this software reads {FORMAT_VERSION}"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with tarfile.open(KEPT) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def blocks_of(home: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted((home / "ledger" / "database").glob("0*")))


def test_its_ledger_is_neither_opened_nor_called_damaged(home: Path) -> None:
    for _ in range(2):  # as often as one tries
        with pytest.raises(LedgerForeign, match=REFUSAL):
            Ledger.open(home / "ledger", make_genesis().genesis)


def test_verify_refuses_it_as_well(home: Path) -> None:
    before = blocks_of(home)
    with pytest.raises(LedgerForeign, match=REFUSAL):
        verify_ledger(home / "ledger", make_genesis().genesis, lambda *_: None)
    assert blocks_of(home) == before


def test_its_genesis_is_refused_before_its_ledger_is_looked_at(home: Path) -> None:
    words = f"follows protocol version 1; this software knows version {known_text()}"
    with pytest.raises(ConfigurationError, match=words):
        load_genesis_file(home / "genesis.msgpack")
