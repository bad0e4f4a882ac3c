"""The ledger of one node: the decided chain and its state, growing by one synced batch per block.

`build` and `check` execute a block against an overlay and change nothing (the paper's temporary ledger); `append`
makes a decided block permanent. For use by one thread at a time.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from consensus.codec import decode
from consensus.eras import Eras
from consensus.identifiers import Address, Digest, Height, PublicKey, Slot
from consensus.membership import Membership, Memberships
from consensus.messages import CommitCertificate
from contracts.genesis import Genesis, chain_id
from contracts.member_changes import next_change
from contracts.rule_records import Rules
from contracts.state import Overlay, StateKey
from contracts.transactions import Transaction
from ledger.access import is_there, require_access
from ledger.block import Block, block_digest
from ledger.creation import make_database, make_database_at
from ledger.entries import block_entries
from ledger.eras import BegunEra, BegunEras
from ledger.errors import (
    BlockNotNext,
    DecidedBlockRefused,
    LedgerExists,
    LedgerMissing,
    LedgerWriteFailed,
    TransactionRefused,
)
from ledger.execution import Draft, ExecutedBlock, draft_of, execute, result_refusal, with_proof
from ledger.ledger_reading import LedgerReader
from ledger.origin import Origin, StoredOrigin
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


class Ledger(LedgerReader):
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
        origin: StoredOrigin | None,
    ) -> None:
        """Takes checked parts; use `create` or `open`."""
        super().__init__(store=store, parent=parent, begun=begun, origin=origin)
        self.genesis: Final = genesis
        self.chain: Final = chain_id(genesis)
        self.verifier: Final = verifier
        self._directory = directory
        self._lock = lock
        self._executed: OrderedDict[Digest, ExecutedBlock] = OrderedDict()
        self._undecided = {key[1:]: value for key, value in store.entries(Space.UNDECIDED.value)}
        self._closed = False
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
        cls._create(directory, lambda: make_database(directory, genesis))
        return cls.open(directory, genesis, verifier, begun=begun)

    @classmethod
    def create_at(
        cls,
        directory: Path,
        genesis: Genesis,
        origin: Origin,
        entries: Iterable[tuple[StateKey, bytes]],
        verifier: TransactionVerifier | None = None,
        *,
        begun: Sequence[BegunEra] = (),
    ) -> "Ledger":
        """Makes a new ledger that begins at a decided block, durably and all at once, and opens it; see `create`.

        Args:
            directory: for the ledger alone.
            genesis: of the chain; nothing else is trusted.
            origin: the block, with what its state does not say; from anybody.
            entries: every key of the state after it, with its value, in any order; from anybody, and not held.
            verifier: as `create`.
            begun: as `create`.

        Raises:
            OriginRefused: something does not hold; there is no ledger.
            RulesUnknown: the next block has rules that this program does not know; there is no ledger.
        """
        eras = BegunEras(genesis, begun)
        cls._create(directory, lambda: make_database_at(directory, genesis, origin, entries, eras))
        return cls.open(directory, genesis, verifier, begun=begun)

    @classmethod
    def _create(cls, directory: Path, make: Callable[[], None]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        lock = DirectoryLock(directory)
        try:
            if cls.exists(directory):
                raise LedgerExists(f"{directory} already holds a ledger")
            sync_directory(directory.parent)  # else a power cut could take the folder with all that is synced in it
            make()
        except OSError as error:
            raise LedgerWriteFailed(f"cannot create a ledger: {error}") from None
        finally:
            lock.release()

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
        eras = BegunEras(genesis, begun)
        try:
            check_files(directory)
            remove_seal(directory)
            store = Store.open(database_path(directory), verify_checksums=True)
            parent, origin = check_recent_blocks(directory, store, eras)
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
            origin=origin,
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
    def tip(self) -> Digest:
        """Digest of the last decided block; the chain id at genesis."""
        return self._parent.digest

    @property
    def tip_slot(self) -> Slot:
        """Header slot of the last decided block; 0 at genesis."""
        return self._parent.slot

    def membership(self) -> Membership:
        """Returns the members of height + 1."""
        return self._parent.memberships.undecided

    def memberships(self) -> Memberships:
        """Returns the members of height + 1 and of height + 2."""
        return self._parent.memberships

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
        assert leader_address == self._parent.memberships.leaders.expected(slot, leader_address)
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
