"""A ledger on disk that tests damage, and what `verify` says of it."""

from collections.abc import Iterable
from pathlib import Path

import plyvel

from ledger.ledger import Ledger
from ledger.store import height_from
from ledger.verification_report import VerificationReport
from ledger.verify import verify_ledger
from tests.support.contracts import make_genesis
from tests.support.ledger import ChainBuilder

GENESIS = make_genesis().genesis
HEIGHTS = 5


def make_ledger(directory: Path) -> Path:
    """Makes a ledger of five blocks in log and tables, with a trade, cleanly closed."""
    chain = ChainBuilder.create(directory)
    chain.append_trading_hour()
    chain.append()
    chain.ledger.close()
    chain.ledger = Ledger.open(directory, GENESIS)  # what was in the log goes into a table
    chain.append_trading_hour(1)
    chain.ledger.persist_undecided({b"anything": b"consensus' own"})
    chain.ledger.close()
    return directory


def verified(directory: Path) -> VerificationReport:
    return verify_ledger(directory, GENESIS, lambda _height, _tip: None)


def all_entries(directory: Path) -> dict[bytes, bytes]:
    database = plyvel.DB(str(directory / "database"))
    entries = dict(database.iterator())
    database.close()
    return entries


def change(directory: Path, puts: dict[bytes, bytes], deletes: Iterable[bytes] = ()) -> None:
    database = plyvel.DB(str(directory / "database"))
    for key, value in puts.items():
        database.put(key, value)
    for key in deletes:
        database.delete(key)
    database.close()


def height_of_entry(key: bytes) -> int:
    return height_from(key[-8:])
