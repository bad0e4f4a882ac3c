"""The parts of a node on one core, without network: codec, verification, making and writing blocks."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from bench.machine import microseconds
from bench.wallets import Wallet, wallets_of
from consensus.codec import decode, encode
from consensus.cryptography import SigningKey
from consensus.eras import FIRST_ERA
from consensus.messages import CommitCertificate, CommitStatement, Endorsement
from contracts.genesis import Genesis
from contracts.transactions import SignedTransaction, decode_transaction, transaction_digest
from ledger.block import Block, block_digest
from ledger.ledger import Ledger
from node.admission.identity import load_key
from node.home.genesis_file import load_genesis
from node.testnet.folder import Testnet

T = TypeVar("T")

BLOCK_SIZES: Final = (1, 100, 1_000)
"""Transfers per block."""

BLOCKS: Final = 15
"""Per size; the median counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecCost:
    """Microseconds per signed transfer."""

    size_bytes: int
    encode_us: float
    decode_us: float
    """Strictly: with the check that the encoding is the canonical one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockCost:
    """Wall time per block of one node, its median; a leader builds, the others check, all append."""

    transactions: int
    verify_us: float
    """Signatures, nonces and form of all its transactions, each once."""
    build_us: float
    """Executing verified transactions, the roots and the block's records."""
    append_us: float
    """The one synced write with everything that the block leads to."""


def codec_cost(testnet: Testnet) -> CodecCost:
    """Measures the codec on a signed transfer."""
    raw = wallets_of(testnet)[0].transfer()
    transaction: SignedTransaction = decode_transaction(raw)
    return CodecCost(
        size_bytes=len(raw),
        encode_us=round(microseconds(lambda: encode(transaction)), 2),
        decode_us=round(microseconds(lambda: decode(raw, SignedTransaction)), 2),
    )


def block_costs(testnet: Testnet, directory: Path) -> list[BlockCost]:
    """Measures blocks of transfers on a ledger of their own in `directory`, on the disk that the testnets use."""
    genesis = load_genesis(testnet.home(testnet.nodes[0]))
    keys = [load_key(testnet.home(node).node_key) for node in testnet.nodes]
    ledger = Ledger.create(directory / "ledger", genesis)
    try:
        wallet = wallets_of(testnet)[0]
        return [_block_cost(ledger, keys, wallet, size) for size in BLOCK_SIZES]
    finally:
        ledger.close()


def _block_cost(ledger: Ledger, keys: Sequence[SigningKey], wallet: Wallet, size: int) -> BlockCost:
    assert size <= _largest_block(ledger.genesis)
    rounds = [_one_block(ledger, keys, [wallet.transfer() for _ in range(size)]) for _ in range(BLOCKS)]
    verify_us, build_us, append_us = (sorted(column)[BLOCKS // 2] for column in zip(*rounds, strict=True))
    return BlockCost(
        transactions=size, verify_us=round(verify_us), build_us=round(build_us), append_us=round(append_us)
    )


def _largest_block(genesis: Genesis) -> int:
    return genesis.parameters.block_transactions_max


def _one_block(ledger: Ledger, keys: Sequence[SigningKey], raws: list[bytes]) -> tuple[float, float, float]:
    """Takes one block through a ledger; returns the microseconds of its verification, building and appending."""
    slot = ledger.tip_slot
    proposer = ledger.memberships().leaders.whose(slot)
    (key,) = (key for key in keys if key.address == proposer)
    transactions, verify_us = _timed(lambda: [ledger.verifier.verify(raw, transaction_digest(raw)) for raw in raws])
    block, build_us = _timed(
        lambda: ledger.build(slot=slot, leader=proposer, candidates=transactions, prove=key.prove)
    )
    assert len(block.transactions) == len(raws)
    certificate = _certificate(ledger, keys, block)
    _, append_us = _timed(lambda: ledger.append(block, certificate))
    return verify_us, build_us, append_us


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    start_ns = time.perf_counter_ns()
    result = work()
    return result, (time.perf_counter_ns() - start_ns) / 1_000


def _certificate(ledger: Ledger, keys: Sequence[SigningKey], block: Block) -> CommitCertificate:
    """Decides a block with the signatures of a quorum."""
    header, digest = block.header, block_digest(block.header)
    statement = encode(CommitStatement(domain=ledger.chain, height=header.height, slot=header.slot, block=digest))
    signers = sorted(keys[: ledger.membership().quorum], key=lambda key: key.address)
    endorsements = tuple(Endorsement(signer=key.address, signature=key.sign(statement)) for key in signers)
    return CommitCertificate(
        era=FIRST_ERA, height=header.height, slot=header.slot, block=digest, endorsements=endorsements
    )
