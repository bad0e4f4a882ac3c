"""To whom this home may have links, and under which keys.

As the state of the chain says, which at a home that has just joined is that of genesis: whoever founded the chain may
have left, and whoever is there have another key. So below the checkpoint that it joined with, that one says.
"""

from collections.abc import Set as AbstractSet
from pathlib import Path

from consensus.identifiers import Address, PublicKey
from consensus.membership import Membership
from ledger.block import block_digest
from ledger.checkpoint import Checkpoint
from ledger.errors import CheckpointContradicted
from ledger.ledger import Ledger
from node.home.checkpoint_file import load_checkpoint


class KnownKeys:
    """Whose a node key is, and whom there are links to."""

    def __init__(self, ledger: Ledger, file: Path) -> None:
        """Takes the chain, and where the checkpoint is that the home joined with, if it is not past it.

        Raises:
            JoinError: the file is damaged.
            CheckpointContradicted: the chain is another one.
        """
        self._ledger = ledger
        self._file = file
        self._checkpoint = load_checkpoint(file, ledger.chain)
        self._sets = () if self._checkpoint is None else _sets(self._checkpoint)
        self.look()

    def look(self) -> None:
        """Holds the chain against the checkpoint once its block is there, and has no use for that any more.

        Raises:
            CheckpointContradicted: the chain has another block at its height.
        """
        checkpoint = self._checkpoint
        if checkpoint is None or self._ledger.height < checkpoint.height:
            return
        is_here = not self._ledger.lacks(checkpoint.height)
        if is_here:
            self._compare(checkpoint)
        self._checkpoint, self._sets = None, ()
        if is_here:  # else the file waits until earlier blocks are filled in
            self._file.unlink(missing_ok=True)

    def _compare(self, checkpoint: Checkpoint) -> None:
        block = block_digest(self._ledger.decided_block(checkpoint.height).header)
        if block != checkpoint.block:
            raise CheckpointContradicted(
                f"block {checkpoint.height} is {block.hex()} here, and {checkpoint.block.hex()} in the street file "
                "with which this home joined. Both were decided, so the keys of many members are in wrong hands. Ask "
                "neighbours which one is theirs: if it is this one, ask to join with a street file of theirs "
                "(p2pnode join request --again); else make the home anew"
            )

    def member_of(self, key: PublicKey) -> Address | None:
        """Returns whose node key this is; None if it is nobody's."""
        if self._checkpoint is None:
            return self._ledger.member_of(key)
        found = (members.member_of(key) for members in self._sets)
        return next((address for address in found if address is not None), None)

    def addresses(self) -> AbstractSet[Address]:
        """Returns to whom there are links: members, candidates, and who left lately."""
        if self._checkpoint is not None:
            return {address for members in self._sets for address in members.addresses}
        both = self._ledger.memberships()
        return {*both.addresses, *(follower for follower, _ in both.followers)}


def _sets(checkpoint: Checkpoint) -> tuple[Membership, ...]:
    return Membership(checkpoint.undecided), Membership(checkpoint.following)
