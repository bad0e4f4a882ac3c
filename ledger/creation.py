"""How a ledger begins: the database with the state of genesis."""

import shutil
from pathlib import Path

from consensus.identifiers import GENESIS_HEIGHT
from contracts.genesis import Genesis, chain_id
from ledger.entries import genesis_entries
from ledger.side_files import (
    DATABASE_FOLDER,
    TipMark,
    create_tip_mark,
    database_path,
    remove_seal,
    sync_directory,
)
from ledger.store import Store


def make_database(directory: Path, genesis: Genesis) -> None:
    """Makes the database of a chain that has decided nothing yet, durably and all at once, and the mark beside it."""
    chain = chain_id(genesis)
    # built under another name: a crash on the way leaves nothing that looks like a ledger
    unfinished = directory / f"{DATABASE_FOLDER}.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    store = Store.create(unfinished)
    try:
        store.write(genesis_entries(genesis))
    finally:
        store.close()
    sync_directory(unfinished)
    create_tip_mark(directory, TipMark(height=GENESIS_HEIGHT, block=chain))
    remove_seal(directory)
    unfinished.rename(database_path(directory))
    sync_directory(directory)
