"""Keys of offices on a ledger: which transactions a block may contain, what people read, what a check finds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from consensus.cryptography import SigningKey
from contracts.office_records import Office
from contracts.state import office_key
from contracts.state_reading import require
from contracts.transactions import IssueTokens, ReplaceOfficeKey, office_successor
from ledger.validation import BlockRefusalReason
from ledger.verify import verify_ledger
from tests.support.contracts import raw_transaction, seeded_key
from tests.support.ledger import ChainBuilder
from tests.unit.ledger.test_block_validation import refused, with_transactions

NEXT = seeded_key("successor", 0)


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[ChainBuilder]:
    """The issuer's key is replaced by block 2."""
    builder = ChainBuilder.create(tmp_path / "ledger")
    issuer = builder.community.issuer_key
    builder.append([issue(builder, issuer, 0)])
    action = ReplaceOfficeKey(successor=office_successor(builder.community.chain, issuer.address, NEXT))
    builder.append([raw_transaction(builder.community, issuer, action, nonce=1)])
    yield builder
    builder.ledger.close()


def issue(builder: ChainBuilder, key: SigningKey, nonce: int) -> bytes:
    action = IssueTokens(recipient=builder.community.addresses[0], amount_micro=5)
    return raw_transaction(builder.community, key, action, nonce=nonce)


def test_from_the_next_block_on_only_the_new_key_acts(chain: ChainBuilder) -> None:
    issuer = chain.community.issuer_key
    old, stranger = issue(chain, issuer, 2), issue(chain, NEXT, 2)
    for raw in (old, stranger):
        assert refused(chain, with_transactions(chain.build(), raw)) is BlockRefusalReason.BAD_TRANSACTION
    chain.append([issue(chain, NEXT.of_member(issuer.address), 2)])
    assert chain.ledger.receipts(3)[0].reason.value == "none"
    assert chain.ledger.key_of(issuer.address) == NEXT.public_key
    assert chain.ledger.key_of(NEXT.address) is None


def test_history_says_who_acted_when(chain: ChainBuilder) -> None:
    issuer = chain.community.issuer_key
    versions = list(chain.ledger.history(office_key(issuer.address)))
    assert [height for height, _ in versions] == [0, 2]
    assert require(chain.ledger, office_key(issuer.address), Office).first_height == 3
    assert chain.ledger.get_at(office_key(issuer.address), 1) == versions[0][1]


def test_a_check_executes_the_chain_across_the_change(chain: ChainBuilder, tmp_path: Path) -> None:
    chain.append([issue(chain, NEXT.of_member(chain.community.issuer_key.address), 2)])
    chain.ledger.close()
    report = verify_ledger(tmp_path / "ledger", chain.community.genesis, lambda _height, _tip: None)
    assert report.holds, (report.damage, report.unbalanced)
    assert report.heights_checked == 3
