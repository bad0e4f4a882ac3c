"""A block as a whole: envelopes, order, receipts, equal bytes everywhere, what the overlay leaves alone."""

import pytest
from msgspec.structs import replace

from consensus.codec import decode, encode
from consensus.identifiers import Address
from contracts.execution import execute_block
from contracts.receipts import Posting, Reason, Receipt, Status
from contracts.service_records import LastBlock
from contracts.state import LAST_BLOCK_KEY, TOTALS_KEY, Account, account_key
from contracts.transactions import transaction_digest
from tests.support.contracts import (
    DictChain,
    block_context,
    make_genesis,
    raw_transaction,
    seeded_key,
    signed_reading,
    signed_trade,
    transaction_of,
    transfer,
)

HOMES = make_genesis(4)


def mixed_block() -> list[bytes]:
    """Readings, a trade and its replay, a transfer, two transactions that are declined."""
    actions = [
        (0, signed_reading(HOMES, 0, 500)),
        (1, signed_reading(HOMES, 1, -300)),
        (1, signed_trade(HOMES, 0, 1, 200)),
        (1, signed_trade(HOMES, 0, 1, 200)),
        (2, transfer(HOMES, 3, 5)),
        (2, signed_reading(HOMES, 3, 5)),
        (1, signed_trade(HOMES, 0, 1, 400, offer_counter=1)),
    ]
    return [raw_transaction(HOMES, sender, action, nonce=nonce) for nonce, (sender, action) in enumerate(actions)]


def test_receipts_name_each_transaction_in_order() -> None:
    raws = mixed_block()
    transactions = [transaction_of(raw) for raw in raws]
    execution = DictChain(HOMES).apply(transactions)
    assert [receipt.transaction for receipt in execution.receipts] == [transaction_digest(raw) for raw in raws]
    assert [receipt.sender for receipt in execution.receipts] == [
        HOMES.addresses[sender] for sender in (0, 1, 1, 1, 2, 2, 1)
    ]
    assert [receipt.reason for receipt in execution.receipts] == [
        Reason.NONE,
        Reason.NONE,
        Reason.NONE,
        Reason.TRADE_ALREADY_EXECUTED,
        Reason.NONE,
        Reason.READING_FOREIGN_METER,
        Reason.CONDITION_1_SELLER_ENERGY,
    ]
    assert len(execution.postings) == 8


def test_receipts_and_postings_survive_the_codec() -> None:
    chain = DictChain(HOMES)
    execution = chain.apply([transaction_of(raw) for raw in mixed_block()])
    for receipt in execution.receipts:
        assert decode(encode(receipt), Receipt) == receipt
    for posting in execution.postings:
        assert decode(encode(posting), Posting) == posting


def test_the_same_block_gives_the_same_bytes() -> None:
    first, second = DictChain(HOMES), DictChain(HOMES)
    second.state = dict(reversed(second.state.items()))
    one = first.apply([transaction_of(raw) for raw in mixed_block()])
    other = second.apply([transaction_of(raw) for raw in mixed_block()])
    assert list(one.changes.items()) == list(other.changes.items())
    assert list(one.changes) == sorted(one.changes)
    assert encode(one.receipts) == encode(other.receipts)
    assert encode(one.postings) == encode(other.postings)


def test_execution_only_reads_the_state() -> None:
    chain = DictChain(HOMES)
    before = dict(chain.state)
    transactions = [transaction_of(raw) for raw in mixed_block()]
    context = block_context(HOMES, height=1, slot=1)
    execution = execute_block(chain.state, HOMES.genesis, context, transactions)
    assert chain.state == before
    assert execution == execute_block(chain.state, HOMES.genesis, context, transactions)


def test_nonces_are_written_also_for_declined_transactions() -> None:
    chain = DictChain(HOMES)
    raw = raw_transaction(HOMES, 2, signed_reading(HOMES, 0, 5), nonce=41)
    (receipt,) = chain.apply([transaction_of(raw)]).receipts
    assert receipt.status is Status.DECLINED
    assert chain.account(2).nonce == 41


@pytest.mark.parametrize("second", [7, 6])
def test_a_passed_nonce_is_a_bug_of_the_ledger(second: int) -> None:
    raws = [raw_transaction(HOMES, 0, transfer(HOMES, 1, 1), nonce=nonce) for nonce in (7, second)]
    with pytest.raises(AssertionError, match="nonce"):
        DictChain(HOMES).apply([transaction_of(raw) for raw in raws])


def test_unbalanced_books_stop_the_block() -> None:
    chain = DictChain(HOMES)
    chain.state[TOTALS_KEY] = encode(replace(chain.totals(), credited_wh=1))
    with pytest.raises(AssertionError, match="energy of all packets"):
        chain.block()


def test_an_unknown_sender_is_a_bug_of_the_ledger() -> None:
    chain = DictChain(HOMES)
    stranger = HOMES.addresses[0]
    del chain.state[account_key(stranger)]
    with pytest.raises(AssertionError, match="missing"):
        chain.block((0, transfer(HOMES, 1, 1)))


def test_last_block_counts_only_its_own_rewarded_trades() -> None:
    chain = DictChain(HOMES)
    chain.apply([transaction_of(raw) for raw in mixed_block()])
    assert chain.read(LAST_BLOCK_KEY, LastBlock).trades_rewarded == 1
    chain.block()
    assert chain.read(LAST_BLOCK_KEY, LastBlock).trades_rewarded == 0


def test_the_cluster_is_not_empty_and_has_no_doubles() -> None:
    addresses: tuple[Address, ...] = HOMES.addresses
    for cluster in ((), (addresses[0], addresses[0])):
        with pytest.raises(AssertionError):
            DictChain(HOMES).block(cluster=cluster)


def test_a_stranger_has_no_wallet() -> None:
    chain = DictChain(HOMES)
    assert account_key(seeded_key("stranger", 0).address) not in chain.state
    assert chain.read(account_key(HOMES.addresses[0]), Account).nonce == -1
