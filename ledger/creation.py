"""How a ledger begins: the database with the state of genesis, or with the state after a later block.

Either is built under another name and renamed once it is whole and durable: whenever the process ends before, there
is no ledger, and what was left of it is thrown away by the next attempt.
"""

import shutil
from collections.abc import Callable, Iterable
from itertools import chain as chained
from pathlib import Path
from typing import Final

from consensus.codec import DecodeError
from consensus.identifiers import GENESIS_HEIGHT
from contracts.conservation import unbalanced_books
from contracts.genesis import Genesis, chain_id
from contracts.state import StateKey, Table
from ledger.authenticated_map import EMPTY, update_map
from ledger.entries import genesis_entries, origin_entries
from ledger.eras import BegunEras
from ledger.errors import LedgerDamaged, OriginRefused
from ledger.origin import Origin, StoredOrigin, check_origin
from ledger.reading import NewestState
from ledger.side_files import (
    DATABASE_FOLDER,
    TipMark,
    create_tip_mark,
    database_path,
    remove_seal,
    sync_directory,
)
from ledger.startup import check_newest
from ledger.store import Store, node_key, version_key
from ledger.validation import rules_in

BATCH_ENTRIES: Final = 1_024
"""State entries written, and held, at once."""


def make_database(directory: Path, genesis: Genesis) -> None:
    """Makes the database of a chain that has decided nothing yet, durably and all at once, and the mark beside it."""
    mark = TipMark(height=GENESIS_HEIGHT, block=chain_id(genesis))
    _build(directory, mark, lambda store: store.write(genesis_entries(genesis)))


def make_database_at(
    directory: Path, genesis: Genesis, origin: Origin, entries: Iterable[tuple[StateKey, bytes]], begun: BegunEras
) -> None:
    """Makes the database of a chain that is known from a block on, as `make_database`.

    Args:
        directory: of the ledger.
        genesis: of the chain.
        origin: from anybody.
        entries: every key of the state after the block, with its value, in any order; they are not held.
        begun: eras that ceremonies began at this home.

    Raises:
        OriginRefused: it is not decided, or the state is not the one that it names, or not one that this home can go
            on from.
        RulesUnknown: the next block has rules that this program does not know.
        LedgerWriteFailed: the disk does not take it.
    """
    stored = check_origin(origin, genesis, begun)

    def fill(store: Store) -> None:
        _write_state(store, origin, entries)
        store.write(origin_entries(origin, stored))
        _check_state(store, stored, genesis, begun)

    _build(directory, TipMark(height=stored.height, block=stored.block), fill)


def _build(directory: Path, mark: TipMark, fill: Callable[[Store], None]) -> None:
    """Gives a new database its name once it is filled, with the mark beside it."""
    unfinished = directory / f"{DATABASE_FOLDER}.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    store = Store.create(unfinished)
    try:
        fill(store)
    except BaseException:
        store.close()
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    store.close()
    sync_directory(unfinished)
    create_tip_mark(directory, mark)
    remove_seal(directory)
    unfinished.rename(database_path(directory))
    sync_directory(directory)


def _write_state(store: Store, origin: Origin, entries: Iterable[tuple[StateKey, bytes]]) -> None:
    """Writes the state and its map, batch by batch.

    Raises:
        OriginRefused: its root is another than the block's.
    """
    header, root, batch = origin.block.header, EMPTY, dict[StateKey, bytes]()

    def flush() -> None:
        nonlocal root
        update = update_map(store.node, root, batch)
        puts = {version_key(key, header.height): value for key, value in batch.items()}
        puts |= {node_key(name): node for name, node in update.added.items()}
        store.write(puts, map(node_key, update.removed))
        root = update.root
        batch.clear()

    for key, value in entries:
        batch[key] = value
        if len(batch) == BATCH_ENTRIES:
            flush()
    flush()
    if root != header.state_root:
        raise OriginRefused(f"the root of its state is {root.hex()}, its header names {header.state_root.hex()}")


def _check_state(store: Store, stored: StoredOrigin, genesis: Genesis, begun: BegunEras) -> None:
    """Checks that a state that has the right root is one to go on from: whoever decided it."""
    try:
        check_newest(store, begun, stored)
        rules_in(NewestState(store))
        state = chained.from_iterable(store.newest_versions(table) for table in Table)
        unbalanced = unbalanced_books(state, genesis.scores)
    except (LedgerDamaged, DecodeError, AssertionError) as error:
        what = error.what if isinstance(error, LedgerDamaged) else str(error)
        raise OriginRefused(f"no chain goes on from its state: {what}") from None
    if unbalanced:
        raise OriginRefused(f"tokens or energy of its state do not add up: {unbalanced[0]}")
