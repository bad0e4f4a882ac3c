"""What the chain tells of contracts: executed, declined, promised, and by which names they are found."""

from collections.abc import Iterator
from itertools import count

import pytest
from rich.console import Console

from consensus.identifiers import Height
from contracts.transactions import trade_id, transaction_digest
from node.cli.story_tables import show_story
from node.errors import NotFound
from node.replies.stories import TradeStoryReply
from node.stories.trade_story import trade_story
from tests.support.contracts import signed_cancellation, signed_reading, signed_trade, trade_terms
from tests.support.ledger import ChainBuilder
from tests.support.names import names_in
from tests.support.stories import StoryChain, told


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoryChain]:
    chain = StoryChain(tmp_path_factory.mktemp("stories") / "ledger")
    yield chain
    chain.ledger.close()


def story_of(chain: StoryChain, name: bytes) -> TradeStoryReply:
    return told(trade_story(chain.ledger, names_in(chain.ledger), name.hex()))


def shown(story: TradeStoryReply) -> str:
    console = Console(width=200, force_terminal=False)
    with console.capture() as captured:
        show_story(console, story)
    return captured.get()


def test_a_spot_trade_is_told_with_conditions_values_scores_and_proof(chain: StoryChain) -> None:
    story = story_of(chain, chain.names.spot)
    assert (story.status, story.seller.name, story.buyer.name) == ("completed", "home1", "home2")
    assert (story.energy_wh, story.delivered_wh, story.amount_micro, story.fee_micro) == (100, 100, 20_000, 2_000)
    assert story.sentence == (
        "home1 sold home2 100 Wh of 2016-06-01 00:00 UTC at 0.20 tokens per kWh; "
        "home2 paid 0.020000 tokens to home1 and 0.002000 as grid fee."
    )
    assert [condition.outcome for condition in story.conditions] == ["held"] * 4
    values = {
        (posting.party, posting.asset): (posting.before, posting.after)
        for posting in story.conditions[0].postings + story.conditions[1].postings
    }
    assert values["seller", "energy_wh"] == (300, 200)
    assert values["buyer", "tokens_micro"] == (10_000_000_000, 9_999_978_000)
    assert values["escrow", "tokens_micro"] == (0, 22_000)
    assert [posting.party for posting in story.conditions[3].postings] == ["escrow", "seller", "grid"]
    (block,) = story.blocks
    assert (block.height, len(block.validators)) == (2, 3)
    assert story.proof.count == 1


def test_the_scores_of_a_trade_are_those_of_the_state_before_and_after(chain: StoryChain) -> None:
    moves = story_of(chain, chain.names.spot).scores
    assert [move.role for move in moves] == ["seller", "buyer", "leader", *["validator"] * 3]
    seller, buyer, leader = moves[:3]
    assert (seller.before_millionths, seller.after_millionths) == (1_000_000, 1_018_000)
    assert (buyer.before_millionths, buyer.after_millionths, buyer.cause) == (1_000_000, 1_018_000, "buyer")
    assert seller.reference == chain.names.spot.hex()
    assert leader.height == 3
    assert leader.after_millionths > leader.before_millionths
    assert all(move.after_millionths >= move.before_millionths for move in moves)


def test_a_declined_contract_is_told_with_its_failed_condition(chain: StoryChain) -> None:
    story = story_of(chain, chain.names.too_large)
    assert story.status == "declined"
    assert "condition_1_seller_energy: seller has 200 Wh available, contract 250 Wh" in story.sentence
    assert story.sentence.endswith("At fault: home1.")
    assert [condition.outcome for condition in story.conditions] == ["failed", "not_asked", "not_asked", "not_asked"]
    assert story.conditions[0].detail == "seller has 200 Wh available, contract 250 Wh"
    assert not any(condition.postings for condition in story.conditions)
    seller = story.scores[0]
    assert (seller.cause, seller.reference) == ("fault", story.attempts[0].transaction)
    assert seller.after_millionths < seller.before_millionths
    assert {move.role for move in story.scores} == {"seller", "buyer"}


def test_conditions_before_the_one_that_failed_held(tmp_path) -> None:  # type: ignore[no-untyped-def]
    builder = ChainBuilder.create(tmp_path / "ledger")
    readings = [signed_reading(builder.community, member, net) for member, net in ((0, 300), (1, -100))]
    builder.append([builder.transaction(member, reading) for member, reading in enumerate(readings)])
    contract = signed_trade(builder.community, 0, 1, 120)
    builder.append([builder.transaction(1, contract)])
    story = told(trade_story(builder.ledger, names_in(builder.ledger), trade_id(contract.terms).hex()))
    assert [condition.outcome for condition in story.conditions] == ["held", "held", "failed", "not_asked"]
    assert story.conditions[2].detail == "buyer's open deficit is 100 Wh, contract 120 Wh"
    assert story.scores[1].cause == "fault"
    builder.ledger.close()


def test_every_attempt_is_told_and_the_honest_one_decides(chain: StoryChain) -> None:
    story = story_of(chain, chain.names.altered)
    assert story.status == "completed"
    assert [(attempt.status, attempt.sender.name) for attempt in story.attempts] == [
        ("declined", "home4"),
        ("declined", "home3"),
        ("executed", "home3"),
    ]
    assert {attempt.reason for attempt in story.attempts[:2]} == {"trade_seller_signature"}
    assert [attempt.fault and attempt.fault.name for attempt in story.attempts] == ["home4", "home3", None]
    assert story.receipt_transaction == story.attempts[2].transaction


