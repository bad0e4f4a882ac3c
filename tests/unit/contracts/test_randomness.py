"""When a block carries a proof, what it proves, how the randomness moves, and how long a key seasons."""

import json
from pathlib import Path
from typing import Final

import pytest

from consensus import vrf
from consensus.codec import encode
from consensus.cryptography import SigningKey
from consensus.identifiers import Digest, Height, Slot
from consensus.sampling import RandomnessStatement, randomness_after
from contracts import randomness as rules
from contracts.panels import PANEL_MAX
from contracts.randomness import SEASONING_SLOTS
from contracts.randomness_records import Randomness
from contracts.state import RANDOMNESS_KEY, Overlay
from contracts.transactions import SetLeaving
from tests.support.contracts import make_genesis
from tests.support.joining import JoiningChain, newcomer

HOME: Final = newcomer(1)
MEMBERS: Final = PANEL_MAX + 3
"""More verifiers than a panel has: there is something to draw."""
VECTORS: Final = json.loads((Path(__file__).parents[1] / "consensus" / "vectors" / "vrf.json").read_text())
OUTPUT: Final = b"\x07" * vrf.OUTPUT_SIZE_BYTES


@pytest.fixture
def chain() -> JoiningChain:
    return JoiningChain(make_genesis(MEMBERS))


def to_prove(
    chain: JoiningChain,
    key: SigningKey | None = None,
    *,
    slot: int | None = None,
    height: int | None = None,
    is_sampled: bool = False,
) -> bytes | None:
    """What the next block's leader proves."""
    return rules.input_to_prove(
        Overlay(chain.state),
        chain=chain.community.chain,
        height=Height(chain.height + 1 if height is None else height),
        slot=Slot(chain.slot + 1 if slot is None else slot),
        parent_slot=Slot(chain.slot),
        key=(key or chain.community.node_keys[0]).public_key,
        is_sampled=is_sampled,
    )


def randomness(chain: JoiningChain) -> Randomness:
    return chain.read(RANDOMNESS_KEY, Randomness)


def slots_missing(chain: JoiningChain) -> list[int]:
    return [one.slots_missing for one in randomness(chain).seasoning]


def join(chain: JoiningChain) -> None:
    chain.request(HOME)
    chain.draw()
    chain.judge(HOME, [chain.community.addresses.index(one) for one in chain.applicant(HOME).panel])
    chain.block((HOME.node_key, chain.ready()))


# --- which blocks carry one ------------------------------------------------------------------------------------


def test_nobody_proves_anything_while_nobody_joins(chain: JoiningChain) -> None:
    chain.block()
    assert to_prove(chain) is None
    assert randomness(chain) == Randomness(value=chain.community.chain, seasoning=(), draws=())


def test_a_draw_asks_for_proofs_until_it_is_over(chain: JoiningChain) -> None:
    chain.request(HOME)
    assert to_prove(chain) is not None
    chain.draw()
    assert to_prove(chain) is None


def test_a_panel_that_is_everybody_needs_no_proof() -> None:
    small = JoiningChain(make_genesis(PANEL_MAX))
    small.request(HOME)
    assert len(small.applicant(HOME).panel) == PANEL_MAX
    assert to_prove(small) is None


def test_only_the_first_block_of_a_slot_carries_one(chain: JoiningChain) -> None:
    chain.request(HOME)
    assert to_prove(chain, slot=chain.slot) is None
    assert to_prove(chain, slot=chain.slot + 1) is not None


# --- what it proves --------------------------------------------------------------------------------------------


def test_a_leader_that_tries_65536_slots_proves_the_same_in_all(chain: JoiningChain) -> None:
    chain.request(HOME)
    tried = {to_prove(chain, slot=chain.slot + ahead) for ahead in range(1, 2**16 + 1)}
    expected = RandomnessStatement(
        chain=chain.community.chain, height=Height(chain.height + 1), previous=randomness(chain).value
    )
    assert tried == {encode(expected)}


def test_another_height_and_another_value_are_proved_anew(chain: JoiningChain) -> None:
    chain.request(HOME)
    first = to_prove(chain)
    assert first != to_prove(chain, height=chain.height + 2)
    chain.block(randomness_output=OUTPUT)
    assert first != to_prove(chain, height=chain.height)


def test_the_vector_of_a_height() -> None:
    chain, example = Digest(bytes(range(32))), VECTORS["height"]
    statement = encode(RandomnessStatement(chain=chain, height=Height(1), previous=chain))
    assert statement.hex() == example["statement"]
    key = SigningKey(bytes.fromhex(VECTORS["examples"][0]["seed"]))
    proof = key.prove(statement)
    assert proof.hex() == example["proof"]
    assert randomness_after(chain, vrf.output(proof)).hex() == example["randomness"]


# --- how it moves ----------------------------------------------------------------------------------------------


def test_an_output_moves_the_value_and_a_block_without_one_does_not(chain: JoiningChain) -> None:
    before = randomness(chain).value
    chain.block()
    assert randomness(chain).value == before
    chain.block(randomness_output=OUTPUT)
    assert randomness(chain).value == randomness_after(before, OUTPUT)


# --- how long a key seasons ------------------------------------------------------------------------------------


def test_a_new_member_proves_nothing_until_64_slots_began_with_a_block(chain: JoiningChain) -> None:
    join(chain)
    assert slots_missing(chain) == [SEASONING_SLOTS]
    for missing in range(SEASONING_SLOTS - 1, 0, -1):
        chain.block()
        chain.block(slot=chain.slot)  # of a slot that began already
        assert slots_missing(chain) == [missing]
        assert to_prove(chain, HOME.node_key) is None
        assert to_prove(chain) is not None, "a key that seasons asks for proofs of the others"
    chain.block()
    assert slots_missing(chain) == []
    assert to_prove(chain) is None
    chain.request(newcomer(2))
    assert to_prove(chain, HOME.node_key) is not None


def test_the_seasoning_of_who_left_ends_with_its_last_height(chain: JoiningChain) -> None:
    join(chain)
    for _ in range(3):
        chain.block()
    chain.block((HOME.node_key, SetLeaving(leaving=True)))
    assert slots_missing(chain) == [SEASONING_SLOTS - 4], "it still leads the next height"
    assert to_prove(chain, HOME.node_key) is None
    chain.block()
    assert slots_missing(chain) == []


def test_keys_of_genesis_season_no_more(chain: JoiningChain) -> None:
    chain.request(HOME)
    assert all(to_prove(chain, key) is not None for key in chain.community.node_keys)
