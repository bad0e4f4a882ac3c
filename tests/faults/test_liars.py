"""A lying seller and a lying buyer as real daemons: declined, nothing moved, settled once, the liar pays."""

from itertools import pairwise
from pathlib import Path

import pytest

from consensus.codec import decode
from consensus.identifiers import Address, Height
from contracts.receipts import Reason, Receipt, Status
from contracts.state import MEMBER_LIST_KEY, MemberList, Score, Totals, score_key
from contracts.transactions import SubmitTrade, decode_transaction
from ledger.ledger import Ledger
from node.readings import read_readings, summarise
from node.state_views import read_totals, require
from tests.faults.liars import ALTERATION_WH
from tests.faults.running import ROOT, running

HOURS = 24
SELLER, BUYER = 3, 2  # households with and without a solar roof


@pytest.mark.parametrize(
    ("liar", "behaviour", "reason"),
    [
        (SELLER, "lying-seller", Reason.TRADE_BUYER_SIGNATURE),
        (BUYER, "lying-buyer", Reason.TRADE_SELLER_SIGNATURE),
    ],
)
def test_an_altered_contract_is_declined_and_the_original_settles_once(
    tmp_path: Path, liar: int, behaviour: str, reason: Reason
) -> None:
    with running(tmp_path / "testnet", hours=HOURS, behaviours={liar: behaviour}) as testnet:
        finished = testnet.wait_until_finished()
        testnet.stop()
        with testnet.ledger(1) as ledger:
            liar_address = Address(bytes.fromhex(finished[liar - 1]["address"]))
            lie, receipt, height = the_lie(ledger)
            assert (receipt.reason, receipt.fault) == (reason, liar_address)
            original = executed_contracts(ledger, lie)
            assert len(original) == 1, "the original settles exactly once"
            assert lie.terms.energy_wh == original[0].terms.energy_wh + ALTERATION_WH
            assert scores_that_fell(ledger) == {liar_address: height}
            check_totals(ledger)
    assert {status["conserved"] for status in finished} == {True}


def trades_of(ledger: Ledger) -> list[tuple[SubmitTrade, Receipt, Height]]:
    found = []
    for height in map(Height, range(1, ledger.height + 1)):
        block = ledger.block(height)
        assert block is not None
        for raw, receipt in zip(block.transactions, ledger.receipts(height), strict=True):
            action = decode_transaction(raw).envelope.action
            if isinstance(action, SubmitTrade):
                found.append((action, receipt, height))
    return found


def the_lie(ledger: Ledger) -> tuple[SubmitTrade, Receipt, Height]:
    declined = [trade for trade in trades_of(ledger) if trade[1].status is Status.DECLINED]
    assert len(declined) == 1
    return declined[0]


def executed_contracts(ledger: Ledger, lie: SubmitTrade) -> list[SubmitTrade]:
    """Returns what executed under the offer id of the lie."""
    offer = (lie.terms.seller, lie.terms.offer_counter)
    return [
        action
        for action, receipt, _ in trades_of(ledger)
        if receipt.status is Status.EXECUTED and (action.terms.seller, action.terms.offer_counter) == offer
    ]


def scores_that_fell(ledger: Ledger) -> dict[Address, Height]:
    """Returns each member whose score ever fell, with the height at which it did."""
    fell = {}
    for member in require(ledger, MEMBER_LIST_KEY, MemberList).addresses:
        versions = [(height, decode(raw, Score).value) for height, raw in ledger.history(score_key(member))]
        for (_, before), (height, after) in pairwise(versions):
            if after < before:
                fell[member] = height
    return fell


def check_totals(ledger: Ledger) -> None:
    """Everything that can be traded was, and the lie moved nothing: energy and money are those of the trades."""
    totals: Totals = read_totals(ledger)
    executed = [action.terms for action, receipt, _ in trades_of(ledger) if receipt.status is Status.EXECUTED]
    tradable = summarise(read_readings(ROOT / "node" / "data" / "households.csv"), HOURS).tradable_wh
    assert totals.claimed_wh == sum(terms.energy_wh for terms in executed) == tradable
    assert totals.trades_declined == 1
    assert totals.escrow_wh == 0
