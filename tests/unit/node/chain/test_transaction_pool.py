"""What may wait for a block, as the state says after the newest one."""

from pathlib import Path

import pytest

from ledger.errors import TransactionRefusal
from ledger.ledger import Ledger
from node.chain.mempool import Mempool, MempoolLimits
from node.chain.transaction_pool import TransactionPool
from node.errors import SubmissionRefused
from tests.support.contracts import raw_transaction, seeded_key, transfer
from tests.support.ledger import ChainBuilder


def pool_of(ledger: Ledger) -> TransactionPool:
    return TransactionPool(ledger=ledger, mempool=Mempool(limits=MempoolLimits()), monotonic_ms=lambda: 0)


def test_a_sender_is_looked_up_anew_after_each_block(tmp_path: Path) -> None:
    builder = ChainBuilder.create(tmp_path / "ledger")
    pool = pool_of(builder.ledger)
    first, second = (builder.transfer(0, 1, amount) for amount in (1, 2))
    pool.take(first)
    builder.append([first, second])
    pool.on_applied([receipt.transaction for receipt in builder.ledger.receipts(builder.ledger.height)])
    for raw in (first, second):
        with pytest.raises(SubmissionRefused) as refused:
            pool.take(raw)
        assert refused.value.reason == TransactionRefusal.NONCE_PASSED.value


def test_nothing_is_kept_of_senders_without_a_wallet(tmp_path: Path) -> None:
    builder = ChainBuilder.create(tmp_path / "ledger")
    pool, action = pool_of(builder.ledger), transfer(builder.community, 1, 1)
    for number in range(20):
        with pytest.raises(SubmissionRefused) as refused:
            pool.take(raw_transaction(builder.community, seeded_key("stranger", number), action, nonce=1))
        assert refused.value.reason == TransactionRefusal.UNKNOWN_SENDER.value
    assert pool._standings == {}
