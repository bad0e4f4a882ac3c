"""What is told of one member: since when, under which keys, what it may do, and who was one."""

from pathlib import Path

import pytest

from consensus.codec import encode
from consensus.cryptography import SigningKey
from contracts.member_changes import Hindrance
from contracts.proposal_records import Expulsion
from contracts.transactions import (
    Propose,
    ReportMisconduct,
    Revocation,
    RevocationReason,
    Revoke,
    SetLeaving,
)
from node.errors import NotFound
from node.stories.members import member_of, members_of
from tests.support.contracts import make_genesis
from tests.support.ledger import ChainBuilder
from tests.support.names import names_in
from tests.support.stories import two_votes
from tests.support.vouchers import rotate_to

HOMES = make_genesis(5)


def test_a_founder_is_told(tmp_path: Path) -> None:
    chain = ChainBuilder.create(tmp_path / "ledger", HOMES)
    reply = member_of(chain.ledger, names_in(chain.ledger), "home2", [HOMES.addresses[1]])
    assert reply.member is not None
    assert (reply.member.first_height, reply.member.is_suspended, reply.member.connected) == (1, False, True)
    assert reply.sentences == ["home2 is a member from height 1 on.", "It may be drawn to verify homes that apply."]
    assert (reply.left, reply.waiting, reply.proposals) == (None, [], [])
    assert [(term.node_key, term.first_height, term.last_height) for term in reply.terms] == [
        (HOMES.node_keys[1].public_key.hex(), 1, None)
    ]
    assert reply.is_seasoned
    chain.ledger.close()


def test_who_waits_to_leave_and_is_to_be_expelled_is_told(tmp_path: Path) -> None:
    chain = ChainBuilder.create(tmp_path / "ledger", HOMES)
    expel = Propose(subject=Expulsion(member=HOMES.addresses[1]))
    leaves = [chain.transaction(member, SetLeaving(leaving=True)) for member in (0, 1)]
    chain.append([*leaves, chain.transaction(2, expel)])
    reply = member_of(chain.ledger, names_in(chain.ledger), HOMES.addresses[1].hex()[:8])
    assert [(one.name, one.hindrance) for one in reply.waiting] == [("home2", Hindrance.ONE_IS_PENDING)]
    assert [(one.proposer_name, one.member_name) for one in reply.proposals] == [("home3", "home2")]
    other = member_of(chain.ledger, names_in(chain.ledger), "home4")
    assert (other.waiting, other.proposals) == ([], [])
    chain.ledger.close()


def test_who_was_removed_is_found_and_is_no_member(tmp_path: Path) -> None:
    chain = ChainBuilder.create(tmp_path / "ledger", HOMES)
    key = HOMES.node_keys[1].public_key
    revocation = Revocation(chain=HOMES.chain, node_key=key, reason=RevocationReason.CESSATION)
    action = Revoke(revocation=revocation, signature=HOMES.authority_key.sign(encode(revocation)))
    chain.append([chain.transaction(2, action)])
    chain.append()
    names = names_in(chain.ledger)
    reply = member_of(chain.ledger, names, "home2")
    assert (reply.member, reply.may_verify, reply.is_seasoned) == (None, False, False)
    assert reply.left is not None
    assert reply.sentences == [reply.left.sentence]
    assert [(term.node_key, term.last_height) for term in reply.terms] == [(key.hex(), 2)]
    assert "home2" not in {one.name for one in members_of(chain.ledger, names).members}
    chain.ledger.close()


def test_a_suspended_one_reads_what_it_means(tmp_path: Path) -> None:
    chain = ChainBuilder.create(tmp_path / "ledger", HOMES)
    chain.append([chain.transaction(0, ReportMisconduct(evidence=two_votes(HOMES, 3)))])
    reply = member_of(chain.ledger, names_in(chain.ledger), "home4")
    assert reply.sentences == [
        "home4 is a member from height 1 on.",
        "It is suspended: it votes, and trades and leads no more. p2pnode qscore history says why.",
    ]
    assert (reply.may_verify, reply.score.is_suspended) == (False, True)
    chain.ledger.close()


def test_another_key_begins_a_term_and_no_membership(tmp_path: Path) -> None:
    chain = ChainBuilder.create(tmp_path / "ledger", HOMES)
    chain.append([chain.transaction(1, rotate_to(HOMES, 1, SigningKey(b"\x5a" * 32)))])
    reply = member_of(chain.ledger, names_in(chain.ledger), "home2")
    assert reply.member is not None
    assert reply.member.first_height == 1
    assert [(term.first_height, term.last_height) for term in reply.terms] == [(1, 2), (3, None)]
    assert not reply.is_seasoned
    assert member_of(chain.ledger, names_in(chain.ledger), "home3").is_seasoned
    chain.ledger.close()


@pytest.mark.parametrize("text", ["home9", "ff" * 4, ""])
def test_who_never_was_a_member_is_not_found(tmp_path: Path, text: str) -> None:
    chain = ChainBuilder.create(tmp_path / "ledger", HOMES)
    with pytest.raises(NotFound, match="neither a member's name nor the beginning of an address"):
        member_of(chain.ledger, names_in(chain.ledger), text)
    chain.ledger.close()
