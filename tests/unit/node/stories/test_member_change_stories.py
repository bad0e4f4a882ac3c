"""What people read about changes of the members: each reason to wait in words, and who left."""

from dataclasses import replace
from pathlib import Path

import pytest

from consensus.codec import encode
from contracts.member_changes import Hindrance, Prospect
from contracts.member_records import ChangeKind, Leave, Removal, RemovalCause, Rotate
from contracts.proposal_records import Expulsion
from contracts.transactions import (
    Propose,
    Revocation,
    RevocationReason,
    Revoke,
    SetLeaving,
    transaction_digest,
)
from node.stories.member_changes import CAUSES, changes_of, departure_of, waiting_view
from node.stories.member_names import keys_of_who_left
from tests.support.contracts import make_genesis, transfer
from tests.support.ledger import ChainBuilder, verified
from tests.support.names import names_in

HOMES = make_genesis(5)


def found(hindrance: Hindrance | None) -> Prospect:
    return Prospect(
        change=Leave(address=HOMES.addresses[1]),
        hindrance=hindrance,
        members=5,
        members_after=4,
        seen_after=2,
        trades_pending=3,
        owed_micro=70,
        from_slot=90,
    )


@pytest.mark.parametrize(
    ("hindrance", "words"),
    [
        (None, "5 members, 4 must answer; after this 4 members, 3 must answer, and 2 of them were seen lately"),
        (Hindrance.ONE_IS_PENDING, "until the change before it is in force"),
        (Hindrance.TRADES_PENDING, "until its 3 forward trades are final"),
        (Hindrance.IN_DEBT, "until it has paid the 70 micro-tokens"),
        (Hindrance.TOO_FEW_MEMBERS, "genesis allows no fewer than the 5 members"),
        (Hindrance.REVOKED_LATELY, "from slot 90 on: the authority's word removes one member in a waiting time"),
        (Hindrance.TOO_FEW_SEEN, "3 must answer, and 2 of them were seen lately"),
    ],
)
def test_each_reason_to_wait_is_told_in_words(hindrance: Hindrance | None, words: str) -> None:
    view = waiting_view(found(hindrance), "home2")
    assert view.sentence.startswith("home2 leaves: ")
    assert words in view.sentence
    assert (view.quorum, view.quorum_after, view.hindrance) == (4, 3, hindrance)


def test_who_waits_and_who_left_is_read_from_the_chain(tmp_path: Path) -> None:
    chain = ChainBuilder.create(tmp_path / "ledger", HOMES)
    chain.append([chain.transaction(member, SetLeaving(leaving=True)) for member in (1, 2)])
    reply = changes_of(chain.ledger, names_in(chain.ledger))
    assert [(one.name, one.hindrance) for one in reply.waiting] == [("home3", Hindrance.ONE_IS_PENDING)]
    key = HOMES.node_keys[1].public_key
    assert [(one.name, one.node_key, one.last_height) for one in reply.left] == [("home2", key.hex(), 2)]
    assert keys_of_who_left(chain.ledger) == {key: HOMES.addresses[1]}
    chain.append()
    chain.append()
    assert [one.hindrance for one in changes_of(chain.ledger, names_in(chain.ledger)).waiting] == [
        Hindrance.TOO_FEW_MEMBERS
    ]
    chain.ledger.close()


def test_a_rotation_is_told_as_one() -> None:
    change = Rotate(address=HOMES.addresses[1], node_key=HOMES.node_keys[2].public_key)
    view = waiting_view(replace(found(Hindrance.ONE_IS_PENDING), change=change, members_after=5), "home2")
    assert view.kind is ChangeKind.ROTATE
    assert view.sentence.startswith("home2 exchanges its node key: it waits until the change before it is in force")


def test_who_was_removed_reads_why(tmp_path: Path) -> None:
    """The queue after the block that carried it out says so, whatever came later."""
    chain = ChainBuilder.create(tmp_path / "ledger", HOMES)
    key = HOMES.node_keys[1].public_key
    revocation = Revocation(chain=HOMES.chain, node_key=key, reason=RevocationReason.CESSATION)
    action = Revoke(revocation=revocation, signature=HOMES.authority_key.sign(encode(revocation)))
    brought = chain.transaction(2, action)
    chain.append([brought])
    for _ in range(3):
        chain.append()
    chain.append([chain.transaction(3, Propose(subject=Expulsion(member=HOMES.addresses[0])))])
    names = names_in(chain.ledger)
    reply = changes_of(chain.ledger, names)
    (left,) = reply.left
    assert left.sentence == "home2 was removed, as the authority revoked its key; height 2 was its last."
    assert (left.removed_for, left.reference) == (RemovalCause.REVOKED, transaction_digest(brought).hex())
    assert departure_of(chain.ledger, names, HOMES.addresses[1]) == left
    assert departure_of(chain.ledger, names, HOMES.addresses[2]) is None
    (proposal,) = reply.proposals
    assert (proposal.member_name, proposal.status, proposal.quorum) == ("home1", "open", 3)
    chain.ledger.close()


@pytest.mark.parametrize("cause", RemovalCause)
def test_each_removal_that_waits_is_told_in_words(cause: RemovalCause) -> None:
    change = Removal(address=HOMES.addresses[1], cause=cause, node_key=None, reference=HOMES.chain)
    view = waiting_view(replace(found(Hindrance.TOO_FEW_MEMBERS), change=change), "home2")
    assert view.sentence == (
        f"home2 is removed, as {CAUSES[cause]}: it waits: of 5 members none is removed, until another home joins."
    )


def test_of_what_is_under_way_the_last_word_counts(tmp_path: Path) -> None:
    chain = ChainBuilder.create(tmp_path / "ledger", HOMES)
    words = {
        1: [SetLeaving(leaving=True), SetLeaving(leaving=False), transfer(HOMES, 2, 1)],
        3: [SetLeaving(leaving=True)],
        4: [transfer(HOMES, 2, 1)],
    }
    waiting = {
        HOMES.addresses[member]: verified(chain.ledger, [chain.transaction(member, action) for action in actions])
        for member, actions in words.items()
    }
    reply = changes_of(chain.ledger, names_in(chain.ledger), lambda sender: waiting.get(sender, []))
    said = {one.name: (one.leaving, one.nonce, one.sentence) for one in reply.under_way}
    assert said == {
        "home2": (False, 1, "home2 stays after all: no block has taken it yet."),
        "home4": (True, 0, "home4 leaves: no block has taken it yet."),
    }
    chain.ledger.close()
