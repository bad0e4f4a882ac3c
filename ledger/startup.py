"""Start-up verification: cheap checks that what is stored is what was written, before anything is promised on it.

In this order: every file against the seal of the last clean stop; LevelDB's own checks; the format and the
chain; the tip against the mark beside the database; the last blocks with their certificates, receipts and indexes;
and the paths of a few state values through the authenticated map. The rest is `verify`'s, which starts from genesis.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from consensus.codec import DecodeError, decode, encode
from consensus.identifiers import FIRST_HEIGHT, GENESIS_HEIGHT, Digest, Height, Slot
from consensus.membership import Membership, Memberships
from contracts.state import (
    AGENDA_KEY,
    ERAS_KEY,
    LAST_BLOCK_KEY,
    MEMBER_LIST_KEY,
    RANDOMNESS_KEY,
    RULES_KEY,
    TOTALS_KEY,
    account_key,
    member_key,
    score_key,
)
from contracts.transactions import transaction_digest
from ledger.authenticated_map import proof_holds, prove
from ledger.block import Block, block_digest, block_is_whole
from ledger.eras import BegunEras, membership_in
from ledger.errors import LedgerDamaged, LedgerForeign, NodeMissing
from ledger.merkle_tree import tree_root
from ledger.origin import StoredOrigin
from ledger.reading import BlockReader, NewestState, TransactionLocation
from ledger.side_files import read_damage, read_tip_mark, seal_faults
from ledger.store import (
    FORMAT_KEY,
    FORMAT_VERSION,
    ORIGIN_FORMAT_VERSION,
    ORIGIN_KEY,
    TIP_KEY,
    Space,
    Store,
    StoredFormat,
    StoredTip,
)
from ledger.validation import Parent, certificate_fault

RECENT_BLOCKS: Final = 8
"""Blocks checked at every start: a few milliseconds each with their certificates."""

FAULTS_SHOWN: Final = 3
"""Of altered files, in the message; `verify` lists all."""


def check_files(directory: Path) -> None:
    """Compares all files with the seal, where there is one (there is none after a crash).

    Raises:
        LedgerDamaged: a file was altered, added or lost since the last clean stop, or the node found damage before.
    """
    found = read_damage(directory)
    if found is not None:
        raise LedgerDamaged(found)
    faults = seal_faults(directory)
    if faults:
        more = len(faults) - FAULTS_SHOWN
        shown = "; ".join(faults[:FAULTS_SHOWN])
        raise LedgerDamaged(shown + (f"; and {more} more" if more > 0 else ""))


def check_recent_blocks(directory: Path, store: Store, begun: BegunEras) -> tuple[Parent, StoredOrigin | None]:
    """Checks an opened store and returns its tip, and where it begins if that is not genesis.

    Raises:
        LedgerForeign: it is of another chain or format.
        LedgerDamaged: it is not what was written.
    """
    origin = read_origin(store, _check_format(store, begun.chain))
    _check_tip_mark(directory, _read_tip(store))
    return check_newest(store, begun, origin), origin


def check_newest(store: Store, begun: BegunEras, origin: StoredOrigin | None) -> Parent:
    """Checks the last blocks of a store, and that the state is what they name; returns the tip.

    Raises:
        LedgerDamaged: it is not what was written.
    """
    tip = _read_tip(store)
    for space in (Space.BLOCK, Space.CERTIFICATE, Space.RECEIPTS):
        highest = store.highest(space)
        if highest is not None and highest > tip.height:
            raise LedgerDamaged(f"a record of table {space.name} lies above the tip", height=highest)
    lowest = FIRST_HEIGHT if origin is None else origin.height
    for number in range(max(lowest, tip.height - RECENT_BLOCKS + 1), tip.height + 1):
        _check_block(store, Height(number), begun, origin)
    parent = _parent(store, tip, begun)
    _check_map(store, parent)
    return parent


def require_format(stored: StoredFormat) -> None:
    """Refuses a store that another version of this program wrote, before anything else in it is looked at.

    Raises:
        LedgerForeign: it is of another format.
    """
    if stored.version not in {FORMAT_VERSION, ORIGIN_FORMAT_VERSION}:
        known = f"{FORMAT_VERSION} and {ORIGIN_FORMAT_VERSION}"
        raise LedgerForeign(f"the ledger has store format {stored.version}; this software reads {known}")


def read_origin(store: Store, stored: StoredFormat) -> StoredOrigin | None:
    """Returns where a store begins; None: at genesis.

    Raises:
        LedgerDamaged: its record is missing, is none, or should not be there.
    """
    data = store.get(ORIGIN_KEY)
    if (data is not None) != (stored.version == ORIGIN_FORMAT_VERSION):
        raise LedgerDamaged("the record of where it begins " + ("is missing" if data is None else "is not its own"))
    if data is None:
        return None
    try:
        return decode(data, StoredOrigin)
    except DecodeError as error:
        raise LedgerDamaged(f"the record of where it begins is not one: {error}") from None


def _check_format(store: Store, chain: Digest) -> StoredFormat:
    data = store.get(FORMAT_KEY)
    if data is None:
        raise LedgerDamaged("the format record is missing")
    try:
        stored = decode(data, StoredFormat)
    except DecodeError as error:
        raise LedgerDamaged(f"the format record is not one: {error}") from None
    require_format(stored)
    if stored.chain != chain:
        raise LedgerForeign(f"ledger of chain {stored.chain.hex()}, genesis is {chain.hex()}")
    return stored


def _read_tip(store: Store) -> StoredTip:
    data = store.get(TIP_KEY)
    if data is None:
        raise LedgerDamaged("the tip record is missing")
    try:
        return decode(data, StoredTip)
    except DecodeError as error:
        raise LedgerDamaged(f"the tip record is not one: {error}") from None


def _check_tip_mark(directory: Path, tip: StoredTip) -> None:
    mark = read_tip_mark(directory)
    if mark.height > tip.height:
        raise LedgerDamaged(
            f"blocks are lost: the mark beside the database says height {mark.height}, it ends at {tip.height}",
            height=Height(tip.height + 1),
        )
    if mark.height == tip.height and mark.block != tip.block:
        raise LedgerDamaged("the mark beside the database names another block", height=tip.height)


def _check_block(store: Store, height: Height, begun: BegunEras, origin: StoredOrigin | None) -> None:
    reader = BlockReader(store)
    block, certificate = reader.block(height), reader.certificate(height)
    if block is None or certificate is None:
        raise LedgerDamaged("block or certificate is missing", height=height)
    header, digest = block.header, block_digest(block.header)
    fault = certificate_fault(certificate, height, digest, _membership_of(store, height, begun), begun.at(height))
    if fault is not None:
        raise LedgerDamaged(f"the certificate does not decide the block: {fault}", height=height)
    if origin is not None and origin.height == height:
        previous = origin.headers[0] if origin.headers else None
    else:
        stored = reader.block(Height(height - 1))
        previous = None if stored is None else stored.header
    expected_parent = begun.chain if previous is None else block_digest(previous)
    receipts = [encode(receipt) for receipt in reader.receipts(height)]
    checks = {
        "the header names another height": header.height == height,
        "the parent is another block": header.parent == expected_parent,
        "the index names another height": reader.height_of_block(digest) == height,
        "the body is not the one that the header names": block_is_whole(block),
        "the receipts are others": header.receipts_root == tree_root(receipts),
        "the transaction index is wrong": _transactions_indexed(reader, height, block),
    }
    for what, holds in checks.items():
        if not holds:
            raise LedgerDamaged(what, height=height)


def _transactions_indexed(reader: BlockReader, height: Height, block: Block) -> bool:
    return all(
        reader.find_transaction(transaction_digest(raw)) == TransactionLocation(height=height, index=index)
        for index, raw in enumerate(block.transactions)
    )


def _membership_of(store: Store, height: Height, begun: BegunEras) -> Membership:
    with _readable(height):
        return begun.membership_at(height, NewestState(store))


def _memberships_after(store: Store, height: Height, begun: BegunEras) -> Memberships:
    with _readable(height):
        return begun.memberships_after(height, NewestState(store))


@contextmanager
def _readable(height: Height) -> Iterator[None]:
    """Damage in what the state says of the members is damage of the ledger."""
    try:
        yield
    except (AssertionError, DecodeError) as error:
        raise LedgerDamaged(f"the stored membership cannot be read: {error}", height=height) from None


def _named_by_state(store: Store, height: Height) -> Membership:
    """What the tip's header commits to, whatever era begins above it."""
    with _readable(height):
        return membership_in(NewestState(store), height)


