"""Proofs of a chain's newest block, as street files carry them."""

from pathlib import Path
from tempfile import TemporaryDirectory

from ledger.checkpoint import CheckpointProof
from ledger.ledger import Ledger
from node.stories.checkpoint import prove_tip
from node.stories.slices import to_the_end
from tests.support.contracts import Community
from tests.support.ledger import ChainBuilder


def proof_of_tip(ledger: Ledger) -> CheckpointProof:
    """Returns the proof of the newest block, made all at once."""
    return to_the_end(prove_tip(ledger))


def proof_of_one_block(community: Community) -> CheckpointProof:
    """Returns the proof of the first block of a community's chain."""
    with TemporaryDirectory() as directory:
        chain = ChainBuilder.create(Path(directory) / "ledger", community)
        try:
            chain.append([])
            return proof_of_tip(chain.ledger)
        finally:
            chain.ledger.close()
