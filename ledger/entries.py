"""What a write puts into the store: all of genesis, what stands beside an origin's state, or all of one block."""

from consensus.codec import encode
from consensus.identifiers import GENESIS_HEIGHT
from consensus.messages import CommitCertificate
from contracts.genesis import Genesis, chain_id
from contracts.genesis_state import genesis_state
from ledger.authenticated_map import EMPTY, no_nodes, update_map
from ledger.execution import ExecutedBlock
from ledger.origin import Origin, StoredOrigin
from ledger.store import (
    FORMAT_KEY,
    FORMAT_VERSION,
    ORIGIN_FORMAT_VERSION,
    ORIGIN_KEY,
    TIP_KEY,
    StoredFormat,
    StoredTip,
    block_digest_key,
    block_key,
    certificate_key,
    height_bytes,
    location_bytes,
    node_key,
    receipts_key,
    transaction_key,
    version_key,
)


def genesis_entries(genesis: Genesis) -> dict[bytes, bytes]:
    """Returns format, tip, state and map of a chain that has decided nothing yet."""
    chain, state = chain_id(genesis), genesis_state(genesis)
    update = update_map(no_nodes, EMPTY, state)
    entries = {
        FORMAT_KEY: encode(StoredFormat(version=FORMAT_VERSION, chain=chain)),
        TIP_KEY: encode(StoredTip(height=GENESIS_HEIGHT, block=chain, state_root=update.root)),
    }
    entries |= {version_key(key, GENESIS_HEIGHT): value for key, value in state.items()}
    entries |= {node_key(name): node for name, node in update.added.items()}
    return entries


def origin_entries(origin: Origin, stored: StoredOrigin) -> dict[bytes, bytes]:
    """Returns format, tip, block and indexes of a chain that is known from a block on; all but the state."""
    height, header = stored.height, origin.block.header
    entries = {
        FORMAT_KEY: encode(StoredFormat(version=ORIGIN_FORMAT_VERSION, chain=header.chain)),
        ORIGIN_KEY: encode(stored),
        TIP_KEY: encode(StoredTip(height=height, block=stored.block, state_root=header.state_root)),
        block_key(height): encode(origin.block),
        certificate_key(height): encode(origin.certificate),
        receipts_key(height): encode(origin.receipts),
        block_digest_key(stored.block): height_bytes(height),
    }
    entries |= {block_digest_key(digest): height_bytes(below) for digest, below in stored.named}
    for index, receipt in enumerate(origin.receipts):
        entries[transaction_key(receipt.transaction)] = location_bytes(height, index)
    return entries


def block_entries(executed: ExecutedBlock, certificate: CommitCertificate) -> dict[bytes, bytes]:
    """Returns a decided block with its certificate, receipts, indexes, state versions and map nodes, and the tip."""
    header = executed.block.header
    height, receipts = header.height, executed.execution.receipts
    tip = StoredTip(height=height, block=executed.digest, state_root=header.state_root)
    entries = {
        block_key(height): encode(executed.block),
        certificate_key(height): encode(certificate),
        receipts_key(height): encode(receipts),
        block_digest_key(executed.digest): height_bytes(height),
        TIP_KEY: encode(tip),
    }
    for index, receipt in enumerate(receipts):
        entries[transaction_key(receipt.transaction)] = location_bytes(height, index)
    for key, value in executed.execution.changes.items():
        entries[version_key(key, height)] = value
    for name, node in executed.map_update.added.items():
        entries[node_key(name)] = node
    return entries
