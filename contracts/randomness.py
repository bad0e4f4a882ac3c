"""The chain's randomness: moved by what leaders prove, so that nobody chooses it, and known to all alike.

The first block of a slot carries a proof of its leader's verifiable random function; its output and the value before
give the next value. A leader has one output for a height and a value, whatever it puts into its block and in which of
its slots it does: it can only keep silent, and then another one's output counts.

- Only a slot's first block: a leader may make many blocks in its slot, and could stop at the one that it likes best.
- Only where somebody wants to join or a key is new: nothing else is drawn, and a proof costs each member a
  millisecond.
- Not under a key that is new: who knows the value while it makes a key could make keys until one has the output that
  it wants. So a key seasons first: `SEASONING_SLOTS` slots begin with a block, and one honest leader among them is
  enough. Keys of genesis were there before any value was.
"""

from collections.abc import Callable
from typing import Final

from consensus.codec import encode
from consensus.identifiers import Digest, Height, PublicKey, Slot
from consensus.sampling import RandomnessStatement, randomness_after
from contracts.applicants import Applications
from contracts.randomness_records import Randomness, SeasoningKey
from contracts.run import BlockRun
from contracts.state import APPLICATIONS_KEY, MEMBER_LIST_KEY, RANDOMNESS_KEY, MemberList, Overlay, StateKey

SEASONING_SLOTS: Final = 64
"""Were a third of all members to lie together: that all leaders meanwhile are theirs has a chance of 3^-64."""


def input_to_prove(
    overlay: Overlay, *, chain: Digest, height: Height, slot: Slot, parent_slot: Slot, key: PublicKey
) -> bytes | None:
    """Returns what a block's leader proves, from the state before it; None if the block carries no proof.

    Args:
        overlay: on the state after the parent.
        chain: hash of genesis.
        height: of the block.
        slot: of its header.
        parent_slot: of its parent's header.
        key: node key of its header's leader at this height.
    """
    randomness = overlay.require(RANDOMNESS_KEY, Randomness)
    if slot == parent_slot or is_seasoning(randomness, key) or not _is_wanted(overlay, randomness):
        return None
    return encode(RandomnessStatement(chain=chain, height=height, previous=randomness.value))


def is_seasoning(randomness: Randomness, key: PublicKey) -> bool:
    """Says whether a node key is too new to prove anything, or to be drawn."""
    return any(one.node_key == key for one in randomness.seasoning)


def _is_wanted(overlay: Overlay, randomness: Randomness) -> bool:
    return bool(randomness.seasoning or overlay.require(APPLICATIONS_KEY, Applications).unfinished)


def take_output(run: BlockRun) -> None:
    """Moves the value by what the block's leader proved, if its header carries a proof."""
    if run.context.randomness_output:
        randomness = run.overlay.require(RANDOMNESS_KEY, Randomness)
        value = randomness_after(randomness.value, run.context.randomness_output)
        run.overlay.put(RANDOMNESS_KEY, Randomness(value=value, seasoning=randomness.seasoning))


def season_keys(run: BlockRun) -> None:
    """Counts the slot that the block begins, and begins to season each key that the block brought."""
    known, before = _member_keys(run, run.overlay.require), _member_keys(run, run.overlay.before)
    randomness = run.overlay.require(RANDOMNESS_KEY, Randomness)
    passed = run.context.slot > run.context.parent_slot
    missing = {one.node_key: one.slots_missing - passed for one in randomness.seasoning if one.node_key in known}
    missing |= {key: SEASONING_SLOTS for key in known if key not in before}
    seasoning = tuple(SeasoningKey(node_key=key, slots_missing=slots) for key, slots in missing.items() if slots)
    run.overlay.put(RANDOMNESS_KEY, Randomness(value=randomness.value, seasoning=seasoning))


def _member_keys(run: BlockRun, read: Callable[[StateKey, type[MemberList]], MemberList | None]) -> list[PublicKey]:
    """Returns the node keys of all who are members at a height above the block, or will be."""
    known = read(MEMBER_LIST_KEY, MemberList)
    assert known is not None, "a chain has members"
    height = run.context.height
    return [term.node_key for term in known.terms if term.last_height is None or term.last_height > height]
