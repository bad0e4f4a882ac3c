"""What a write puts into the store: all of genesis, or all of one block."""

from consensus.codec import encode
from consensus.identifiers import GENESIS_HEIGHT
from consensus.messages import CommitCertificate
from contracts.genesis import Genesis, chain_id
from contracts.genesis_state import genesis_state
from ledger.authenticated_map import EMPTY, no_nodes, update_map
from ledger.execution import ExecutedBlock
from ledger.store import (
    FORMAT_KEY,
    FORMAT_VERSION,
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
