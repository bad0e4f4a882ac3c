"""A decided block proves itself, and the members of the next two, to who has genesis alone."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec.structs import replace

from consensus.identifiers import Height
from contracts.genesis import PROTOCOL_VERSION
from ledger.checkpoint import CheckpointProof, checkpoint_of
from ledger.errors import CheckpointRefused, NothingToProve
from ledger.ledger import Ledger
from node.stories.checkpoint import prove_tip
from node.stories.slices import to_the_end
from tests.support.changing_members import ChangingChain, certify_by, changing_chain
from tests.support.checkpoints import proof_of_tip
from tests.support.contracts import make_genesis

LAST = 12


@dataclass(frozen=True)
class Grown:
    """A chain whose members changed three times: after blocks 2, 5 and 8."""

    chain: ChangingChain
    proofs: dict[int, CheckpointProof]
    """By the height of the block that they prove."""


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grown]:
    with changing_chain(tmp_path_factory.mktemp("checkpoint") / "ledger") as chain:
        proofs = {}
        while chain.ledger.height < LAST:
            chain.grow()
            proofs[int(chain.ledger.height)] = proof_of_tip(chain.ledger)
        yield Grown(chain, proofs)


def test_every_block_proves_itself_and_who_decides_the_next_two(grown: Grown) -> None:
    chain = grown.chain
    for height, proof in grown.proofs.items():
        checkpoint = checkpoint_of(proof, chain.community.genesis)
        assert (checkpoint.chain, checkpoint.height) == (chain.community.chain, height)
        certificate = chain.ledger.certificate(Height(height))
        assert certificate is not None
        assert checkpoint.block == certificate.block
        assert checkpoint.undecided == chain.set_of(height + 1).members
        assert checkpoint.following == chain.set_of(height + 2).members
    newest = checkpoint_of(grown.proofs[LAST], chain.community.genesis)
    assert chain.rotated.public_key in dict(newest.following).values()


def test_genesis_has_nothing_to_prove(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger", make_genesis(4).genesis)
    with pytest.raises(NothingToProve, match="no block is decided yet"):
        proof_of_tip(ledger)
    ledger.close()


def test_blocks_may_be_decided_while_the_proof_is_made(tmp_path: Path) -> None:
    """It is of the block that was the newest when it was begun."""
    with changing_chain(tmp_path / "ledger") as chain:
        while chain.ledger.height < 4:
            chain.grow()
        work = prove_tip(chain.ledger)
        next(work)
        while chain.ledger.height < LAST:
            chain.grow()
        checkpoint = checkpoint_of(to_the_end(work), chain.community.genesis)
        assert checkpoint.height == 4
        assert checkpoint.following == chain.set_of(6).members


def refused(proof: CheckpointProof, grown: Grown) -> str:
    with pytest.raises(CheckpointRefused) as refusal:
        checkpoint_of(proof, grown.chain.community.genesis)
    return str(refusal.value)


@pytest.mark.parametrize("height", [2, 3, 5, 6, 8, 9, LAST])
def test_no_change_can_be_left_out(grown: Grown, height: int) -> None:
    proof = grown.proofs[height]
    for index in range(len(proof.changes)):
        assert refused(replace(proof, changes=proof.changes[:index] + proof.changes[index + 1 :]), grown)


def test_the_last_change_is_missed_by_the_header_alone(grown: Grown) -> None:
    """The block that fixes it is decided by those of before: only what it commits to says that they change."""
    assert "one is left out" in refused(replace(grown.proofs[8], changes=grown.proofs[8].changes[:-1]), grown)


def by_sold_keys(grown: Grown) -> CheckpointProof:
    """Everybody that genesis names signs a later block, which is not theirs any more."""
    proof, chain = grown.proofs[LAST], grown.chain
    block = chain.ledger.decided_block(Height(LAST))
    certificate = certify_by(chain.ledger, block, list(chain.community.node_keys[:3]))
    return replace(proof, certificate=certificate)


LIES: dict[str, tuple[Callable[[Grown], CheckpointProof], str]] = {
    "too few": (
        lambda grown: replace(
            grown.proofs[1],
            certificate=replace(
                grown.proofs[1].certificate, endorsements=grown.proofs[1].certificate.endorsements[:2]
            ),
        ),
        "the certificate does not decide block 1: not exactly 3 valid COMMITs",
    ),
    "another header": (
        lambda grown: replace(grown.proofs[3], header=replace(grown.proofs[3].header, slot=999)),
        "the certificate does not decide block 3: for block",
    ),
    "another block's certificate": (
        lambda grown: replace(grown.proofs[3], certificate=grown.proofs[2].certificate),
        "the certificate does not decide block 3: for height 2",
    ),
    "rules of another program": (
        lambda grown: replace(grown.proofs[3], header=replace(grown.proofs[3].header, version=PROTOCOL_VERSION + 1)),
        f"block 3 follows protocol version {PROTOCOL_VERSION + 1}",
    ),
    "keys that were replaced": (by_sold_keys, f"the certificate does not decide block {LAST}: not exactly"),
    "a change twice": (
        lambda grown: replace(grown.proofs[3], changes=grown.proofs[3].changes * 2),
        "the change of members by block 2 is not in its order",
    ),
    "a change of later": (
        lambda grown: replace(grown.proofs[3], changes=grown.proofs[LAST].changes[1:2]),
        "the certificate does not decide block 5",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_proves_nothing_is_refused(grown: Grown, lie: str) -> None:
    make, text = LIES[lie]
    assert text in refused(make(grown), grown)


def test_another_chains_block_proves_nothing(grown: Grown) -> None:
    with pytest.raises(CheckpointRefused, match="block 1 belongs to chain"):
        checkpoint_of(grown.proofs[1], make_genesis(5).genesis)
