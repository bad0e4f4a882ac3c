"""What people read about proposals for offices: whose approvals count, and until when."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.transactions import Approve, Propose, SetLeaving, office_successor
from node.stories.lists import offices_of
from tests.support.contracts import make_genesis, seeded_key
from tests.support.ledger import ChainBuilder
from tests.support.names import names_in

HOMES = make_genesis(5)
SLOT = 7
DAY_MS = 24 * 3_600_000


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[ChainBuilder]:
    """The first of five homes proposes a key for the issuer, the next two approve it; four must."""
    chain = ChainBuilder.create(tmp_path / "ledger", HOMES)
    subject = office_successor(HOMES.chain, HOMES.issuer_key.address, seeded_key("successor", 0))
    chain.append([chain.transaction(0, Propose(subject=subject))], slot=SLOT)
    (receipt,) = chain.ledger.receipts(chain.ledger.height)
    approval = Approve(proposer=HOMES.addresses[0], proposal=receipt.transaction)
    chain.append([chain.transaction(member, approval) for member in (1, 2)])
    yield chain
    chain.ledger.close()


def test_approvals_of_who_left_are_not_shown_as_if_they_counted(chain: ChainBuilder) -> None:
    (proposal,) = offices_of(chain.ledger, names_in(chain.ledger)).proposals
    assert (len(proposal.approvals), proposal.quorum, proposal.status) == (3, 4, "open")
    chain.append([chain.transaction(0, SetLeaving(leaving=True))])
    (proposal,) = offices_of(chain.ledger, names_in(chain.ledger)).proposals
    counting = [address.hex() for address in HOMES.addresses[1:3]]
    assert (proposal.approvals, proposal.quorum, proposal.status) == (counting, 3, "open")


def test_of_what_is_approved_all_are_shown_who_approved_it(chain: ChainBuilder) -> None:
    (proposal,) = offices_of(chain.ledger, names_in(chain.ledger)).proposals
    approval = Approve(proposer=HOMES.addresses[0], proposal=bytes.fromhex(proposal.proposal))
    chain.append([chain.transaction(3, approval)])
    chain.append([chain.transaction(0, SetLeaving(leaving=True))])
    (proposal,) = offices_of(chain.ledger, names_in(chain.ledger)).proposals
    assert (len(proposal.approvals), proposal.status) == (4, "approved")


def test_until_when_is_told_by_the_clock_and_not_from_a_block_of_long_ago(chain: ChainBuilder) -> None:
    (proposal,) = offices_of(chain.ledger, names_in(chain.ledger)).proposals
    assert proposal.until_ms == HOMES.genesis.start_ms + SLOT * HOMES.genesis.slot_duration_ms + DAY_MS
