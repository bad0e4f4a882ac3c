import json

import pytest

from consensus.identifiers import Address, Digest, Height
from contracts.state import (
    AGENDA_KEY,
    ATTENDANCE_KEY,
    HEIGHT_MARKS_KEY,
    LAST_BLOCK_KEY,
    MEMBER_LIST_KEY,
    RANDOMNESS_KEY,
    TOTALS_KEY,
    Table,
    account_key,
    debt_key,
    deficit_key,
    due_key,
    interval_key,
    member_key,
    misconduct_key,
    offer_key,
    packet_key,
    promises_key,
    reading_key,
    rewarded_pair_key,
    score_key,
    trade_key,
)
from contracts.transactions import transaction_digest
from ledger.block import block_digest
from ledger.errors import StateKeyRefused
from ledger.show import block_rows, show_block, show_history, show_state, show_transaction
from ledger.state_keys import parse_state_key, state_key_text
from tests.support.contracts import FIRST_INTERVAL_MS
from tests.support.ledger import ChainBuilder

A = Address(bytes(range(32)))
B = Address(bytes(range(32, 64)))


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    builder = ChainBuilder.create(tmp_path_factory.mktemp("show") / "ledger")
    builder.append_trading_hour()
    builder.append()
    yield builder
    builder.ledger.close()


def test_rows_list_slot_leader_and_expected_leader(chain):
    rows = list(block_rows(chain.ledger, first=Height(0), last=Height(99)))
    assert [row.height for row in rows] == [1, 2, 3]
    assert [row.transactions for row in rows] == [4, 1, 0]
    for row in rows:
        assert row.leader == row.expected_leader == chain.community.addresses[row.slot % 4].hex()
        assert row.digest == block_digest(chain.ledger.block(row.height).header).hex()
    assert [row.height for row in block_rows(chain.ledger, first=Height(2), last=Height(2))] == [2]
    assert list(block_rows(chain.ledger, first=Height(4), last=Height(9))) == []


def test_a_block_is_shown_whole(chain):
    shown = json.loads(json.dumps(show_block(chain.ledger, Height(2))))
    assert shown["header"]["height"] == 2
    assert shown["header"]["leader"] == shown["expected_leader"]
    action = shown["transactions"][0]["transaction"]["envelope"]["action"]
    assert action["type"] == "submit-trade"
    assert action["terms"]["seller"] == chain.community.addresses[0].hex()
    assert shown["receipts"][0]["status"] == "executed"
    assert len(shown["postings"]) == 8
    assert len(shown["certificate"]["endorsements"]) == 3
    assert shown["parent_certificate"]["height"] == 1
    assert show_block(chain.ledger, Height(0)) is None
    assert show_block(chain.ledger, Height(4)) is None


def test_a_transaction_is_shown_with_its_place_and_receipt(chain):
    raw = chain.ledger.block(1).transactions[2]
    shown = json.loads(json.dumps(show_transaction(chain.ledger, transaction_digest(raw))))
    assert (shown["height"], shown["index"], shown["slot"]) == (1, 2, 1)
    assert shown["digest"] == shown["receipt"]["transaction"] == transaction_digest(raw).hex()
    assert shown["transaction"]["envelope"]["action"]["type"] == "publish-reading"
    assert show_transaction(chain.ledger, Digest(bytes(32))) is None


def test_a_key_is_shown_with_its_newest_value_and_its_history(chain):
    shown = show_state(chain.ledger, TOTALS_KEY)
    history = list(show_history(chain.ledger, TOTALS_KEY))
    assert shown == history[-1]
    assert shown["key"] == "totals"
    assert shown["value"]["trades_completed"] == 1
    assert history[0]["height"] == 0
    assert show_state(chain.ledger, account_key(A)) is None
    assert list(show_history(chain.ledger, account_key(A))) == []


def test_every_stored_key_can_be_shown_and_named(chain):
    count = 0
    for table in Table:
        for key, _ in chain.ledger.scan(table):
            assert parse_state_key(state_key_text(key)) == key
            assert json.dumps(show_state(chain.ledger, key))
            count += 1
    assert count > 20


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (f"account:{A.hex()}", account_key(A)),
        ("agenda:7", due_key(7)),
        (f"debt:{A.hex()}", debt_key(A)),
        (f"deficit:{A.hex()}:2016-06-01T00:00:00Z", deficit_key(A, FIRST_INTERVAL_MS)),
        ("interval:2016-06-01T00:00:00Z", interval_key(FIRST_INTERVAL_MS)),
        ("interval:2016-06-01T00:00:00.250Z", interval_key(FIRST_INTERVAL_MS + 250)),
        (f"member:{A.hex()}", member_key(A)),
        (f"offer:{A.hex()}:12", offer_key(A, 12)),
        (f"packet:{B.hex()}", packet_key(Digest(B))),
        (f"pair:{A.hex()}:{B.hex()}:2016-06-01T00:00:00Z", rewarded_pair_key(A, B, FIRST_INTERVAL_MS)),
        (f"score:{A.hex()}", score_key(A)),
        (f"trade:{B.hex()}", trade_key(Digest(B))),
        ("totals", TOTALS_KEY),
        (f"misconduct:{B.hex()}", misconduct_key(Digest(B))),
        (f"promises:{A.hex()}:2016-06-01T00:00:00Z", promises_key(A, FIRST_INTERVAL_MS)),
        (f"reading:{A.hex()}:2016-06-01T00:00:00Z", reading_key(A, FIRST_INTERVAL_MS)),
        ("agenda", AGENDA_KEY),
        ("members", MEMBER_LIST_KEY),
        ("last-block", LAST_BLOCK_KEY),
        ("attendance", ATTENDANCE_KEY),
        ("height-marks", HEIGHT_MARKS_KEY),
        ("randomness", RANDOMNESS_KEY),
    ],
)
def test_keys_are_written_and_read(text, key):
    assert parse_state_key(text) == key
    assert state_key_text(key) == text


def test_an_offset_names_the_same_interval():
    assert parse_state_key("interval:2016-06-01T02:00:00+02:00") == interval_key(FIRST_INTERVAL_MS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "account",
        "account:",
        "account:xyz",
        f"account:{A.hex()[:-1]}",
        f"account:{A.hex()}00",
        f"account:{A.hex()}:7",
        f"account: {A.hex()}",
        "wallet:7",
        "agenda:-1",
        "agenda:1.5",
        f"agenda:{2**64}",
        "agenda:\N{FULLWIDTH DIGIT SEVEN}",
        "interval:2016-06-01",
        "interval:2016-06-01T00:00:00",
        "interval:1960-06-01T00:00:00Z",
        "interval:yesterday",
        f"deficit:{A.hex()}",
        "totals:1",
    ],
)
def test_what_names_no_key_is_refused(text):
    with pytest.raises(StateKeyRefused):
        parse_state_key(text)
