"""Proofs of a chain's newest block, as street files carry them."""

from pathlib import Path
from tempfile import TemporaryDirectory

from ledger.checkpoint import CheckpointProof, prove_tip
from tests.support.contracts import Community
from tests.support.ledger import ChainBuilder


def proof_of_one_block(community: Community) -> CheckpointProof:
    """Returns the proof of the first block of a community's chain."""
    with TemporaryDirectory() as directory:
        chain = ChainBuilder.create(Path(directory) / "ledger", community)
        try:
            chain.append([])
            return prove_tip(chain.ledger)
        finally:
            chain.ledger.close()
