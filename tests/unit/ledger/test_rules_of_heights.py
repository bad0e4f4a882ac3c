"""Each height is executed under its own rules: built, checked, verified from genesis, proven; or not at all."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from consensus.identifiers import Height
from contracts import genesis as versions
from contracts.genesis import ATTENDANCE_VERSION
from contracts.rule_records import RulesChange
from contracts.rules import NOTICE_HEIGHTS
from contracts.state import ATTENDANCE_KEY, Score, score_key
from contracts.state_reading import require
from contracts.transactions import Approve, Propose, Transfer, transaction_digest
from contracts.units import MicroTokens
from ledger.block import block_digest
from ledger.errors import RulesUnknown
from ledger.ledger import Ledger
from ledger.validation import BlockRefusal, BlockRefusalReason, rules_in
from ledger.verification_report import VerificationReport
from ledger.verify import verify_ledger
from tests.support.contracts import make_genesis
from tests.support.ledger import ChainBuilder, certify

HOMES = make_genesis(4, block_transactions_max=2)
PRESENT = HOMES.genesis.protocol_version
NEXT = PRESENT + 1
KNOWN = versions.known_text()
FROM = Height(NOTICE_HEIGHTS + 4)


def know_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes this the program of the next release, whose rules are those of this one under another number."""
    monkeypatch.setattr(versions, "KNOWN_VERSIONS", frozenset({PRESENT, NEXT}))


@pytest.fixture
def builder(tmp_path: Path) -> Iterator[ChainBuilder]:
    made = ChainBuilder.create(tmp_path / "ledger", HOMES)
    yield made
    made.ledger.close()


def agree(builder: ChainBuilder, *, version: int, block_transactions_max: int = 1) -> None:
    """Has three of four agree, in two blocks, on rules from `FROM` on."""
    parameters = replace(HOMES.genesis.parameters, block_transactions_max=block_transactions_max)
    change = RulesChange(version=version, from_height=FROM, parameters=parameters)
    proposal = builder.transaction(0, Propose(subject=change))
    builder.append([proposal])
    approval = Approve(proposer=HOMES.addresses[0], proposal=transaction_digest(proposal))
    builder.append([builder.transaction(member, approval) for member in (1, 2)])


def reach(builder: ChainBuilder, height: int) -> None:
    while builder.ledger.height < height:
        builder.append()


def transfers(builder: ChainBuilder, count: int) -> list[bytes]:
    return [builder.transfer(member, 3, 1) for member in range(count)]


def verified_from_genesis(builder: ChainBuilder, directory: Path) -> VerificationReport:
    builder.ledger.close()
    return verify_ledger(directory / "ledger", HOMES.genesis, lambda *_: None)


def test_blocks_are_built_and_judged_under_the_parameters_of_their_height(builder: ChainBuilder) -> None:
    agree(builder, version=PRESENT)
    reach(builder, FROM - 2)
    assert len(builder.append(transfers(builder, 2)).transactions) == 2
    later = transfers(builder, 2)
    assert len(builder.build(later).transactions) == 1
    block = builder.append(later[:1])
    too_many = replace(block, transactions=tuple(later))
    ledger = builder.ledger
    following = replace(too_many, header=replace(block.header, height=Height(FROM + 1), parent=ledger.tip))
    slot_and_leader = builder.build([]).header
    following = replace(
        following, header=replace(following.header, slot=slot_and_leader.slot, leader=slot_and_leader.leader)
    )
    refusal = ledger.check(following)
    assert isinstance(refusal, BlockRefusal)
    assert refusal.reason is BlockRefusalReason.TOO_MANY_TRANSACTIONS


