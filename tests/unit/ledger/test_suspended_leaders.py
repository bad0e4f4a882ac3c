"""A suspended member leads nothing: what the ledger says, builds, takes, reads back and verifies."""

from pathlib import Path
from unittest.mock import patch

import pytest
from msgspec.structs import replace

from consensus.identifiers import Height, Slot
from consensus.membership import Leaders
from contracts.transactions import ReportMisconduct
from ledger.block import Block
from ledger.errors import DecidedBlockRefused
from ledger.ledger import Ledger
from ledger.validation import BlockRefusalReason
from ledger.verify import verify_ledger
from tests.support.contracts import make_genesis
from tests.support.ledger import ChainBuilder
from tests.support.stories import two_votes

LED_BY_THREE = 7
"""A slot of member 3."""


@pytest.fixture
def chain(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Member 3 of four contradicted itself in the last block, which it led."""
    builder = ChainBuilder.create(tmp_path / "ledger")
    builder.append(slot=1)
    builder.append([suspension(builder, 3)], slot=3)
    yield builder
    builder.ledger.close()


def suspension(builder: ChainBuilder, member: int) -> bytes:
    return builder.transaction(0, ReportMisconduct(evidence=two_votes(builder.community, member)))


def led_by_three(chain: ChainBuilder) -> Block:
    """The next block, right in everything but that its leader may not lead."""
    led = chain.build(slot=LED_BY_THREE + 1)
    header = replace(led.header, slot=Slot(LED_BY_THREE), leader=chain.community.addresses[3])
    return replace(led, header=header)


def built_by_three(chain: ChainBuilder) -> Block:
    """The same, as a home executes it whose software knows nothing of this."""
    with patch.object(Leaders, "at", Leaders.whose):
        return chain.build(slot=LED_BY_THREE)


def test_from_the_height_above_on_the_members_slots_pass_unused(chain: ChainBuilder) -> None:
    leaders, addresses = chain.ledger.memberships().leaders, chain.community.addresses
    assert [leaders.at(Slot(slot)) for slot in range(4, 8)] == [*addresses[:3], None]
    assert chain.ledger.decided_block(Height(2)).header.leader == addresses[3]


def test_a_block_that_it_leads_is_refused_before_it_is_executed(chain: ChainBuilder) -> None:
    refusal = chain.ledger.check(led_by_three(chain))
    assert refusal is not None
    assert refusal.reason is BlockRefusalReason.NOT_THE_LEADER
    assert refusal.detail.endswith("should be none")


def test_no_quorums_word_makes_it_right(chain: ChainBuilder) -> None:
    block = built_by_three(chain)
    chain.ledger._executed.clear()
    with pytest.raises(DecidedBlockRefused, match="not_the_leader"):
        chain.ledger.append(block, chain.certify(block))
    assert chain.ledger.height == 2


def test_verify_finds_it_in_a_ledger_that_took_it(chain: ChainBuilder, tmp_path: Path) -> None:
    block = built_by_three(chain)
    chain.ledger.append(block, chain.certify(block))
    chain.ledger.close()
    report = verify_ledger(tmp_path / "ledger", chain.community.genesis, lambda *_: None)
    assert [(found.height, "not_the_leader" in found.what) for found in report.damage] == [(3, True)]


def test_it_is_so_after_a_restart_too(chain: ChainBuilder, tmp_path: Path) -> None:
    said = chain.ledger.memberships()
    chain.ledger.close()
    ledger = Ledger.open(tmp_path / "ledger", chain.community.genesis)
    assert ledger.memberships().suspended == said.suspended == {chain.community.addresses[3]}
    ledger.close()


def test_a_second_suspended_one_of_four_has_all_lead(chain: ChainBuilder) -> None:
    chain.append([suspension(chain, 2)])
    assert len(chain.ledger.memberships().suspended) == 2
    assert chain.append(slot=LED_BY_THREE).header.leader == chain.community.addresses[3]


def test_of_seven_two_lead_nothing_and_the_chain_goes_on(tmp_path: Path) -> None:
    chain = ChainBuilder.create(tmp_path / "ledger", make_genesis(7))
    for member in (2, 3):
        chain.append([suspension(chain, member)])
    slots = [chain.append().header.slot % 7 for _ in range(10)]
    assert set(slots) == {0, 1, 4, 5, 6}
    chain.ledger.close()
    assert verify_ledger(tmp_path / "ledger", chain.community.genesis, lambda *_: None).holds