def test_a_forward_trade_is_told_from_promise_to_partial_delivery(chain: StoryChain) -> None:
    story = story_of(chain, chain.names.partial)
    assert (story.status, story.kind) == ("completed", "forward")
    assert (story.energy_wh, story.delivered_wh) == (100, 50)
    assert (story.amount_micro, story.fee_micro, story.refunded_micro) == (10_000, 1_000, 11_000)
    first, last = story.blocks[0], story.blocks[-1]
    assert first.record is not None
    assert last.record is not None
    assert (first.record.status, first.record.held_micro) == ("pending", 22_000)
    assert (last.record.status, last.record.held_micro) == ("completed", 0)
    assert [condition.height for condition in story.conditions] == [
        first.height,
        first.height,
        last.height,
        last.height,
    ]
    assert "50 Wh of 100 contracted" in story.sentence
    assert "0.011000 tokens went back to home2" in story.sentence


@pytest.mark.parametrize(("which", "status"), [("expired", "expired"), ("cancelled", "cancelled")])
def test_a_forward_trade_without_delivery_is_refunded_in_full(chain: StoryChain, which: str, status: str) -> None:
    story = story_of(chain, getattr(chain.names, which))
    assert (story.status, story.delivered_wh, story.amount_micro, story.refunded_micro) == (status, 0, 0, 8_800)
    assert [condition.outcome for condition in story.conditions] == ["held", "held", "not_asked", "not_asked"]
    assert len(story.blocks) == 2
    assert len(story.attempts) == (2 if which == "cancelled" else 1)


def test_a_contract_is_found_by_the_beginning_of_its_id_or_of_a_transaction(chain: StoryChain) -> None:
    whole = story_of(chain, chain.names.spot)
    for name in (chain.names.spot.hex(), chain.names.spot_transaction.hex()):
        for digits in (8, 9, 63):
            assert told(trade_story(chain.ledger, names_in(chain.ledger), name[:digits].upper())) == whole
    declined = story_of(chain, chain.names.altered).attempts[0].transaction
    assert told(trade_story(chain.ledger, names_in(chain.ledger), declined[:12])) == story_of(
        chain, chain.names.altered
    )


@pytest.mark.parametrize("text", ["", "abc", "1234567", "z" * 8, "00" * 33, "0" * 64])
def test_what_is_no_name_is_told(chain: StoryChain, text: str) -> None:
    with pytest.raises(NotFound) as refused:
        told(trade_story(chain.ledger, names_in(chain.ledger), text))
    assert refused.value.reason == "unknown_trade"


def test_readings_transfers_and_evidence_are_no_contracts(chain: StoryChain) -> None:
    reading = chain.ledger.receipts(Height(1))[0]
    assert reading.reference is not None
    for name in (reading.transaction, reading.reference, chain.names.transfer, chain.names.misconduct_transaction):
        with pytest.raises(NotFound):
            story_of(chain, name)


def test_two_contracts_that_begin_alike_are_told_apart_by_more_digits(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Ids are hashes: of 70,000 some two share their first 8 digits as a rule; such two are found by trying."""
    chain = StoryChain(tmp_path / "ledger")
    seen: dict[str, tuple[str, int]] = {}
    for counter in count(100):
        second = trade_id(trade_terms(chain.community, 0, 1, 1, offer_counter=counter)).hex(), counter
        first = seen.setdefault(second[0][:8], second)
        if first is not second:
            break
    for _, counter in (first, second):
        contract = signed_trade(chain.community, 0, 1, 1, offer_counter=counter)
        chain.builder.append([chain.builder.transaction(1, contract)])
    with pytest.raises(NotFound) as refused:
        told(trade_story(chain.ledger, names_in(chain.ledger), first[0][:8]))
    assert refused.value.reason == "ambiguous_name"
    assert told(trade_story(chain.ledger, names_in(chain.ledger), first[0])).trade == first[0]
    chain.ledger.close()


def test_a_contract_that_was_cancelled_before_it_came_is_told(tmp_path) -> None:  # type: ignore[no-untyped-def]
    chain = StoryChain(tmp_path / "ledger")
    terms, keys = trade_terms(chain.community, 0, 1, 10, offer_counter=77), chain.community.node_keys
    raw = chain.builder.transaction(0, signed_cancellation(terms, seller=keys[0], buyer=keys[1]))
    chain.builder.append([raw])
    late = chain.builder.transaction(1, signed_trade(chain.community, 0, 1, 10, offer_counter=77))
    chain.builder.append([late])
    story = story_of(chain, trade_id(terms))
    assert (story.status, story.receipt_transaction) == ("cancelled", transaction_digest(raw).hex())
    assert [attempt.status for attempt in story.attempts] == ["executed", "declined"]
    assert "cancelled" in story.sentence
    chain.ledger.close()


def test_the_story_is_printed_for_people(chain: StoryChain) -> None:
    text = shown(story_of(chain, chain.names.partial))
    assert text.startswith(f"Trade {chain.names.partial.hex()}: completed\n")
    assert "forward: promised before the energy was there" in text
    assert "escrow 0 -> 100 Wh" in text
    assert "pending, 0.022000 tokens held" in text
    declined = shown(story_of(chain, chain.names.too_large))
    assert "declined, condition_1_seller_energy" in declined
    assert "at fault: home1" in declined
