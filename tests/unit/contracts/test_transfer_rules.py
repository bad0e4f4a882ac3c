"""Transfers of tokens."""

from contracts.receipts import Reason, Status
from contracts.transactions import Transfer
from tests.support.contracts import DictChain, make_genesis, seeded_key, transfer


def test_moves_tokens_to_the_last_micro_token() -> None:
    chain = DictChain(make_genesis(2, tokens_micro=100))
    (receipt,) = chain.block((0, transfer(chain.community, 1, 100))).receipts
    assert (receipt.status, receipt.reason, receipt.detail) == (Status.EXECUTED, Reason.NONE, "")
    assert (chain.account(0).available_micro, chain.account(1).available_micro) == (0, 200)


def test_more_than_available_is_declined() -> None:
    chain = DictChain(make_genesis(2, tokens_micro=100))
    (receipt,) = chain.block((0, transfer(chain.community, 1, 101))).receipts
    assert (receipt.status, receipt.reason) == (Status.DECLINED, Reason.TRANSFER_INSUFFICIENT_TOKENS)
    assert receipt.detail == "available 100 micro-tokens, transfer 101"
    assert receipt.fault is None
    assert (chain.account(0).available_micro, chain.account(1).available_micro) == (100, 100)


def test_unknown_recipient_is_declined() -> None:
    chain = DictChain(make_genesis(2))
    stranger = seeded_key("stranger", 0).address
    (receipt,) = chain.block((0, Transfer(recipient=stranger, amount_micro=1))).receipts
    assert receipt.reason is Reason.TRANSFER_UNKNOWN_RECIPIENT
    assert stranger.hex() in receipt.detail


def test_to_oneself_changes_nothing_but_the_nonce() -> None:
    chain = DictChain(make_genesis(2, tokens_micro=100))
    before = chain.account(0)
    chain.block((0, transfer(chain.community, 0, 60)))
    after = chain.account(0)
    assert after.available_micro == before.available_micro == 100
    assert after.nonce > before.nonce


def test_second_spend_in_one_block_sees_the_first() -> None:
    chain = DictChain(make_genesis(3, tokens_micro=100))
    spend = transfer(chain.community, 1, 60)
    first, second = chain.block((0, spend), (0, spend)).receipts
    assert first.status is Status.EXECUTED
    assert second.reason is Reason.TRANSFER_INSUFFICIENT_TOKENS
