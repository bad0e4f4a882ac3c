"""Who tells stories from a ledger that began at a block tells what a whole one tells, or that it cannot: for every
height that it may begin at, and everything that can be asked.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from consensus.codec import decode
from consensus.identifiers import Digest, Height, Slot
from contracts.state import Score, score_key
from ledger.errors import BlocksNotHere
from ledger.ledger import Ledger
from node.errors import NotFound
from node.evidence.double_offers import DoubleOffers
from node.proofs.receipt_check import check_receipt
from node.proofs.receipt_file import answer_of, export_receipt
from node.replies.parameters import OwnTransactionsParameters, TradesParameters
from node.stories.lists import trade_list
from node.stories.member_changes import changes_of
from node.stories.members import members_of
from node.stories.misconduct import list_misconduct, show_misconduct
from node.stories.own_transactions import own_transactions
from node.stories.score_history import score_history
from node.stories.statement import month_statement
from node.stories.trade_story import trade_story
from tests.support.contracts import FIRST_INTERVAL_MS, signed_forward, signed_reading, signed_trade
from tests.support.ledger import ChainBuilder
from tests.support.names import names_in
from tests.support.origins import begun_at, follow
from tests.support.stories import StoryChain, told

MONTH = "2016-06"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stories")


@pytest.fixture(scope="module")
def chain(folder: Path) -> Iterator[StoryChain]:
    made = StoryChain(folder / "ledger")
    yield made
    made.ledger.close()


@dataclass(frozen=True)
class Question:
    """Something to ask a ledger; its answer without what is only about where the ledger begins."""

    name: str
    ask: Callable[[Ledger], Any]


def plain(model: BaseModel) -> dict[str, Any]:
    return {name: value for name, value in model.model_dump().items() if name != "first_height"}


def contracts_of(chain: StoryChain) -> dict[str, Digest]:
    names = chain.names
    return {
        "spot": names.spot,
        "too large": names.too_large,
        "altered": names.altered,
        "partial": names.partial,
        "expired": names.expired,
        "cancelled": names.cancelled,
    }


def transactions_of(chain: StoryChain) -> list[Digest]:
    heights = range(1, chain.ledger.height + 1)
    return [receipt.transaction for height in heights for receipt in chain.ledger.receipts(Height(height))]


def questions(chain: StoryChain) -> Iterator[Question]:
    """What has one right answer, wherever the ledger begins."""
    for name, trade in contracts_of(chain).items():
        yield Question(f"story {name}", lambda ledger, trade=trade: told_story(ledger, trade))
        yield Question(f"receipt {name}", lambda ledger, trade=trade: receipt_of(ledger, chain, trade))
    for number, transaction in enumerate(transactions_of(chain)):
        yield Question(f"receipt {number}", lambda ledger, one=transaction: receipt_of(ledger, chain, one))
    for member in chain.community.addresses:
        asked = member.hex()
        yield Question(
            "statement",
            lambda ledger, asked=asked: plain(told(month_statement(ledger, names_in(ledger), asked, MONTH))),
        )
    yield Question("misconduct", lambda ledger: plain(list_misconduct(ledger, names_in(ledger))))
    (found,) = list_misconduct(chain.ledger, names_in(chain.ledger)).misconducts
    yield Question("statements", lambda ledger: plain(show_misconduct(ledger, names_in(ledger), found.misconduct)))
    yield Question("members", lambda ledger: plain(members_of(ledger, names_in(ledger), frozenset())))
    yield Question("changes", lambda ledger: plain(changes_of(ledger, names_in(ledger))))


def told_story(ledger: Ledger, trade: Digest) -> dict[str, Any]:
    story = plain(told(trade_story(ledger, names_in(ledger), trade.hex())))
    attempts = story.pop("attempts"), story.pop("attempts_left_out"), story.pop("blocks")
    first = ledger.first_height
    story["attempts here"] = [one for one in attempts[0] if one["height"] >= first]
    story["blocks here"] = [one for one in attempts[2] if one["height"] >= first]
    return story


def receipt_of(ledger: Ledger, chain: StoryChain, name: Digest) -> bytes:
    receipt = told(export_receipt(ledger, name.hex(), chain.community.node_keys[0]))
    assert check_receipt(receipt, chain.community.genesis), "whoever has genesis alone is convinced"
    return answer_of(receipt)


HEIGHTS = range(1, 14)


@pytest.fixture
def begun(chain: StoryChain, tmp_path: Path, height: int) -> Iterator[Ledger]:
    ledger = begun_at(chain.ledger, height, tmp_path / "ledger")
    follow(ledger, chain.ledger)
    yield ledger
    ledger.close()


def test_the_chain_is_as_long_as_what_is_asked_about(chain: StoryChain) -> None:
    assert chain.ledger.height == HEIGHTS[-1]


@pytest.mark.parametrize("height", HEIGHTS)
def test_it_tells_the_same_or_that_it_cannot(chain: StoryChain, begun: Ledger, height: int) -> None:
    told_by_both = []
    for question in questions(chain):
        right = question.ask(chain.ledger)
        try:
            answer = question.ask(begun)
        except BlocksNotHere:
            continue
        if question.name.startswith("story"):
            for part in ("attempts here", "blocks here"):
                right[part] = [one for one in right[part] if one["height"] >= height]
        assert answer == right, question.name
        told_by_both.append(question.name)
    receipts = sum(len(chain.ledger.receipts(Height(one))) for one in range(height, chain.ledger.height + 1))
    assert sum(name[8:].isdigit() for name in told_by_both) == receipts, "every transaction from there on"
    assert {"misconduct", "members", "changes"} <= set(told_by_both)


def paged(read: Callable[[str | None], Any], rows: str) -> Iterator[Any]:
    """Yields the rows of all pages."""
    after = None
    while True:
        page = read(after)
        yield from getattr(page, rows)
        after = page.next_after
        if after is None:
            return


@pytest.mark.parametrize("height", HEIGHTS)
def test_lists_begin_where_it_begins_and_say_so(chain: StoryChain, begun: Ledger, height: int) -> None:
    for order in ("newest", "oldest"):

        def trades(ledger: Ledger, order: str = order) -> list[Any]:
            def page(after: str | None) -> Any:
                reply = told(trade_list(ledger, TradesParameters(limit=1, after=after, order=order)))
                assert reply.first_height == ledger.first_height
                return reply

            return list(paged(page, "trades"))

        assert trades(begun) == [trade for trade in trades(chain.ledger) if trade.height >= height]
    for address in chain.community.addresses:

        def own(ledger: Ledger, address: bytes = address) -> list[Any]:
            def page(after: str | None) -> Any:
                reply = told(
                    own_transactions(ledger, OwnTransactionsParameters(address=address.hex(), limit=2, after=after))
                )
                assert reply.first_height == ledger.first_height
                return reply

            return list(paged(page, "transactions"))

        assert own(begun) == [one for one in own(chain.ledger) if one.height >= height]


def scores(ledger: Ledger, address: bytes) -> list[Any]:
    def page(after: Height | None) -> Any:
        reply = told(score_history(ledger, names_in(ledger), address.hex(), after=after, versions_max=2))
        assert reply.first_height == ledger.first_height
        return reply

    return list(paged(page, "versions"))  # type: ignore[arg-type]


@pytest.mark.parametrize("height", HEIGHTS)
def test_a_score_has_its_value_there_and_then_what_moved_it(chain: StoryChain, begun: Ledger, height: int) -> None:
    for address in chain.community.addresses:
        first, *later = scores(begun, address)
        right = [version for version in scores(chain.ledger, address) if version.height > height]
        assert later == right
        stored = chain.ledger.get_at(score_key(address), Height(height))
        assert stored is not None
        assert (first.height, first.value_millionths) == (height, decode(stored, Score).value)
        assert first.words == f"what it was after block {height}, where this node's ledger begins"


def test_a_score_is_asked_for_from_a_height_below(chain: StoryChain, tmp_path: Path) -> None:
    ledger = begun_at(chain.ledger, 9, tmp_path / "ledger")
    follow(ledger, chain.ledger)
    asked, names = chain.community.addresses[1].hex(), names_in(ledger)
    below = told(score_history(ledger, names, asked, after=Height(3), versions_max=50))
    assert below == told(score_history(ledger, names, asked, after=None, versions_max=50))
    ledger.close()


@pytest.mark.parametrize("height", HEIGHTS)
def test_no_contradiction_is_found_that_was_none_and_none_is_a_crash(
    chain: StoryChain, begun: Ledger, height: int
) -> None:
    offers, right = DoubleOffers(begun), DoubleOffers(chain.ledger)
    for number in range(1, chain.ledger.height + 1):
        whole = list(right.in_block(Height(number)))
        if number >= height:
            assert [one for one in offers.in_block(Height(number)) if one not in whole] == []


def test_what_never_was_is_not_taken_for_what_lies_below_and_the_other_way_round(
    chain: StoryChain, tmp_path: Path
) -> None:
    never = Digest(bytes(32))
    with pytest.raises(NotFound):
        told_story(chain.ledger, never)
    ledger = begun_at(chain.ledger, 5, tmp_path / "ledger")
    with pytest.raises(BlocksNotHere):
        told_story(ledger, never)
    with pytest.raises(BlocksNotHere):
        told_story(ledger, chain.names.spot)
    ledger.close()


def test_a_statement_without_contracts_that_were_made_below_is_refused(tmp_path: Path) -> None:
    """A forward trade is agreed on before its hour is metered: the readings are here, and the contract is not."""
    builder = ChainBuilder.create(tmp_path / "whole")
    community, later = builder.community, Slot(1_000)
    contract = signed_forward(
        community, 0, 1, 100, offer_counter=0, delivery_start_ms=FIRST_INTERVAL_MS, expiry_slot=later
    )
    builder.append([builder.transaction(1, contract)])
    builder.append()
    begun = begun_at(builder.ledger, 2, tmp_path / "ledger")
    readings = [(0, 100), (1, -100), (2, -1), (3, -1)]
    builder.append([builder.transaction(member, signed_reading(community, member, net)) for member, net in readings])
    for slot in (500, 600):
        builder.append(slot=slot)
    follow(begun, builder.ledger)
    buyer = community.addresses[1].hex()
    whole = told(month_statement(builder.ledger, names_in(builder.ledger), buyer, MONTH))
    assert (whole.is_balanced, whole.total.bought_wh) == (True, 100)
    with pytest.raises(BlocksNotHere):
        told(month_statement(begun, names_in(begun), buyer, MONTH))
    for ledger in (builder.ledger, begun):
        ledger.close()


def test_a_contradiction_of_a_contract_below_is_left_to_members_that_have_it(tmp_path: Path) -> None:
    """Two contracts under one offer id: the first executed below the origin, the second is declined above it."""
    builder = ChainBuilder.create(tmp_path / "whole")
    builder.append_trading_hour()
    builder.append()
    begun = begun_at(builder.ledger, 3, tmp_path / "ledger")
    second = signed_trade(builder.community, 0, 1, 7, offer_counter=0)
    builder.append([builder.transaction(1, second)])
    follow(begun, builder.ledger)
    assert len(list(DoubleOffers(builder.ledger).in_block(Height(4)))) == 2
    assert list(DoubleOffers(begun).in_block(Height(4))) == []
    for ledger in (builder.ledger, begun):
        ledger.close()
