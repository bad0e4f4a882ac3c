"""What leaders gain that keep silent whenever they dislike what their proof would lead to: a little, and it shows.

Production keys, proofs, randomness and draws; the simulation's own are the slots, one after the other, and who leads.
"""

from random import Random
from typing import Final, NamedTuple

import pytest

from consensus import vrf
from consensus.codec import encode
from consensus.identifiers import Digest, Height, Slot
from consensus.membership import Leaders, Membership
from consensus.sampling import PANEL, Draws, RandomnessStatement, randomness_after, seed_of
from tests.support.contracts import seeded_key

MEMBERS: Final = 30
HEIGHTS: Final = 4_000
IDLE_SLOTS_MAX: Final = 2 * MEMBERS
CHAIN: Final = Digest(bytes(32))
"""Always the same: another genesis changes none of the figures."""


class Outcome(NamedTuple):
    """Of all heights."""

    hits: float
    """Share of the heights whose draw the coalition likes."""
    withheld: float
    """Slots per height that pass without a block."""


def withhold(liars: int, one_in: int) -> Outcome:
    """Lets some members lie together: each of their leaders keeps silent if the draw is not one in so many."""
    random, node_keys = Random(liars), [seeded_key("node", number) for number in range(MEMBERS)]
    keys = {key.address: key for key in node_keys}
    membership = Membership((key.address, key.public_key) for key in node_keys)
    value, slot, hits, withheld = CHAIN, 0, 0, 0
    for number in range(1, HEIGHTS + 1):
        height = Height(number)
        statement = encode(RandomnessStatement(chain=CHAIN, height=height, previous=value))
        slot += random.randint(1, IDLE_SLOTS_MAX)
        coalition = random.sample(membership.addresses, liars)  # wherever they stand in the order of admission
        while True:
            proposer = Leaders(membership).whose(Slot(slot))
            after = randomness_after(value, vrf.output(keys[proposer].prove(statement)))
            is_hit = Draws(seed_of(after, height, Slot(0), PANEL)).below(one_in) == 0
            if is_hit or proposer not in coalition:
                break
            withheld, slot = withheld + 1, slot + 1
        value, hits = after, hits + is_hit
    return Outcome(hits / HEIGHTS, withheld / HEIGHTS)


@pytest.mark.parametrize(
    ("liars", "one_in", "gain", "withheld"),
    [(0, 10, 1.0, 0.0), (3, 10, 1.10, 0.10), (6, 10, 1.22, 0.22), (10, 10, 1.43, 0.43), (10, 3, 1.29, 0.29)],
)
def test_withholding_gains_what_the_table_says_and_shows_in_missed_slots(
    liars: int, one_in: int, gain: float, withheld: float
) -> None:
    outcome = withhold(liars, one_in)
    assert outcome.hits * one_in == pytest.approx(gain, abs=0.15)
    assert outcome.hits * one_in < 1 / (1 - liars / MEMBERS) + 0.1, "never more than a share of all others"
    # the next leader is another member, so a little less often of the coalition than the table counts
    assert outcome.withheld == pytest.approx(withheld, abs=0.04)
