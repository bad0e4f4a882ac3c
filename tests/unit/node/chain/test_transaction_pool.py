"""What may wait for a block, as the state says after the newest one."""

from pathlib import Path

import pytest

from contracts.transactions import IssueTokens, ReplaceOfficeKey, office_successor, transaction_digest
from ledger.errors import TransactionRefusal
from ledger.ledger import Ledger
from node.chain.mempool import Dropped, DropReason, Mempool, MempoolLimits
from node.chain.transaction_pool import TransactionPool
from node.errors import SubmissionRefused
from tests.support.contracts import raw_transaction, seeded_key, transfer
from tests.support.ledger import ChainBuilder
from tests.support.vouchers import rotate_to


def pool_of(ledger: Ledger, **limits: int) -> TransactionPool:
    return TransactionPool(ledger=ledger, mempool=Mempool(limits=MempoolLimits(**limits)), monotonic_ms=lambda: 0)


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


def test_what_a_replaced_key_signed_waits_no_more(tmp_path: Path) -> None:
    """Else a thief's transactions would fill the sender's quota, and blocks would be proposed for them for ever."""
    builder = ChainBuilder.create(tmp_path / "ledger")
    pool, homes = pool_of(builder.ledger, sender_transactions_max=2), builder.community
    issuer, following = homes.issuer_key, seeded_key("successor", 0)
    action = ReplaceOfficeKey(successor=office_successor(homes.chain, issuer.address, following))
    replacement = raw_transaction(homes, issuer, action, nonce=0)
    tokens = IssueTokens(recipient=homes.addresses[0], amount_micro=5)
    thiefs = raw_transaction(homes, issuer, tokens, nonce=2**19, valid_until_height=2**60)
    others = builder.transfer(0, 1, 1)
    for raw in (thiefs, replacement):
        pool.take(raw)
    builder.append([replacement])
    dropped = pool.on_applied([receipt.transaction for receipt in builder.ledger.receipts(builder.ledger.height)])
    assert dropped == (Dropped(digest=transaction_digest(thiefs), reason=DropReason.OTHER_KEY),)
    pool.take(others)
    for nonce in (1, 2):
        pool.take(raw_transaction(homes, following.of_member(issuer.address), tokens, nonce=nonce))


def test_nothing_is_kept_of_senders_without_a_wallet(tmp_path: Path) -> None:
    builder = ChainBuilder.create(tmp_path / "ledger")
    pool, action = pool_of(builder.ledger), transfer(builder.community, 1, 1)
    for number in range(20):
        with pytest.raises(SubmissionRefused) as refused:
            pool.take(raw_transaction(builder.community, seeded_key("stranger", number), action, nonce=1))
        assert refused.value.reason == TransactionRefusal.UNKNOWN_SENDER.value
    assert pool._standings == {}


def test_once_a_key_is_exchanged_what_the_old_one_signed_waits_no_more(tmp_path: Path) -> None:
    """A thief fills its victim's quota, and takes the next nonces. The block after the rotation is the owner's."""
    builder = ChainBuilder.create(tmp_path / "ledger")
    pool, homes = pool_of(builder.ledger), builder.community
    new = seeded_key("next", 0).of_member(homes.addresses[0])
    exchange = builder.transaction(0, rotate_to(homes, 0, new))
    stolen = [raw_transaction(homes, 0, transfer(homes, 1, 1), nonce=nonce) for nonce in range(1, 5)]
    for raw in (exchange, *stolen):
        pool.take(raw)
    mine = raw_transaction(homes, new, transfer(homes, 2, 1), nonce=1)
    with pytest.raises(SubmissionRefused) as refused:
        pool.take(mine)
    assert refused.value.reason == TransactionRefusal.OTHER_KEY.value, "not before the exchange is decided"
    builder.append([exchange])
    dropped = pool.on_applied([transaction_digest(exchange)])
    assert {drop.reason for drop in dropped} == {DropReason.OTHER_KEY}
    assert len(dropped) == len(stolen)
    pool.take(mine)
    with pytest.raises(SubmissionRefused) as refused:
        pool.take(stolen[0])
    assert refused.value.reason == TransactionRefusal.OTHER_KEY.value
    assert builder.build([*stolen, mine]).transactions == (mine,)
