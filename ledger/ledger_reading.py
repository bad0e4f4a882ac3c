"""What an open ledger answers: state, past values, decided blocks, and the proofs of each.

A ledger that began at an origin lacks what lies below it. Every answer that would need it is refused in one way
(`BlocksNotHere`), so that no reader takes what is not here for what never was.
"""

from collections.abc import Iterator, Sequence

from consensus.codec import encode
from consensus.era_plans import EraProof
from consensus.identifiers import FIRST_HEIGHT, FIXED_AHEAD, GENESIS_HEIGHT, Digest, Height
from consensus.membership import Membership
from consensus.messages import CommitCertificate
from contracts.receipts import Receipt
from contracts.state import MEMBER_LIST_KEY, MemberList, Overlay, StateKey, Table
from ledger.authenticated_map import prove
from ledger.block import Block, BlockHeader
from ledger.eras import BegunEras
from ledger.errors import BlocksNotHere, NothingToProve
from ledger.merkle_tree import prove_inclusion
from ledger.origin import StoredOrigin
from ledger.proofs import ReceiptProof, StateProof
from ledger.reading import BlockReader, TransactionLocation
from ledger.store import Store
from ledger.trusted_sets import SetChange, SetStep
from ledger.validation import Parent


class LedgerReader:
    """The half of a `Ledger` that changes nothing."""

    def __init__(self, *, store: Store, parent: Parent, begun: BegunEras, origin: StoredOrigin | None) -> None:
        """Takes checked parts."""
        self._store = store
        self._blocks = BlockReader(store)
        self._parent = parent
        self._begun = begun
        self._origin = origin

    # --- from where on ---------------------------------------------------------------------------------------

    @property
    def height(self) -> Height:
        """Last decided height; 0 is genesis."""
        return self._parent.height

    @property
    def state_root(self) -> Digest:
        """Root of the authenticated map after the last decided block."""
        return self._parent.state_root

    @property
    def first_height(self) -> Height:
        """Lowest height whose block is here, and after which past values are: 1, or that of the origin."""
        return FIRST_HEIGHT if self._origin is None else self._origin.height

    def lacks(self, height: Height) -> bool:
        """Says whether a height lies below what is here: genesis too, where earlier blocks are missing."""
        return self._origin is not None and height < self._origin.height

    def require_whole(self) -> None:
        """Asserts that nothing is missing, for who looks for something and did not find it.

        Raises:
            BlocksNotHere: it may lie below the origin.
        """
        self._require_here(GENESIS_HEIGHT)

    def _require_here(self, height: Height) -> None:
        if self.lacks(height):
            raise BlocksNotHere(self.first_height)

    def membership_at(self, height: Height) -> Membership:
        """Returns the members of a height, 1 to height + 2 of the tip, from the history that the state keeps."""
        assert GENESIS_HEIGHT < height <= self.height + 2
        return self._begun.membership_at(height, self)

    # --- state -----------------------------------------------------------------------------------------------

    def get(self, key: StateKey) -> bytes | None:
        """Returns the newest value of a state key, None if it was never written."""
        version = self._store.newest_version(key)
        return None if version is None else version[1]

    def newest(self, key: StateKey) -> tuple[Height, bytes] | None:
        """Returns the newest value of a state key with the height that wrote it, None if it was never written.

        What was written at the origin or before it has the origin's height.
        """
        return self._store.newest_version(key)

    def get_at(self, key: StateKey, height: Height) -> bytes | None:
        """Returns the value that a state key had after a height, None if it was not written by then.

        Raises:
            BlocksNotHere: the height lies below the origin; so do the others.
        """
        self._require_here(height)
        version = self._store.version_at(key, height)
        return None if version is None else version[1]

    def version_at(self, key: StateKey, height: Height) -> tuple[Height, bytes] | None:
        """Returns the value that a state key had after a height, with the height that wrote it; None if none."""
        self._require_here(height)
        return self._store.version_at(key, height)

    def history(self, key: StateKey, *, above: Height | None = None) -> Iterator[tuple[Height, bytes]]:
        """Yields all values of a state key that were written above a height, with their heights, oldest first.

        Where a ledger began at an origin, the first one may be what the key had there (`newest`).
        """
        if self._origin is not None:
            above = Height(max(self._origin.height - 1, GENESIS_HEIGHT if above is None else above))
        return self._store.versions(key, above)

    def scan(self, table: Table) -> Iterator[tuple[StateKey, bytes]]:
        """Yields every key of a table with its newest value, in the order of the keys."""
        return self._store.newest_versions(table)

    def state_at(self, height: Height, *, after: StateKey | None) -> Iterator[tuple[StateKey, bytes | None]]:
        """Yields every state key behind one with the value that it had after a height, None if it had none yet."""
        self._require_here(height)
        return self._store.values_at(height, after=after)

    def node(self, name: Digest) -> bytes | None:
        """Returns a node of the newest state's authenticated map by its hash."""
        return self._store.node(name)

    def block(self, height: Height) -> Block | None:
        """Returns a decided block; None for genesis and for heights not decided yet."""
        self._require_here(height)
        return self._blocks.block(height)

    def decided_block(self, height: Height) -> Block:
        """Returns the block of a decided height, 1 to the tip.

        Raises:
            LedgerDamaged: it is missing, or not what was written.
        """
        assert GENESIS_HEIGHT < height <= self.height, f"height {height} is not among 1 to {self.height}"
        self._require_here(height)
        return self._blocks.decided_block(height)

    def decided_header(self, height: Height) -> BlockHeader:
        """Returns the header of a decided height; of the last ones below an origin too.

        Raises:
            BlocksNotHere: the height lies below these.
        """
        if self._origin is not None and self.lacks(height):
            for header in self._origin.headers:
                if header.height == height:
                    return header
        return self.decided_block(height).header

    def block_bytes(self, height: Height) -> bytes | None:
        """Returns a decided block as it is stored and sent."""
        self._require_here(height)
        return self._blocks.block_bytes(height)

    def certificate(self, height: Height) -> CommitCertificate | None:
        """Returns the certificate that decided a block."""
        self._require_here(height)
        return self._blocks.certificate(height)

    def height_of_block(self, digest: Digest) -> Height | None:
        """Returns the height of a decided block by its digest."""
        return self._blocks.height_of_block(digest)

    def receipts(self, height: Height) -> tuple[Receipt, ...]:
        """Returns the receipts of a decided block, one per transaction; none for other heights."""
        self._require_here(height)
        return self._blocks.receipts(height)

    def receipts_bytes(self, height: Height) -> bytes:
        """Returns the receipts of a decided block as they are stored: a search of names decodes few blocks."""
        self._require_here(height)
        return self._blocks.receipts_bytes(height)

    def find_transaction(self, digest: Digest) -> TransactionLocation | None:
        """Returns where a transaction stands on the chain, None if no block that is here contains it."""
        return self._blocks.find_transaction(digest)

    def prove_receipt(self, digest: Digest) -> ReceiptProof:
        """Returns a transaction's receipt with the proof that the chain has it.

        Raises:
            NothingToProve: the transaction is not on the chain.
            BlocksNotHere: it may stand below the origin.
        """
        location = self.find_transaction(digest)
        if location is None:
            self.require_whole()
            raise NothingToProve(f"transaction {digest.hex()} is not on the chain")
        receipts = self.receipts(location.height)
        header, certificate = self._blocks.decided_header(location.height)
        return ReceiptProof(
            header=header,
            certificate=certificate,
            receipt=receipts[location.index],
            inclusion=prove_inclusion([encode(receipt) for receipt in receipts], location.index),
        )

    def set_steps(self) -> tuple[SetStep, ...]:
        """Returns what leads from genesis to the members of every height: headers of changes, and ceremonies."""
        return tuple(step for some in self.set_steps_in_turns() for step in some)

    def set_steps_in_turns(self) -> Iterator[Sequence[SetStep]]:
        """Yields the same, after one block read at a time; the ledger may grow between two."""
        terms = Overlay(self).require(MEMBER_LIST_KEY, MemberList).terms
        ends = [term.last_height + 1 for term in terms if term.last_height is not None]
        proofs = self._begun.proofs()
        firsts = {Height(first) for first in {term.first_height for term in terms}.union(ends, proofs)}
        origin = self._origin
        if origin is not None:
            yield origin.steps
        for first in sorted(firsts):
            begun = proofs.get(first, ())
            if origin is None or first - FIXED_AHEAD >= origin.height:  # else the header that says so is not here
                yield self._set_changes(first, begun)
            yield [proof for proof in begun if origin is None or proof.plan.base >= origin.height]

    def _set_changes(self, first: Height, proofs: Sequence[EraProof]) -> tuple[SetChange, ...]:
        """Returns the change from a height on, if the eras before one that begins there made one: what a base or a
        carried block fixed is undone, and the era's first own block writes the terms without it.
        """
        members = proofs[0].plan.quorums[0] if proofs else self.membership_at(first).members
        if first == FIRST_HEIGHT or members == self.membership_at(Height(first - 1)).members:
            return ()
        header, certificate = self._blocks.decided_header(Height(first - FIXED_AHEAD))
        return (SetChange(header=header, certificate=certificate, members=members),)

    def prove_state(self, key: StateKey) -> StateProof:
        """Returns a key's newest value, or that it has none, with the proof against the tip's header.

        Raises:
            NothingToProve: no block is decided yet; genesis itself proves its state.
        """
        if self.height == GENESIS_HEIGHT:
            raise NothingToProve("no block is decided yet; the state at height 0 follows from genesis")
        header, certificate = self._blocks.decided_header(self.height)
        return StateProof(
            header=header,
            certificate=certificate,
            key=key,
            value=self.get(key),
            path=prove(self.node, self.state_root, key),
        )


class StateAt:
    """The state as it was after a height, for who reads one as of today."""

    def __init__(self, ledger: LedgerReader, height: Height) -> None:
        self._ledger = ledger
        self._height = height

    def get(self, key: StateKey) -> bytes | None:
        """Returns the value that a key had then, None if it had none.

        Raises:
            BlocksNotHere: as `LedgerReader.get_at`.
        """
        return self._ledger.get_at(key, self._height)
