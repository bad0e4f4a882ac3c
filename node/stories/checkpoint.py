"""The proof of the newest block, for homes that join (`ledger/checkpoint.py`)."""

from consensus.identifiers import GENESIS_HEIGHT
from ledger.checkpoint import CheckpointProof
from ledger.errors import NothingToProve
from ledger.ledger import Ledger
from ledger.trusted_sets import CHANGES_MAX, SetStep
from node.replies.node import CheckpointReply
from node.replies.views import checkpoint_view
from node.stories.slices import Progress, Slices


def prove_tip(ledger: Ledger) -> Slices[CheckpointProof]:
    """Returns the proof of the newest decided block.

    Raises:
        NothingToProve: no block is decided yet.
    """
    height = ledger.height
    if height == GENESIS_HEIGHT:
        raise NothingToProve("no block is decided yet: a home joins a chain that has one")
    header, certificate = ledger.decided_block(height).header, ledger.certificate(height)
    assert certificate is not None, f"height {height} is decided"
    changes: list[SetStep] = []
    for some in ledger.set_steps_in_turns():
        changes += some
        yield Progress(len(changes), CHANGES_MAX)
    return CheckpointProof(changes=tuple(changes), header=header, certificate=certificate)


def checkpoint_reply(ledger: Ledger) -> Slices[CheckpointReply]:
    """Returns it as the API shows it."""
    return checkpoint_view((yield from prove_tip(ledger)))
