"""Who may be drawn into clusters: what the state after the block below says, and what genesis asks for."""

from typing import Final

import pytest
from msgspec.structs import replace

from consensus.codec import encode
from consensus.cryptography import SigningKey
from consensus.identifiers import Address, Height, PublicKey
from consensus.sampling import Sampling
from contracts.clusters import sampling_above
from contracts.genesis import ClusterParameters
from contracts.randomness_records import Randomness, SeasoningKey
from contracts.state import RANDOMNESS_KEY, Overlay, Score, score_key
from tests.support.contracts import Community, DictChain, make_genesis, make_score, seeded_key

MEMBERS: Final = 13
SIZE: Final = 7
THRESHOLD: Final = 500_000


@pytest.fixture
def chain() -> DictChain:
    return DictChain(make_genesis(MEMBERS, clusters=ClusterParameters(size=SIZE, members_min=MEMBERS)))


def pairs(community: Community) -> list[tuple[Address, PublicKey]]:
    return [(key.address, key.public_key) for key in community.node_keys]


def sampling(chain: DictChain, members: list[tuple[Address, PublicKey]] | None = None) -> Sampling | None:
    listed = pairs(chain.community) if members is None else members
    return sampling_above(Height(chain.height), listed, Overlay(chain.state), chain.community.genesis)


def eligible(chain: DictChain, members: list[tuple[Address, PublicKey]] | None = None) -> list[int]:
    drawn = sampling(chain, members)
    return [] if drawn is None else [chain.community.addresses.index(address) for address in drawn.eligible]


def write_score(chain: DictChain, member: int, score: Score) -> None:
    chain.state[score_key(chain.community.addresses[member])] = encode(score)


def season(chain: DictChain, key: SigningKey) -> None:
    before = chain.read(RANDOMNESS_KEY, Randomness)
    new = SeasoningKey(node_key=key.public_key, slots_missing=1)
    chain.state[RANDOMNESS_KEY] = encode(replace(before, seasoning=(*before.seasoning, new)))


def test_all_are_eligible_at_first_and_the_next_height_is_drawn_from_the_present_value(chain: DictChain) -> None:
    drawn = sampling(chain)
    assert drawn is not None
    assert (drawn.height, drawn.size) == (1, SIZE)
    assert drawn.eligible == tuple(chain.community.addresses)
    assert drawn.randomness == chain.community.chain
    chain.state[RANDOMNESS_KEY] = encode(replace(chain.read(RANDOMNESS_KEY, Randomness), value=b"r" * 32))
    after = sampling(chain)
    assert after is not None
    assert after.randomness == b"r" * 32


def test_a_score_below_the_threshold_and_a_suspension_bar_one_at_the_threshold_does_not(chain: DictChain) -> None:
    write_score(chain, 3, make_score(THRESHOLD - 1))
    write_score(chain, 4, make_score(THRESHOLD))
    write_score(chain, 5, replace(make_score(2 * THRESHOLD), is_suspended=True))
    assert eligible(chain) == [number for number in range(MEMBERS) if number not in {3, 5}]


def test_a_key_that_seasons_is_not_drawn_nor_one_that_no_block_brought(chain: DictChain) -> None:
    season(chain, chain.community.node_keys[2])
    assert eligible(chain) == [number for number in range(MEMBERS) if number != 2]
    listed = pairs(chain.community)
    listed[7] = listed[7][0], seeded_key("of a plan", 7).public_key
    assert eligible(chain, listed) == [number for number in range(MEMBERS) if number not in {2, 7}]


def test_nothing_is_drawn_below_the_size_that_genesis_says_or_where_too_few_are_eligible(chain: DictChain) -> None:
    assert sampling(chain, pairs(chain.community)[:-1]) is None
    for member in range(MEMBERS - SIZE - 1):
        write_score(chain, member, make_score(THRESHOLD - 1))
    assert len(eligible(chain)) == SIZE + 1
    write_score(chain, MEMBERS - 1, make_score(THRESHOLD - 1))
    assert sampling(chain) is None
