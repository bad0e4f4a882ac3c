"""The chain's randomness: moved by what leaders prove, so that nobody chooses it, and known to all alike.

The first block of a slot carries a proof of its leader's verifiable random function; its output and the value before
give the next value. A leader has one output for a height and a value, whatever it puts into its block and in which of
its slots it does: it can only keep silent, and then another one's output counts.

- Only a slot's first block: a leader may make many blocks in its slot, and could stop at the one that it likes best.
- Only where a draw waits, clusters are drawn or a key is new: a proof costs each member most of a millisecond.
- Not under a key that is new: who knows the value while it makes a key could make keys until one has the output that
  it wants. So a key seasons first: `SEASONING_SLOTS` slots begin with a block, and one honest leader among them is
  enough. Keys of genesis were there before any value was.

A draw waits until min(F + 1, `LEADERS_MAX`) different leaders proved something behind its request: one of them is
honest, or nearly surely so, and nobody knew its output when the request was made. Whoever comes last can still keep
silent. While a draw waits each slot has a block, an empty one if need be.
"""

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from consensus.codec import encode
from consensus.identifiers import Address, Digest, Height, PublicKey, Slot
from consensus.quorum import fault_bound
from consensus.sampling import RandomnessStatement, randomness_after
from contracts.randomness_records import Randomness, SeasoningKey, WaitingDraw
from contracts.run import BlockRun
from contracts.state import MEMBER_LIST_KEY, RANDOMNESS_KEY, MemberList, Overlay, StateKey, StateReader

SEASONING_SLOTS: Final = 64
"""Were a third of all members to lie together: that all leaders meanwhile are theirs has a chance of 3^-64."""

LEADERS_MAX: Final = 10
"""Were a third of all members to lie together: that ten leaders are theirs has a chance below 2 in 100,000."""


def input_to_prove(
    overlay: Overlay,
    *,
    chain: Digest,
    height: Height,
    slot: Slot,
    parent_slot: Slot,
    key: PublicKey,
    is_sampled: bool,
) -> bytes | None:
    """Returns what a block's leader proves, from the state before it; None if the block carries no proof.

    Args:
        overlay: on the state after the parent.
        chain: hash of genesis.
        height: of the block.
        slot: of its header.
        parent_slot: of its parent's header.
        key: node key of its header's leader at this height.
        is_sampled: clusters are drawn at this height.
    """
    randomness = overlay.require(RANDOMNESS_KEY, Randomness)
    is_wanted = is_sampled or _is_wanted(randomness)
    if slot == parent_slot or _is_seasoning(randomness, key) or not is_wanted:
        return None
    return encode(RandomnessStatement(chain=chain, height=height, previous=randomness.value))


def _is_seasoning(randomness: Randomness, key: PublicKey) -> bool:
    """Says whether a node key is too new to prove anything."""
    return any(one.node_key == key for one in randomness.seasoning)


def seasoned_keys(overlay: Overlay) -> frozenset[PublicKey]:
    """Returns the node keys of members that are not too new to be drawn. One that only a ceremony's plan has yet, and
    no block, is as new as can be.
    """
    seasoning = {one.node_key for one in overlay.require(RANDOMNESS_KEY, Randomness).seasoning}
    known = {term.node_key for term in overlay.require(MEMBER_LIST_KEY, MemberList).terms}
    return frozenset(known - seasoning)


def _is_wanted(randomness: Randomness) -> bool:
    return bool(randomness.seasoning or randomness.draws)


def draw_waits(state: StateReader) -> bool:
    """Says whether a draw waits for more leaders."""
    return bool(Overlay(state).require(RANDOMNESS_KEY, Randomness).draws)


def wait_for_draw(run: BlockRun, applicant: Address) -> None:
    """Lets an application wait for leaders of later blocks."""
    randomness = run.overlay.require(RANDOMNESS_KEY, Randomness)
    waiting = WaitingDraw(applicant=applicant, leaders=())
    run.overlay.put(RANDOMNESS_KEY, replace(randomness, draws=(*randomness.draws, waiting)))


def wait_no_more(run: BlockRun, applicant: Address) -> None:
    """Forgets the draw of an application that is over, if it waits for one."""
    randomness = run.overlay.require(RANDOMNESS_KEY, Randomness)
    draws = tuple(waiting for waiting in randomness.draws if waiting.applicant != applicant)
    run.overlay.put(RANDOMNESS_KEY, replace(randomness, draws=draws))


def take_output(run: BlockRun) -> tuple[Address, ...]:
    """Moves the value by what the block's leader proved, if its header carries a proof; returns the applicants whose
    panels are drawn with it.
    """
    if not run.context.randomness_output:
        return ()
    randomness = run.overlay.require(RANDOMNESS_KEY, Randomness)
    draws = [_with_leader(waiting, run.context.leader) for waiting in randomness.draws]
    members = len(run.overlay.require(MEMBER_LIST_KEY, MemberList).addresses)
    needed = min(fault_bound(members) + 1, LEADERS_MAX)
    left = tuple(waiting for waiting in draws if len(waiting.leaders) < needed)
    value = randomness_after(randomness.value, run.context.randomness_output)
    run.overlay.put(RANDOMNESS_KEY, replace(randomness, value=value, draws=left))
    return tuple(waiting.applicant for waiting in draws if waiting not in left)


def _with_leader(waiting: WaitingDraw, leader: Address) -> WaitingDraw:
    is_new = leader not in waiting.leaders
    return replace(waiting, leaders=(*waiting.leaders, leader)) if is_new else waiting


def season_keys(run: BlockRun) -> None:
    """Counts the slot that the block begins, and begins to season each key that the block brought."""
    known, before = _member_keys(run, run.overlay.require), _member_keys(run, run.overlay.before)
    randomness = run.overlay.require(RANDOMNESS_KEY, Randomness)
    passed = run.context.slot > run.context.parent_slot
    missing = {one.node_key: one.slots_missing - passed for one in randomness.seasoning if one.node_key in known}
    missing |= {key: SEASONING_SLOTS for key in known if key not in before}
    seasoning = tuple(SeasoningKey(node_key=key, slots_missing=slots) for key, slots in missing.items() if slots)
    run.overlay.put(RANDOMNESS_KEY, replace(randomness, seasoning=seasoning))


def _member_keys(run: BlockRun, read: Callable[[StateKey, type[MemberList]], MemberList | None]) -> list[PublicKey]:
    """Returns the node keys of all who are members at a height above the block, or will be."""
    known = read(MEMBER_LIST_KEY, MemberList)
    assert known is not None, "a chain has members"
    height = run.context.height
    return [term.node_key for term in known.terms if term.last_height is None or term.last_height > height]
