"""From genesis to the members of any height, by headers alone; nothing else leads there."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from consensus.identifiers import EraNumber, Height
from contracts.genesis import PROTOCOL_VERSION, Genesis
from ledger.ledger import Ledger
from ledger.trusted_sets import SetChange, TrustedSets
from tests.support.changing_members import ChangingChain, certify_by, member_changes
from tests.support.contracts import make_genesis

LAST = 12


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    made = ChangingChain(tmp_path_factory.mktemp("sets") / "ledger")
    with member_changes(made.changes):
        while made.ledger.height < LAST:
            made.grow()
    yield made
    made.ledger.close()


def taken(changes: tuple[SetChange, ...], genesis: Genesis) -> TrustedSets | str:
    sets = TrustedSets(genesis)
    for change in changes:
        fault = sets.take(change)
        if fault is not None:
            return fault
    return sets


def test_the_changes_lead_from_genesis_to_the_set_of_every_height(chain):
    changes = chain.ledger.set_steps()
    assert [change.first_height for change in changes] == [4, 7, 10]
    sets = taken(changes, chain.community.genesis)
    for height in range(1, LAST + 3):
        assert sets.at(Height(height)).members == chain.set_of(height).members
    assert sets.key_of(chain.community.addresses[1]) == chain.rotated.public_key
    assert sets.key_of(chain.community.addresses[0]) == chain.community.node_keys[0].public_key
    assert sets.key_of(make_genesis(7).addresses[6]) is None


def test_a_chain_without_changes_needs_none(chain, tmp_path):
    ledger = Ledger.create(tmp_path / "ledger", chain.community.genesis)
    assert ledger.set_steps() == ()
    sets = TrustedSets(chain.community.genesis)
    assert sets.at(Height(10**9)).members == ledger.membership().members
    ledger.close()


def with_certificate(change: SetChange, **fields: object) -> SetChange:
    return replace(change, certificate=replace(change.certificate, **fields))


def with_header(change: SetChange, **fields: object) -> SetChange:
    return replace(change, header=replace(change.header, **fields))


ALTERED: list[tuple[str, Callable[[SetChange], SetChange], str]] = [
    ("members", lambda change: replace(change, members=change.members[:-1]), "commits to other members"),
    ("order", lambda change: replace(change, members=change.members[::-1]), "commits to other members"),
    ("twice", lambda change: replace(change, members=change.members * 2), "names a member twice"),
    ("signatures", lambda change: with_certificate(change, endorsements=()), "does not decide"),
    ("era", lambda change: with_certificate(change, era=EraNumber(1)), "of era 1"),
    ("header", lambda change: with_header(change, slot=change.header.slot + 1), "does not decide"),
    ("chain", lambda change: with_header(change, chain=bytes(32)), "belongs to chain"),
    ("rules", lambda change: with_header(change, version=PROTOCOL_VERSION + 1), "this software knows"),
    ("height", lambda change: with_header(change, height=Height(0)), "not in its order"),
]


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize(("alter", "words"), [case[1:] for case in ALTERED], ids=[case[0] for case in ALTERED])
def test_an_altered_change_leads_nowhere(chain, index, alter, words):
    changes = list(chain.ledger.set_steps())
    changes[index] = alter(changes[index])
    assert words in taken(tuple(changes), chain.community.genesis)


def test_a_change_counts_under_the_members_of_its_own_height(chain):
    """The members that a block fixes do not decide it, nor do those before its own height's."""
    joined, rotated, left = chain.ledger.set_steps()
    for change, wrong in ((joined, 4), (rotated, 2), (left, 10)):
        signers = [chain.keys[key] for _, key in chain.set_of(wrong).members[: chain.set_of(wrong).quorum]]
        block = chain.ledger.block(change.header.height)
        forged = replace(change, certificate=certify_by(chain.ledger, block, signers))
        changes = tuple(forged if one is change else one for one in (joined, rotated, left))
        assert "does not decide" in taken(changes, chain.community.genesis)


def test_a_change_left_out_or_out_of_order_makes_the_next_one_unprovable(chain: ChangingChain) -> None:
    joined, rotated, left = chain.ledger.set_steps()
    genesis = chain.community.genesis
    assert "does not decide" in str(taken((joined, left), genesis))
    assert "not in its order" in str(taken((joined, joined), genesis))
    assert "not in its order" in str(taken((joined, rotated, left, rotated), genesis))
