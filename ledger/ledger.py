"""The ledger of one node: the decided chain and its state, growing by one synced batch per block.

`build` and `check` execute a block against an overlay and change nothing (the paper's temporary ledger); `append`
makes a decided block permanent. For use by one thread at a time.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from consensus.codec import decode, encode
from consensus.era_plans import EraProof
from consensus.eras import Eras
from consensus.identifiers import FIRST_HEIGHT, FIXED_AHEAD, GENESIS_HEIGHT, Address, Digest, Height, PublicKey, Slot
from consensus.membership import Membership, Memberships
from consensus.messages import CommitCertificate
from contracts.genesis import Genesis, chain_id
from contracts.member_changes import next_change
from contracts.receipts import Receipt
from contracts.rule_records import Rules
from contracts.state import MEMBER_LIST_KEY, MemberList, Overlay, StateKey, Table
from contracts.transactions import Transaction
from ledger.access import is_there, require_access
from ledger.authenticated_map import prove
from ledger.block import Block, block_digest
from ledger.creation import make_database
from ledger.entries import block_entries
from ledger.eras import BegunEra, BegunEras
from ledger.errors import (
    BlockNotNext,
    DecidedBlockRefused,
    LedgerExists,
    LedgerMissing,
    LedgerWriteFailed,
    NothingToProve,
    TransactionRefused,
)
from ledger.execution import Draft, ExecutedBlock, draft_of, execute, result_refusal, with_proof
from ledger.merkle_tree import prove_inclusion
from ledger.proofs import ReceiptProof, StateProof
from ledger.reading import BlockReader, TransactionLocation
from ledger.side_files import (
    DirectoryLock,
    TipMark,
    database_path,
    remove_seal,
    sync_directory,
    write_seal,
    write_tip_mark,
)
from ledger.startup import check_files, check_recent_blocks
from ledger.store import (
    Space,
    Store,
    node_key,
    undecided_key,
)
from ledger.transactions import TransactionVerifier
from ledger.trusted_sets import SetChange, SetStep
from ledger.validation import (
    Admission,
    BlockRefusal,
    Parent,
    judged_in,
    key_in,
    last_nonce_in,
    refusal_unexecuted,
    rules_in,
    verified_transactions,
)

EXECUTIONS_MAX: Final = 4
"""Remembered executions of height + 1: own proposal, the voted block, and what a view change may bring back."""


class Ledger:
    """Open ledger of one node. Made by `create` or `open`, given up by `close`."""

    def __init__(
        self,
        *,
        directory: Path,
        lock: DirectoryLock,
        store: Store,
        genesis: Genesis,
        parent: Parent,
        verifier: TransactionVerifier,
        begun: BegunEras,
    ) -> None:
        """Takes checked parts; use `create` or `open`."""
        self.genesis: Final = genesis
        self.chain: Final = chain_id(genesis)
        self.verifier: Final = verifier
        self._directory = directory
        self._lock = lock
        self._store = store
        self._blocks = BlockReader(store)
        self._parent = parent
        self._executed: OrderedDict[Digest, ExecutedBlock] = OrderedDict()
        self._undecided = {key[1:]: value for key, value in store.entries(Space.UNDECIDED.value)}
        self._closed = False
        self._begun = begun
        self._is_change_wanted = self._looks_for_change()

    # --- life ----------------------------------------------------------------------------------------------

    @staticmethod
    def exists(directory: Path) -> bool:
        """Says whether a directory holds a ledger.

        Raises:
            LedgerUnreadable: that cannot be told.
        """
        return is_there(database_path(directory))

    @classmethod
    def create(
        cls,
        directory: Path,
        genesis: Genesis,
        verifier: TransactionVerifier | None = None,
        *,
        begun: Sequence[BegunEra] = (),
    ) -> "Ledger":
        """Makes a new ledger with the genesis state, durably and all at once, and opens it.

        Args:
            directory: for the ledger alone; made if it is not there.
            genesis: of the chain.
            verifier: to share remembered transactions with; by default one of its own.
            begun: eras that ceremonies began at this home.

        Raises:
            LedgerExists: there is one already.
            LedgerBusy: somebody else makes one.
            LedgerWriteFailed: the disk does not take it.
        """
        directory.mkdir(parents=True, exist_ok=True)
        lock = DirectoryLock(directory)
        try:
            if cls.exists(directory):
                raise LedgerExists(f"{directory} already holds a ledger")
            sync_directory(directory.parent)  # else a power cut could take the folder with all that is synced in it
            make_database(directory, genesis)
        except OSError as error:
            raise LedgerWriteFailed(f"cannot create a ledger: {error}") from None
        finally:
            lock.release()
        return cls.open(directory, genesis, verifier, begun=begun)

    @classmethod
    def open(
        cls,
        directory: Path,
        genesis: Genesis,
        verifier: TransactionVerifier | None = None,
        *,
        begun: Sequence[BegunEra] = (),
    ) -> "Ledger":
        """Opens a ledger after checking, cheaply, that it is what was written (`startup`); arguments as `create`.

        Raises:
            LedgerMissing: there is none.
            LedgerUnreadable: this process may not open all of its files; nothing was changed.
            LedgerBusy: it is open elsewhere.
            LedgerForeign: it belongs to another chain or format.
            LedgerDamaged: it is not what was written.
        """
        if not cls.exists(directory):
            raise LedgerMissing(f"{directory} holds no ledger")
        require_access(directory, database_path(directory), is_writing=True)
        lock = DirectoryLock(directory)
        store: Store | None = None
        eras = BegunEras(chain_id(genesis), begun)
        try:
            check_files(directory)
            remove_seal(directory)
            store = Store.open(database_path(directory), verify_checksums=True)
            parent = check_recent_blocks(directory, store, eras)
        except BaseException:
            if store is not None:
                store.close()
            lock.release()
            raise
        return cls(
            directory=directory,
            lock=lock,
            store=store,
            genesis=genesis,
            parent=parent,
            verifier=TransactionVerifier(chain_id(genesis)) if verifier is None else verifier,
            begun=eras,
        )

    def close(self) -> None:
        """Closes the database and seals its files; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self._store.close()
        try:
            if not self._store.failed:
                write_seal(self._directory, height=self.height, tip=self.tip)
        except OSError as error:
            raise LedgerWriteFailed(f"cannot seal the ledger: {error}") from None
        finally:
            self._lock.release()

    # --- the tip -------------------------------------------------------------------------------------------

    @property
    def height(self) -> Height:
        """Last decided height; 0 is genesis."""
        return self._parent.height

    @property
    def tip(self) -> Digest:
        """Digest of the last decided block; the chain id at genesis."""
        return self._parent.digest

    @property
    def tip_slot(self) -> Slot:
        """Header slot of the last decided block; 0 at genesis."""
        return self._parent.slot

    @property
    def state_root(self) -> Digest:
        """Root of the authenticated map after the last decided block."""
        return self._parent.state_root

    def membership(self) -> Membership:
        """Returns the members of height + 1."""
        return self._parent.memberships.undecided

    def memberships(self) -> Memberships:
        """Returns the members of height + 1 and of height + 2."""
        return self._parent.memberships

    def membership_at(self, height: Height) -> Membership:
        """Returns the members of a height, 1 to height + 2 of the tip, from the history that the state keeps."""
        assert GENESIS_HEIGHT < height <= self.height + 2
        return self._begun.membership_at(height, self)

    @property
    def eras(self) -> Eras:
        """The eras that this home knows of; another one begins only while nobody has the ledger open."""
        return self._begun.eras

    @property
    def carried(self) -> bytes | None:
        """The block that height + 1 must be, as a ceremony found; None if it may be any."""
        return self._begun.carried_at(Height(self.height + 1))

    @property
    def wants_block(self) -> bool:
        """Says whether the next block is wanted though no transaction waits: a ceremony carries it, or a change of
        the members is to be carried out or to come into force.
        """
        return self._is_change_wanted or self.carried is not None

    def _looks_for_change(self) -> bool:
        memberships = self._parent.memberships
        if memberships.undecided.members != memberships.following.members:
            return True
        height = Height(self.height + 1)
        return next_change(Overlay(self), height=height, slot=self.tip_slot, genesis=self.genesis) is not None

    @property
    def rules(self) -> Rules:
        """The rules of height + 1.

        Raises:
            RulesUnknown: this program cannot execute them.
        """
        return rules_in(self)

    def member_of(self, key: PublicKey) -> Address | None:
        """Returns whose node key this is at height + 1 or height + 2; below the base of the newest era that this home
        began, when that era begins: a key that its ceremony removed is nobody's. None if it is nobody's.
        """
        known = self._begun if self._begun.is_above(self.height) else self._parent.memberships
        return known.member_of(key)

    def last_nonce(self, sender: Address) -> int | None:
        """Returns the nonce of a sender's last decided transaction (-1: none yet); None: unknown sender."""
        return last_nonce_in(self, sender)

    def key_of(self, sender: Address) -> PublicKey | None:
        """Returns the key that acts for a sender: a member, gone or not, or an office; None if it is neither."""
        return key_in(self, sender)

    # --- consensus' side -----------------------------------------------------------------------------------

    def build(
        self, *, slot: Slot, leader: Address, candidates: Iterable[Transaction], prove: Callable[[bytes], bytes]
    ) -> Block:
        """Makes the block of height + 1 that a leader proposes, and remembers its execution. A carried one is made.

        Args:
            slot: of the proposal.
            leader: of that slot.
            candidates: verified transactions in the order of preference; those that no block of this height may
                contain are left out, and the block ends where the next one would exceed a limit of the rules.
            prove: the leader's verifiable random function, asked if the block must carry a proof.
        """
        if self.carried is not None:
            block = decode(self.carried, Block)
            refusal = self.check(block)
            assert refusal is None, f"the carried block is invalid: {refusal}"
            return block
        draft, transactions = self._draft(slot, leader, candidates)
        proven = with_proof(draft, self._parent, self._begun, self, prove)
        executed = self._execute(proven, transactions, self._parent, self._begun)
        self._remember(executed)
        return executed.block

    def _draft(
        self, slot: Slot, leader_address: Address, candidates: Iterable[Transaction]
    ) -> tuple[Draft, list[Transaction]]:
        assert slot >= self.tip_slot
        assert leader_address == self._parent.memberships.leaders.at(slot)
        admission = Admission(self, Height(self.height + 1))
        transactions: list[Transaction] = []
        parameters, size_bytes = self.rules.parameters, 0
        for candidate in candidates:
            size_bytes += len(candidate.raw)
            is_full = len(transactions) == parameters.block_transactions_max
            if is_full or size_bytes > parameters.block_size_bytes_max:
                break
            try:
                transactions.append(admission.admit(candidate))
            except TransactionRefused:
                size_bytes -= len(candidate.raw)  # the mempool finds out itself, and tells the sender
        draft = Draft(
            slot=slot,
            leader=leader_address,
            transactions=tuple(transaction.raw for transaction in transactions),
            parent_certificate=self.certificate(self.height),
            ceremony=self._begun.proof_in(Height(self.height + 1)),
            vrf_proof=b"",
        )
        return draft, transactions

    def check(self, block: Block) -> BlockRefusal | None:
        """Validates a block of height + 1 in full, by executing it; never raises on bad input.

        Returns:
            None if it may be voted for; its execution is then remembered for `append`.
        """
        known = self._executed.get(block_digest(block.header))
        if known is not None and known.block == block:
            return None
        outcome = self._validate(block)
        if isinstance(outcome, BlockRefusal):
            return outcome
        self._remember(outcome)
        return None

    def append(self, block: Block, certificate: CommitCertificate) -> None:
        """Makes a decided block permanent, with everything it leads to, in one synced atomic batch.

        Args:
            block: of height + 1, extending the tip.
            certificate: that decides it; consensus has verified its signatures.

        Raises:
            BlockNotNext: it does not extend the tip, or the certificate is of another block.
            DecidedBlockRefused: it does not execute to what its header claims; nothing was written.
            LedgerWriteFailed: it is not known to be durable; the node must stop.
        """
        digest = block_digest(block.header)
        self._require_next(block, digest, certificate)
        executed = self._executed.get(digest)
        if executed is None or executed.block != block:
            outcome = self._validate(block)
            if isinstance(outcome, BlockRefusal):
                raise DecidedBlockRefused(
                    f"height {block.header.height}, block {digest.hex()}: {outcome.reason.value}: {outcome.detail}"
                )
            executed = outcome
        stale = [node_key(name) for name in executed.map_update.removed]
        stale += [undecided_key(name) for name in self._undecided]
        self._store.write(block_entries(executed, certificate), stale)
        height = executed.block.header.height
        self._parent = executed.as_parent(
            membership=self.membership(), memberships=self._begun.memberships_after(height, self)
        )
        self._undecided.clear()
        self._executed.clear()
        self._is_change_wanted = self._looks_for_change()
        self._mark_tip()

    def _require_next(self, block: Block, digest: Digest, certificate: CommitCertificate) -> None:
        header = block.header
        if header.height != self.height + 1 or header.parent != self.tip:
            raise BlockNotNext(
                f"height {header.height} on {header.parent.hex()}, the tip is {self.height}, {self.tip.hex()}"
            )
        if (certificate.height, certificate.block) != (header.height, digest):
            raise BlockNotNext(
                f"block {digest.hex()} at height {header.height}, the certificate decides "
                f"{certificate.block.hex()} at height {certificate.height}"
            )

    def _mark_tip(self) -> None:
        try:
            write_tip_mark(self._directory, TipMark(height=self.height, block=self.tip))
        except OSError as error:
            raise LedgerWriteFailed(f"cannot write the mark of the tip: {error}") from None

    def persist_undecided(self, records: Mapping[bytes, bytes]) -> None:
        """Adds to consensus' own records of height + 1, or replaces them by key, in one synced batch.

        Raises:
            LedgerWriteFailed: they are not known to be durable; the node must stop.
        """
        self._store.write({undecided_key(name): value for name, value in records.items()})
        self._undecided.update(records)

    def undecided(self) -> dict[bytes, bytes]:
        """Returns consensus' own records of height + 1; `append` drops them."""
        return dict(self._undecided)

    def drop_undecided(self) -> None:
        """Forgets consensus' own records of height + 1: another era has begun.

        Raises:
            LedgerWriteFailed: as `persist_undecided`.
        """
        self._store.write({}, [undecided_key(name) for name in self._undecided])
        self._undecided.clear()

    def _validate(self, block: Block) -> ExecutedBlock | BlockRefusal:
        judged = judged_in(block.header, self._parent, self._begun, self)
        if isinstance(judged, BlockRefusal):
            return judged
        parent, begun = judged
        refusal = refusal_unexecuted(block, parent, self.genesis, begun, self)
        if refusal is not None:
            return refusal
        transactions = verified_transactions(block, self, self.verifier)
        if isinstance(transactions, BlockRefusal):
            return transactions
        executed = self._execute(draft_of(block), list(transactions), parent, begun)
        return result_refusal(block, executed) or executed

    def _execute(
        self, draft: Draft, transactions: list[Transaction], parent: Parent, begun: BegunEras
    ) -> ExecutedBlock:
        return execute(
            draft,
            transactions,
            state=self,
            parent=parent,
            genesis=self.genesis,
            begun=begun,
            height_of_block=self.height_of_block,
        )

    def _remember(self, executed: ExecutedBlock) -> None:
        self._executed[executed.digest] = executed
        while len(self._executed) > EXECUTIONS_MAX:
            self._executed.popitem(last=False)

    # --- reading -------------------------------------------------------------------------------------------

    def get(self, key: StateKey) -> bytes | None:
        """Returns the newest value of a state key, None if it was never written."""
        version = self._store.newest_version(key)
        return None if version is None else version[1]

    def newest(self, key: StateKey) -> tuple[Height, bytes] | None:
        """Returns the newest value of a state key with the height that wrote it, None if it was never written."""
        return self._store.newest_version(key)

    def get_at(self, key: StateKey, height: Height) -> bytes | None:
        """Returns the value that a state key had after a height, None if it was not written by then."""
        version = self._store.version_at(key, height)
        return None if version is None else version[1]

    def version_at(self, key: StateKey, height: Height) -> tuple[Height, bytes] | None:
        """Returns the value that a state key had after a height, with the height that wrote it; None if none."""
        return self._store.version_at(key, height)

    def history(self, key: StateKey, *, above: Height | None = None) -> Iterator[tuple[Height, bytes]]:
        """Yields all values of a state key that were written above a height, with their heights, oldest first."""
        return self._store.versions(key, above)

    def scan(self, table: Table) -> Iterator[tuple[StateKey, bytes]]:
        """Yields every key of a table with its newest value, in the order of the keys."""
        return self._store.newest_versions(table)

    def node(self, name: Digest) -> bytes | None:
        """Returns a node of the newest state's authenticated map by its hash."""
        return self._store.node(name)

    def block(self, height: Height) -> Block | None:
        """Returns a decided block; None for genesis and for heights not decided yet."""
        return self._blocks.block(height)

    def decided_block(self, height: Height) -> Block:
        """Returns the block of a decided height, 1 to the tip.

        Raises:
            LedgerDamaged: it is missing, or not what was written.
        """
        assert GENESIS_HEIGHT < height <= self.height, f"height {height} is not among 1 to {self.height}"
        return self._blocks.decided_block(height)

    def block_bytes(self, height: Height) -> bytes | None:
        """Returns a decided block as it is stored and sent."""
        return self._blocks.block_bytes(height)

    def certificate(self, height: Height) -> CommitCertificate | None:
        """Returns the certificate that decided a block."""
        return self._blocks.certificate(height)

    def height_of_block(self, digest: Digest) -> Height | None:
        """Returns the height of a decided block by its digest."""
        return self._blocks.height_of_block(digest)

    def receipts(self, height: Height) -> tuple[Receipt, ...]:
        """Returns the receipts of a decided block, one per transaction; none for other heights."""
        return self._blocks.receipts(height)

    def receipts_bytes(self, height: Height) -> bytes:
        """Returns the receipts of a decided block as they are stored: a search of names decodes few blocks."""
        return self._blocks.receipts_bytes(height)

    def find_transaction(self, digest: Digest) -> TransactionLocation | None:
        """Returns where a transaction stands on the chain, None if it is not decided."""
        return self._blocks.find_transaction(digest)

    def prove_receipt(self, digest: Digest) -> ReceiptProof:
        """Returns a transaction's receipt with the proof that the chain has it.

        Raises:
            NothingToProve: the transaction is not on the chain.
        """
        location = self.find_transaction(digest)
        if location is None:
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
        return tuple(self.each_set_step())

    def each_set_step(self) -> Iterator[SetStep]:
        """Yields these one by one, as of the first: blocks may be decided meanwhile."""
        terms = Overlay(self).require(MEMBER_LIST_KEY, MemberList).terms
        ends = [term.last_height + 1 for term in terms if term.last_height is not None]
        proofs = self._begun.proofs()
        firsts = {Height(first) for first in {term.first_height for term in terms}.union(ends, proofs)}
        for first in sorted(firsts):
            begun = proofs.get(first, ())
            yield from self._set_changes(first, begun)
            yield from begun

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