def test_the_header_names_the_version_of_its_height_and_no_other_counts(
    builder: ChainBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    know_next(monkeypatch)
    agree(builder, version=NEXT)
    reach(builder, FROM - 2)
    assert builder.append().header.version == PRESENT
    block = builder.build()
    assert block.header.version == NEXT
    refusal = builder.ledger.check(replace(block, header=replace(block.header, version=PRESENT)))
    assert isinstance(refusal, BlockRefusal)
    assert refusal.reason is BlockRefusalReason.WRONG_VERSION


def test_a_program_that_lacks_the_rules_executes_up_to_them_and_nothing_more(builder: ChainBuilder) -> None:
    agree(builder, version=NEXT)
    reach(builder, FROM - 1)
    with pytest.raises(RulesUnknown, match=rf"from block {FROM} on .* version {NEXT}; this software knows {KNOWN}"):
        builder.build()
    assert builder.ledger.height == FROM - 1


def test_it_opens_its_ledger_again_and_the_newer_program_goes_on(
    builder: ChainBuilder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agree(builder, version=NEXT)
    reach(builder, FROM - 1)
    for _ in range(2):  # an open ledger, and one that was left between approval and effect, is whole
        builder.ledger.close()
        builder.ledger = Ledger.open(tmp_path / "ledger", HOMES.genesis)
        with pytest.raises(RulesUnknown):
            rules_in(builder.ledger)
    know_next(monkeypatch)
    assert builder.append(transfers(builder, 1)).header.version == NEXT


def test_a_restart_between_approval_and_effect_changes_nothing(builder: ChainBuilder, tmp_path: Path) -> None:
    agree(builder, version=PRESENT)
    builder.ledger.close()
    builder.ledger = Ledger.open(tmp_path / "ledger", HOMES.genesis)
    reach(builder, FROM - 1)
    assert builder.ledger.rules.parameters.block_transactions_max == 1


def test_verify_executes_each_height_under_its_own_rules(
    builder: ChainBuilder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    know_next(monkeypatch)
    agree(builder, version=NEXT)
    reach(builder, FROM - 2)
    builder.append(transfers(builder, 2))
    builder.append(transfers(builder, 1))
    report = verified_from_genesis(builder, tmp_path)
    assert (report.holds, report.heights_checked) == (True, FROM)


def test_verify_of_an_older_program_says_where_it_cannot_go_on_and_calls_nothing_damaged(
    builder: ChainBuilder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        know_next(newer)
        agree(builder, version=NEXT)
        reach(builder, FROM + 1)
    with pytest.raises(RulesUnknown) as unknown:
        verified_from_genesis(builder, tmp_path)
    assert (unknown.value.version, unknown.value.first_height) == (NEXT, FROM)


def test_a_ledger_that_ends_before_rules_that_it_lacks_is_whole(builder: ChainBuilder, tmp_path: Path) -> None:
    agree(builder, version=NEXT)
    reach(builder, FROM - 1)
    report = verified_from_genesis(builder, tmp_path)
    assert (report.holds, report.heights_checked) == (True, FROM - 1)


def gains_of_next_trade(builder: ChainBuilder, hour: int) -> list[int]:
    """Appends a block that all but the first member sign, a trade, and a block that rewards it as the others signed
    it; returns what that block earns each, in millionths.
    """
    homes = builder.community
    block = builder.build()
    header = block.header
    builder.ledger.append(block, certify(homes, header.height, header.slot, block_digest(header), signers=(1, 2, 3)))
    builder.append(slot=4 * (header.slot // 4 + 1))  # so that the second member leads the trade's block
    builder.append_trading_hour(hour, energy_wh=10)
    before = [require(builder.ledger, score_key(address), Score).value for address in homes.addresses]
    builder.append()
    after = [require(builder.ledger, score_key(address), Score).value for address in homes.addresses]
    return [now - was for was, now in zip(before, after, strict=True)]


def test_each_height_rewards_by_its_own_rules(tmp_path: Path) -> None:
    """Who is not in the certificate of a trade's block is rewarded for attending from the height of that rule on."""
    homes = make_genesis(4, protocol_version=ATTENDANCE_VERSION - 1)
    builder = ChainBuilder.create(tmp_path / "ledger", homes)
    agree(builder, version=ATTENDANCE_VERSION, block_transactions_max=4)
    reach(builder, FROM - 10)
    before = gains_of_next_trade(builder, 0)
    assert builder.ledger.get(ATTENDANCE_KEY) is None
    reach(builder, FROM)
    after = gains_of_next_trade(builder, 1)
    assert builder.ledger.get(ATTENDANCE_KEY) is not None
    assert (before, after) == ([457, 457, 2251, 0], [348, 348, 2142, 338])
    height = builder.ledger.height
    builder.ledger.close()
    report = verify_ledger(tmp_path / "ledger", homes.genesis, lambda *_: None)
    assert (report.holds, report.heights_checked) == (True, height)


def test_receipts_of_before_and_after_prove_themselves(
    builder: ChainBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    know_next(monkeypatch)
    agree(builder, version=NEXT)
    (before,) = transfers(builder, 1)
    builder.append([before])
    reach(builder, FROM)
    after = builder.transaction(1, Transfer(recipient=HOMES.addresses[3], amount_micro=MicroTokens(1)))
    builder.append([after])
    versions_named = [builder.ledger.prove_receipt(transaction_digest(raw)).header.version for raw in (before, after)]
    assert versions_named == [PRESENT, NEXT]
