"""The authority's key, proven by a block to who has genesis and nothing else."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from consensus.codec import decode, encode
from consensus.cryptography import SigningKey
from consensus.era_plans import Departure
from consensus.plans import PlanRefusal, plan_fault
from contracts.office_records import Office
from contracts.state import office_key
from contracts.state_reading import require
from contracts.transactions import ReplaceOfficeKey, office_successor
from ledger.authority import AuthorityProof, authority_reader, prove_authority
from ledger.block import block_digest
from ledger.trusted_sets import TrustedSets
from tests.support.begun_eras import ErasChain
from tests.support.contracts import raw_transaction, seeded_key

NEXT = seeded_key("successor", 0)


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[ErasChain]:
    """Block 2 replaces the authority's key."""
    made = ErasChain(tmp_path / "ledger")
    made.grow()
    yield made
    made.ledger.close()


def replace_key(chain: ErasChain) -> None:
    homes = chain.community
    authority = homes.authority_key
    action = ReplaceOfficeKey(successor=office_successor(homes.chain, authority.address, NEXT))
    chain.grow([raw_transaction(homes, authority, action, nonce=0)])


def tip(chain: ErasChain) -> tuple[bytes, bytes, bytes]:
    """Returns the newest block's name, itself and the proof."""
    ledger = chain.ledger
    block = ledger.block(ledger.height)
    return block_digest(block.header), encode(block), prove_authority(ledger)


def test_nothing_is_proven_where_genesis_says_it(tmp_path: Path) -> None:
    made = ErasChain(tmp_path / "ledger")
    assert prove_authority(made.ledger) == b""
    made.ledger.close()


def test_a_block_proves_the_key_that_acts_after_it(chain: ErasChain) -> None:
    read = authority_reader(chain.community.genesis)
    before = tip(chain)
    assert read(*before) == chain.authority.public_key
    replace_key(chain)
    assert read(*tip(chain)) == NEXT.public_key
    assert read(*tip(chain)[:2], before[2]) is None  # an old proof


def altered_key(chain: ErasChain, proof: AuthorityProof) -> AuthorityProof:
    return replace(proof, office=encode(replace(decode(proof.office, Office), key=NEXT.public_key)))


def of_the_grid(chain: ErasChain, _: AuthorityProof) -> AuthorityProof:
    found = chain.ledger.prove_state(office_key(chain.community.grid_key.address))
    assert found.value is not None
    return AuthorityProof(office=found.value, path=found.path)


def without_path(_: ErasChain, proof: AuthorityProof) -> AuthorityProof:
    return replace(proof, path=replace(proof.path, siblings=()))


@pytest.mark.parametrize("forge", [altered_key, of_the_grid, without_path])
def test_a_forged_proof_shows_nothing(
    chain: ErasChain, forge: Callable[[ErasChain, AuthorityProof], AuthorityProof]
) -> None:
    name, block, proof = tip(chain)
    forged = encode(forge(chain, decode(proof, AuthorityProof)))
    assert authority_reader(chain.community.genesis)(name, block, forged) is None


@pytest.mark.parametrize("place", range(3))
def test_garbage_shows_nothing(chain: ErasChain, place: int) -> None:
    given = list(tip(chain))
    given[place] = bytes(32)
    assert authority_reader(chain.community.genesis)(*given) is None


def test_a_ceremony_goes_by_the_key_at_its_base_and_a_light_client_follows(chain: ErasChain) -> None:
    first = chain.authority
    replace_key(chain)
    chain.authority = NEXT
    gone = [Departure(address=chain.community.addresses[3], node_key=None)]
    signed = chain.plan(1, absent=gone)
    by_first = replace(signed, authority=first.sign(encode(signed.plan)))
    assert plan_fault(by_first, chain.past) is PlanRefusal.NO_AUTHORITY
    chain.begin(signed)
    chain.grow()
    sets = TrustedSets(chain.community.genesis)
    assert [sets.take(step) for step in chain.ledger.set_steps()] == [None]
    assert len(sets.at(chain.ledger.height)) == 3
    authority = chain.community.authority_key.address
    assert require(chain.ledger, office_key(authority), Office).key == NEXT.public_key


def test_what_a_stranger_signed_leads_a_light_client_nowhere(chain: ErasChain) -> None:
    stranger = SigningKey(b"\x08" * 32)
    chain.begin(chain.plan(1, absent=[Departure(address=chain.community.addresses[3], node_key=None)]))
    chain.grow()
    (proof,) = chain.ledger.set_steps()
    forged = replace(proof, authority=stranger.sign(encode(proof.plan)))
    assert "the authority did not sign" in str(TrustedSets(chain.community.genesis).take(forged))
