"""Issuing and redeeming of tokens: who may, how much, and what the totals say."""

import pytest

from consensus.codec import encode
from consensus.cryptography import SigningKey
from contracts.receipts import Reason, Status
from contracts.state import TOTALS_KEY, account_key
from contracts.transactions import TOKENS_MAX, IssueTokens, RedeemTokens
from tests.support.contracts import DictChain, make_genesis, seeded_key, transfer

HOMES = make_genesis(2, tokens_micro=100)
ISSUER = HOMES.issuer_key


def issue(recipient: bytes, amount: int) -> IssueTokens:
    return IssueTokens(recipient=recipient, amount_micro=amount)


def send(chain: DictChain, sender: int | SigningKey, action: IssueTokens | RedeemTokens) -> Reason:
    (receipt,) = chain.block((sender, action)).receipts
    assert receipt.fault is None
    assert (receipt.status is Status.EXECUTED) is (receipt.reason is Reason.NONE)
    return receipt.reason


def test_the_issuer_puts_tokens_into_a_wallet() -> None:
    chain = DictChain(HOMES)
    assert send(chain, ISSUER, issue(HOMES.addresses[1], 50)) is Reason.NONE
    assert [chain.account(member).available_micro for member in (0, 1)] == [100, 150]
    assert (chain.totals().issued_micro, chain.totals().redeemed_micro) == (250, 0)


@pytest.mark.parametrize("wallet", [HOMES.issuer_key, HOMES.grid_key])
def test_the_accounts_that_are_no_members_hold_tokens_too(wallet: SigningKey) -> None:
    chain = DictChain(HOMES)
    assert send(chain, ISSUER, issue(wallet.address, 50)) is Reason.NONE
    (receipt,) = chain.block((wallet, transfer(HOMES, 0, 50))).receipts
    assert receipt.status is Status.EXECUTED
    assert chain.account(0).available_micro == 150


@pytest.mark.parametrize("sender", [0, HOMES.grid_key])
def test_nobody_else_issues(sender: int | SigningKey) -> None:
    chain = DictChain(HOMES)
    before = chain.state[TOTALS_KEY]
    assert send(chain, sender, issue(HOMES.addresses[0], 1)) is Reason.ISSUE_NOT_ISSUER
    assert chain.state[TOTALS_KEY] == before
    assert chain.account(0).available_micro == 100


def test_no_tokens_for_a_stranger() -> None:
    chain = DictChain(HOMES)
    stranger = seeded_key("stranger", 0).address
    assert send(chain, ISSUER, issue(stranger, 1)) is Reason.ISSUE_UNKNOWN_RECIPIENT
    assert account_key(stranger) not in chain.state
    assert chain.totals().issued_micro == 200


@pytest.mark.parametrize(
    ("amount", "reason"), [(TOKENS_MAX - 200, Reason.NONE), (TOKENS_MAX - 199, Reason.ISSUE_ABOVE_BOUND)]
)
def test_there_are_never_more_than_the_bound(amount: int, reason: Reason) -> None:
    chain = DictChain(HOMES)
    assert send(chain, ISSUER, issue(HOMES.addresses[0], amount)) is reason
    if reason is Reason.NONE:
        assert chain.totals().issued_micro == TOKENS_MAX
        assert send(chain, ISSUER, issue(HOMES.addresses[0], 1)) is Reason.ISSUE_ABOVE_BOUND


def test_redeemed_tokens_are_gone() -> None:
    chain = DictChain(HOMES)
    assert send(chain, 0, RedeemTokens(amount_micro=100)) is Reason.NONE
    assert chain.account(0).available_micro == 0
    assert (chain.totals().issued_micro, chain.totals().redeemed_micro) == (200, 100)
    assert send(chain, 0, RedeemTokens(amount_micro=1)) is Reason.REDEEM_INSUFFICIENT_TOKENS


def test_nobody_redeems_more_than_it_has() -> None:
    chain = DictChain(HOMES)
    assert send(chain, 0, RedeemTokens(amount_micro=101)) is Reason.REDEEM_INSUFFICIENT_TOKENS
    assert chain.account(0).available_micro == 100
    assert chain.totals().redeemed_micro == 0


def test_issuing_is_equal_on_replays() -> None:
    one, two = DictChain(HOMES), DictChain(HOMES)
    signed = [one.sign(ISSUER, issue(HOMES.addresses[0], 7)), one.sign(0, RedeemTokens(amount_micro=3))]
    assert encode(one.apply(signed).receipts) == encode(two.apply(signed).receipts)
    assert one.state == two.state
