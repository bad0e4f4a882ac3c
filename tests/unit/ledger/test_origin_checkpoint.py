"""An origin is held against the checkpoint that a home joined with, wherever each of both lies."""

from collections.abc import Callable, Iterator

import pytest
from msgspec.structs import replace

from consensus.identifiers import Digest, Slot
from ledger.checkpoint import Checkpoint, checkpoint_of
from ledger.eras import BegunEras
from ledger.errors import OriginRefused
from ledger.origin import Origin, check_origin, checkpoint_fault
from ledger.trusted_sets import TrustedSets
from tests.support.changing_members import ChangingChain, member_changes
from tests.support.checkpoints import proof_of_tip
from tests.support.origins import origin_of

LAST = 12
"""Members change at heights 4, 7 and 10."""


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChangingChain]:
    made = ChangingChain(tmp_path_factory.mktemp("chain") / "ledger")
    with member_changes(made.changes):
        yield made
    made.ledger.close()


@pytest.fixture(scope="module")
def checkpoints(chain: ChangingChain) -> list[Checkpoint]:
    """One of each height, made when it was the tip."""
    found = []
    while chain.ledger.height < LAST:
        chain.grow()
        found.append(checkpoint_of(proof_of_tip(chain.ledger), chain.community.genesis))
    return found


def held(chain: ChangingChain, origin: Origin, checkpoint: Checkpoint) -> None:
    genesis = chain.community.genesis
    check_origin(origin, genesis, BegunEras(genesis), checkpoint=checkpoint)


def fault(chain: ChangingChain, origin: Origin, checkpoint: Checkpoint) -> str | None:
    """As if the checkpoint's block lay far below, where no header is."""
    sets = TrustedSets(chain.community.genesis)
    assert sets.take_all(origin.steps) is None
    return checkpoint_fault(replace(origin, headers=()), sets, checkpoint)


def test_every_origin_of_the_chain_agrees_with_every_checkpoint_of_it(
    chain: ChangingChain, checkpoints: list[Checkpoint]
) -> None:
    for height in range(1, LAST + 1):
        origin = origin_of(chain.ledger, height)
        for checkpoint in checkpoints:
            held(chain, origin, checkpoint)
            assert fault(chain, origin, checkpoint) is None


@pytest.mark.parametrize("below", [0, 1, 5])
def test_another_block_at_a_height_that_its_headers_show_is_refused(
    chain: ChangingChain, checkpoints: list[Checkpoint], below: int
) -> None:
    other = replace(checkpoints[LAST - below - 1], block=Digest(bytes(32)))
    with pytest.raises(OriginRefused, match=rf"block {LAST - below} is .* in the street file"):
        held(chain, origin_of(chain.ledger, LAST), other)


BENDS: dict[str, tuple[Callable[[Checkpoint], Checkpoint], str]] = {
    "members of the next height": (
        lambda one: replace(one, undecided=one.undecided[1:]),
        "other members decide above block 8",
    ),
    "members of the height above it": (
        lambda one: replace(one, following=one.following[1:]),
        "other members decide above block 8",
    ),
    "slot": (lambda one: replace(one, slot=Slot(one.slot + 1_000)), "its slot lies before that of block 8"),
}


@pytest.mark.parametrize("bend", BENDS)
def test_far_above_a_checkpoint_whoever_decides_must_come_from_its_members(
    chain: ChangingChain, checkpoints: list[Checkpoint], bend: str
) -> None:
    change, words = BENDS[bend]
    found = fault(chain, origin_of(chain.ledger, LAST), change(checkpoints[7]))
    assert found is not None
    assert words in found


def test_steps_that_leave_the_checkpoints_members_out_are_refused_though_they_decide(
    chain: ChangingChain, checkpoints: list[Checkpoint]
) -> None:
    """The members of before a change certify another history with keys that they should have erased."""
    origin = origin_of(chain.ledger, LAST)
    forged = replace(origin, steps=origin.steps[:1])
    assert fault(chain, forged, checkpoints[7]) == "other members decide above block 8 than the street file names"
