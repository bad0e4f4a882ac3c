"""The authority's key as headers name it, and whose word counts in a ceremony before, while and after it changes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from consensus.ceremony_records import SignedPlan
from consensus.codec import encode
from consensus.cryptography import SigningKey
from consensus.era_plans import Departure
from consensus.plans import PlanRefusal, plan_fault
from contracts.office_records import Office
from contracts.state import office_key
from contracts.state_reading import require
from contracts.transactions import Approve, Propose, ReplaceOfficeKey, office_successor, transaction_digest
from ledger.trusted_sets import TrustedSets
from ledger.verify import verify_ledger
from tests.support.begun_eras import ErasChain
from tests.support.contracts import make_genesis, raw_transaction, seeded_key

NEXT = seeded_key("successor", 0)
WAIT_SLOTS = 100


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[ErasChain]:
    """Block 1 is decided."""
    made = ErasChain(tmp_path / "ledger", make_genesis(4, office_wait_slots=WAIT_SLOTS))
    made.grow()
    yield made
    made.ledger.close()


def replacement(chain: ErasChain) -> bytes:
    """The owner's transaction."""
    homes = chain.community
    action = ReplaceOfficeKey(successor=office_successor(homes.chain, homes.authority_key.address, NEXT))
    return raw_transaction(homes, homes.authority_key, action, nonce=0)


def approve_next_key(chain: ErasChain) -> int:
    """Three of four members approve the next key, in one block; returns the slot from which on it acts."""
    homes = chain.community
    subject = office_successor(homes.chain, homes.authority_key.address, NEXT)
    proposal = chain.builder.transaction(0, Propose(subject=subject))
    chain.grow([proposal])
    approval = Approve(proposer=homes.addresses[0], proposal=transaction_digest(proposal))
    block = chain.grow([chain.builder.transaction(member, approval) for member in (1, 2)])
    return block.header.slot + WAIT_SLOTS


def key_named(chain: ErasChain) -> bytes:
    """By the newest header; the state has the same one."""
    ledger = chain.ledger
    named = ledger.decided_block(ledger.height).header.authority
    assert named == require(ledger, office_key(chain.community.authority_key.address), Office).key
    return named


def without_the_last(chain: ErasChain) -> list[Departure]:
    return [Departure(address=chain.community.addresses[3], node_key=None)]


def is_the_word_of(chain: ErasChain, signed: SignedPlan, key: SigningKey) -> bool:
    by_key = replace(signed, authority=key.sign(encode(signed.plan)))
    fault = plan_fault(by_key, chain.past)
    assert fault in {None, PlanRefusal.NO_AUTHORITY}
    return fault is None


def test_a_header_names_the_key_that_acts_after_its_block(chain: ErasChain) -> None:
    assert key_named(chain) == chain.authority.public_key
    chain.grow([replacement(chain)])
    assert key_named(chain) == NEXT.public_key
    chain.grow()
    assert key_named(chain) == NEXT.public_key


def test_a_key_that_was_approved_and_waits_is_named_once_its_time_has_come(chain: ErasChain) -> None:
    acts_in = approve_next_key(chain)
    assert key_named(chain) == chain.authority.public_key
    chain.grow(slot=acts_in - 1)
    assert key_named(chain) == chain.authority.public_key
    chain.grow(slot=acts_in)
    assert key_named(chain) == NEXT.public_key


def test_a_ceremony_cuts_no_waiting_time_short(chain: ErasChain) -> None:
    """The chain stops while the next key waits: the owner may still object, and its time goes on in the next era."""
    acts_in = approve_next_key(chain)
    signed = chain.plan(1, absent=without_the_last(chain))
    assert not is_the_word_of(chain, signed, NEXT)
    chain.begin(signed)
    chain.grow(slot=acts_in - 1)
    assert key_named(chain) == chain.authority.public_key
    chain.grow(slot=acts_in)
    assert key_named(chain) == NEXT.public_key


@pytest.mark.parametrize("is_decided", [True, False])
def test_once_it_is_replaced_only_the_next_key_speaks(chain: ErasChain, is_decided: bool) -> None:
    """Also where the block that replaces it is only prepared: it may have been decided, and is carried."""
    first, prepared = chain.authority, None
    if is_decided:
        chain.grow([replacement(chain)])
    else:
        prepared = chain.prepared(chain.builder.build([replacement(chain)]))
    chain.authority = NEXT
    signed = chain.plan(1, absent=without_the_last(chain), prepared=prepared)
    assert (is_the_word_of(chain, signed, first), is_the_word_of(chain, signed, NEXT)) == (False, True)
    chain.begin(signed)
    chain.grow()
    chain.grow()
    assert key_named(chain) == NEXT.public_key
    sets = TrustedSets(chain.community.genesis)
    assert [sets.take(step) for step in chain.ledger.set_steps()] == [None]
    assert len(sets.at(chain.ledger.height)) == 3
    chain.ledger.close()
    report = verify_ledger(chain.directory, chain.community.genesis, lambda *_: None, begun=chain.begun)
    assert (report.damage, report.heights_checked) == ((), 4 if is_decided else 3)


def test_who_has_genesis_alone_believes_no_key_that_the_old_members_did_not_name(chain: ErasChain) -> None:
    chain.grow([replacement(chain)])
    first, chain.authority = chain.authority, NEXT
    chain.begin(chain.plan(1, absent=without_the_last(chain)))
    chain.grow()
    (proof,) = chain.ledger.set_steps()
    for key in (first, SigningKey(b"\x08" * 32)):
        unsigned = replace(proof, authority=key.sign(encode(proof.plan)))
        assert "the authority did not sign" in str(TrustedSets(chain.community.genesis).take(unsigned))
        named = replace(proof.plan, authority=key.public_key)
        renamed = replace(proof, plan=named, authority=key.sign(encode(named)))
        assert "has no quorum" in str(TrustedSets(chain.community.genesis).take(renamed))
