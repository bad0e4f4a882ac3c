"""Who may be drawn into the clusters of a height: what the state says of `consensus.sampling`."""

from collections.abc import Sequence

from consensus.identifiers import Address, Height, PublicKey
from consensus.sampling import Sampling, sampling_of
from contracts.genesis import Genesis
from contracts.randomness import seasoned_keys
from contracts.randomness_records import Randomness
from contracts.state import RANDOMNESS_KEY, Overlay, Score, score_key


def sampling_above(
    height: Height, members: Sequence[tuple[Address, PublicKey]], overlay: Overlay, genesis: Genesis
) -> Sampling | None:
    """Returns what height + 1 draws from; None where its clusters are all members.

    Eligible is a member that is not suspended, whose score is at least `threshold_validator`, and whose node key has
    seasoned: one that it could choose once the randomness is known would let it choose who is drawn. The score is the
    recorded one: on the way back to trading it is below either way.

    Args:
        height: of the block that the state is after.
        members: M(height + 1), in the order of admission.
        overlay: on the state.
        genesis: of the chain.
    """
    if len(members) < genesis.clusters.members_min:
        return None
    seasoned = seasoned_keys(overlay)
    eligible = {
        address
        for address, key in members
        if key in seasoned and _is_fit(overlay.require(score_key(address), Score), genesis)
    }
    return sampling_of(
        [address for address, _ in members],
        eligible,
        height=Height(height + 1),
        randomness=overlay.require(RANDOMNESS_KEY, Randomness).value,
        size=genesis.clusters.size,
        members_min=genesis.clusters.members_min,
    )


def _is_fit(score: Score, genesis: Genesis) -> bool:
    return not score.is_suspended and score.value >= genesis.scores.threshold_validator