def _parent(store: Store, tip: StoredTip, begun: BegunEras) -> Parent:
    membership = _membership_of(store, Height(max(FIRST_HEIGHT, tip.height)), begun)
    memberships = _memberships_after(store, tip.height, begun)
    if tip.height == GENESIS_HEIGHT:
        if tip.block != begun.chain:
            raise LedgerDamaged("the tip is not genesis", height=tip.height)
        slot, leader = Slot(0), None
    else:
        header, _ = BlockReader(store).decided_header(tip.height)
        if (tip.block, tip.state_root) != (block_digest(header), header.state_root):
            raise LedgerDamaged("the tip record names another block", height=tip.height)
        if header.membership != _named_by_state(store, Height(tip.height + 2)).digest():
            raise LedgerDamaged("the stored membership is another", height=tip.height)
        slot, leader = header.slot, header.leader
    return Parent(
        height=tip.height,
        digest=tip.block,
        slot=slot,
        leader=leader,
        state_root=tip.state_root,
        membership=membership,
        memberships=memberships,
    )


def _check_map(store: Store, parent: Parent) -> None:
    keys = [TOTALS_KEY, MEMBER_LIST_KEY, ERAS_KEY, AGENDA_KEY, LAST_BLOCK_KEY, RANDOMNESS_KEY, RULES_KEY]
    for address in parent.memberships.following.addresses:
        keys += [account_key(address), member_key(address), score_key(address)]
    for key in keys:
        try:
            path = prove(store.node, parent.state_root, key)
        except NodeMissing as error:
            raise LedgerDamaged(str(error), height=parent.height) from None
        newest = store.newest_version(key)
        if newest is None or not proof_holds(path, parent.state_root, key, newest[1]):
            raise LedgerDamaged(f"state key {key.hex()} has another value than the state root", height=parent.height)
