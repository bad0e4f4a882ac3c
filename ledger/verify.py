"""Offline verification of a whole ledger, for an operator who trusts nothing that is stored.

It shares no shortcut with the node: the state starts from genesis (or, where the ledger began at an origin, from the
one that its decided header commits to, by members whom genesis leads to) and lives in memory, every block is
executed again, every signature and certificate checked, and everything stored must equal what comes out, with
nothing missing and nothing more. LevelDB is opened on a private copy with checksums verified, so the evidence
stays as it is.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from consensus.codec import DecodeError, decode, encode
from consensus.identifiers import FIRST_HEIGHT, FIXED_AHEAD, GENESIS_HEIGHT, Digest, Height
from consensus.messages import CommitCertificate
from contracts.conservation import unbalanced_books
from contracts.genesis import Genesis, chain_id
from contracts.genesis_state import genesis_state
from contracts.joining import READY_HEIGHTS_MAX
from contracts.receipts import Receipt
from contracts.state import TOTALS_KEY, StateKey, Totals
from ledger.access import is_there, require_access
from ledger.authenticated_map import EMPTY, MapUpdate, no_nodes, update_map
from ledger.block import Block, block_digest
from ledger.eras import BegunEra, BegunEras, membership_in
from ledger.errors import LedgerDamaged, LedgerMissing, OriginRefused
from ledger.execution import ExecutedBlock, draft_of, execute, result_refusal
from ledger.origin import Origin, StoredOrigin, check_origin
from ledger.reading import BlockReader
from ledger.side_files import database_path, locked, read_tip_mark, seal_faults
from ledger.snapshot import snapshot
from ledger.startup import read_origin, require_format
from ledger.store import (
    FORMAT_KEY,
    FORMAT_VERSION,
    HEIGHT_SIZE_BYTES,
    ORIGIN_FORMAT_VERSION,
    TIP_KEY,
    Space,
    Store,
    StoredFormat,
    StoredTip,
    block_digest_key,
    block_key,
    certificate_key,
    height_bytes,
    height_from,
    location_bytes,
    receipts_key,
    transaction_key,
    version_key,
)
from ledger.transactions import TransactionVerifier
from ledger.validation import (
    BlockRefusal,
    BlockRefusalReason,
    Parent,
    certificate_fault,
    genesis_parent,
    judged_in,
    refusal_unexecuted,
    verified_transactions,
)
from ledger.verification_report import DAMAGE_LISTED_MAX, Findings, VerificationReport
from ledger.verify_scan import scan_everything

T = TypeVar("T")

Progress = Callable[[Height, Height], None]
"""Called after each height with the height and the tip."""


def verify_ledger(
    directory: Path, genesis: Genesis, progress: Progress, *, begun: Sequence[BegunEra] = ()
) -> VerificationReport:
    """Checks everything that a ledger's directory holds, from genesis or its origin to the tip.

    Args:
        directory: of a ledger that nobody has open.
        genesis: of the chain, from the node's own folder.
        progress: told after each height.
        begun: eras that ceremonies began at this home, from its own folder.

    Returns:
        What was checked and everything that is wrong; a damaged ledger raises nothing.

    Raises:
        LedgerMissing: there is no ledger.
        LedgerUnreadable: this process may not open all of its files.
        LedgerForeign: another version of this program wrote it, in another format.
        RulesUnknown: its blocks are executed up to a height from which on this program does not know the rules.
        LedgerBusy: a node has it open.
        OSError: the files cannot be read or copied.
    """
    if not is_there(database_path(directory)):
        raise LedgerMissing(f"{directory} holds no ledger")
    require_access(directory, database_path(directory), is_writing=False)
    with locked(directory):
        audit = _Audit(genesis, Findings(), begun)
        for fault in seal_faults(directory):
            audit.findings.add(None, fault)
        with snapshot(directory) as copy:
            try:
                store = Store.open(copy, verify_checksums=True)
            except LedgerDamaged as damaged:
                audit.findings.add(None, damaged.what)
                return audit.report(GENESIS_HEIGHT)
            try:
                return audit.run(directory, store, progress)
            finally:
                store.close()


class MemoryState:
    """A state with its authenticated map, in memory alone."""

    def __init__(self, values: dict[StateKey, bytes]) -> None:
        """Takes the first values."""
        self.values: dict[StateKey, bytes] = {}
        self.nodes: dict[Digest, bytes] = {}
        self.root = EMPTY
        self.apply(values, update_map(self.node, EMPTY, values))

    def get(self, key: StateKey) -> bytes | None:
        """Returns the newest value of a key."""
        return self.values.get(key)

    def node(self, name: Digest) -> bytes | None:
        """Returns a map node by its hash."""
        return self.nodes.get(name)

    def apply(self, changes: dict[StateKey, bytes], update: MapUpdate) -> None:
        """Takes over a block's changes and what they make of the map."""
        self.values.update(changes)
        self.nodes.update(update.added)
        for name in update.removed:
            del self.nodes[name]
        self.root = update.root


class _Audit:
    """One verification in progress."""

    def __init__(self, genesis: Genesis, findings: Findings, begun: Sequence[BegunEra]) -> None:
        self.findings = findings
        self._genesis = genesis
        self._chain = chain_id(genesis)
        self._verifier = TransactionVerifier(self._chain, remembered_max=1)
        self._state = MemoryState(genesis_state(genesis))
        self._begun = BegunEras(genesis, begun)
        self._parent = genesis_parent(self._begun, self._state.root, self._state)
        self._decided: deque[tuple[Digest, Height]] = deque(maxlen=READY_HEIGHTS_MAX)
        self._versions: Counter[Height] = Counter()
        self._transactions: Counter[Height] = Counter()
        self._origin: StoredOrigin | None = None

    def run(self, directory: Path, store: Store, progress: Progress) -> VerificationReport:
        """Checks all of an open store."""
        self._store = store
        last = self._last_height()
        try:
            self._begin()
        except (OriginRefused, LedgerDamaged, DecodeError, AssertionError) as error:
            what = error.what if isinstance(error, LedgerDamaged) else str(error)
            self.findings.add(self._first_height, f"the ledger cannot begin there: {what}")
            self._state = MemoryState({})
            return self.report(last)
        first = self._parent.height + 1
        for number in range(first, last + 1):
            if not self._check_height(Height(number)):
                break
            progress(Height(number), last)
        self._check_tip(directory, last)
        scan_everything(
            store,
            self.findings,
            nodes=self._state.nodes if self._parent.height == last else None,
            versions=self._versions,
            transactions=self._transactions,
            first=self._first_height,
            named=Counter(() if self._origin is None else (height for _, height in self._origin.named)),
            checked=self._parent.height,
            last=last,
        )
        rebuilt = update_map(no_nodes, EMPTY, self._state.values).root
        assert rebuilt == self._state.root, "the map's root depends on the order of writing"
        return self.report(last)

    def report(self, last: Height) -> VerificationReport:
        """Returns the outcome; the books are those after the last height checked."""
        executed_from = GENESIS_HEIGHT if self._origin is None else self._origin.height
        totals = self._state.get(TOTALS_KEY)
        unbalanced = [] if totals is None else unbalanced_books(self._state.values.items(), self._genesis.scores)
        return VerificationReport(
            tip=last,
            executed_from=executed_from,
            heights_checked=max(0, self._parent.height - executed_from),
            transactions=self._transactions.total() - self._transactions[executed_from],
            damage=tuple(self.findings.listed),
            damage_count=self.findings.count,
            totals=None if totals is None else decode(totals, Totals),
            unbalanced=tuple(unbalanced[:DAMAGE_LISTED_MAX]),
        )

    def _last_height(self) -> Height:
        """Returns the highest height that a block or the tip record names; what lies above it does not belong."""
        heights = [GENESIS_HEIGHT]
        try:
            heights.append(self._store.highest(Space.BLOCK) or GENESIS_HEIGHT)
            heights.append(decode(self._store.get(TIP_KEY) or b"", StoredTip).height)
        except LedgerDamaged as damaged:
            self.findings.add(None, damaged.what)
        except DecodeError:
            pass  # `_check_tip` compares the record
        return max(heights)

    # --- where it begins -----------------------------------------------------------------------------------

    @property
    def _first_height(self) -> Height:
        return FIRST_HEIGHT if self._origin is None else self._origin.height

    def _begin(self) -> None:
        """Takes the state of genesis, or that of the origin once all of it is found to be right.

        Raises:
            OriginRefused, LedgerDamaged, DecodeError, AssertionError: it is not.
        """
        stored = None
        with suppress(DecodeError, LedgerDamaged):  # `_check_tip` reports a record that is none
            stored = decode(self._store.get(FORMAT_KEY) or b"", StoredFormat)
        if stored is not None:
            require_format(stored)
            self._origin = read_origin(self._store, stored)
        if self._origin is None:
            self._expect_versions(GENESIS_HEIGHT, self._state.values)
        else:
            self._begin_at(self._origin)

    def _begin_at(self, stored: StoredOrigin) -> None:
        reader, height = BlockReader(self._store), stored.height
        block, certificate = reader.decided_block(height), reader.certificate(height)
        if certificate is None:
            raise OriginRefused("its certificate is missing")
        receipts = reader.receipts(height)
        origin = Origin(
            block=block, certificate=certificate, receipts=receipts, steps=stored.steps, headers=stored.headers
        )
        if check_origin(origin, self._genesis, self._begun) != stored:
            raise OriginRefused("the record of where it begins is altered")
        values = {
            StateKey(key[1:-HEIGHT_SIZE_BYTES]): value
            for key, value in self._store.entries(Space.STATE.value)
            if height_from(key[-HEIGHT_SIZE_BYTES:]) == height
        }
        state = self._state = MemoryState(values)
        if state.root != block.header.state_root:
            raise OriginRefused(f"the root of its state is {state.root.hex()}, its header names another")
        if membership_in(state, Height(height + FIXED_AHEAD)).digest() != block.header.membership:
            raise OriginRefused("its state names other members than its header")
        for digest, named in (*stored.named, (stored.block, height)):
            self._expect(named, block_digest_key(digest), height_bytes(named), "index entry of the block")
            self._decided.append((digest, named))
        self._expect_transactions(height, receipts)
        self._versions[height] = len(values)
        self._parent = Parent(
            height=height,
            digest=stored.block,
            slot=block.header.slot,
            leader=block.header.leader,
            state_root=state.root,
            membership=self._begun.membership_at(height, state),
            memberships=self._begun.memberships_after(height, state),
        )

    # --- one height ----------------------------------------------------------------------------------------

    def _check_height(self, height: Height) -> bool:
        """Checks all that is stored of a height; says whether the next one can be executed."""
        block = self._decoded(height, block_key(height), Block, "block")
        certificate = self._decoded(height, certificate_key(height), CommitCertificate, "certificate")
        if block is None:
            return False
        if certificate is not None and not self._check_certificate(height, block, certificate):
            return False
        executed = self._execute(block)
        if isinstance(executed, BlockRefusal):
            self.findings.add(height, f"the block is invalid: {executed.reason.value}: {executed.detail}")
            return False
        self._compare(height, executed)
        self._decided.append((executed.digest, height))
        self._state.apply(dict(executed.execution.changes), executed.map_update)
        self._parent = executed.as_parent(
            membership=self._parent.memberships.undecided,
            memberships=self._begun.memberships_after(height, self._state),
        )
        return True

    def _check_certificate(self, height: Height, block: Block, certificate: CommitCertificate) -> bool:
        """Checks a certificate; a valid one that names another block says that the block is not the decided one."""
        digest, members = block_digest(block.header), self._parent.memberships.undecided
        era = self._begun.at(height)
        fault = certificate_fault(certificate, height, digest, members, era)
        if fault is None:
            return True
        if certificate_fault(certificate, height, certificate.block, members, era) is None:
            self.findings.add(
                height, f"the block is altered: the members decided {certificate.block.hex()}, not {digest.hex()}"
            )
            return False
        self.findings.add(height, f"the certificate is altered: {fault}")
        return True

    def _execute(self, block: Block) -> ExecutedBlock | BlockRefusal:
        judged = judged_in(block.header, self._parent, self._begun, self._state)
        if isinstance(judged, BlockRefusal):
            return judged
        parent, begun = judged
        refusal = refusal_unexecuted(block, parent, self._genesis, begun, self._state)
        if refusal is not None:
            return refusal
        transactions = verified_transactions(block, self._state, self._verifier)
        if isinstance(transactions, BlockRefusal):
            return transactions
        try:
            executed = execute(
                draft_of(block),
                transactions,
                state=self._state,
                parent=parent,
                genesis=self._genesis,
                begun=begun,
                height_of_block=dict(self._decided).get,
            )
        except AssertionError as broken:  # an auditor reports what would stop a node
            return BlockRefusal(reason=BlockRefusalReason.INVARIANT, detail=str(broken))
        return result_refusal(block, executed) or executed

    def _compare(self, height: Height, executed: ExecutedBlock) -> None:
        receipts = executed.execution.receipts
        self._expect(height, receipts_key(height), encode(receipts), "receipts")
        self._expect(height, block_digest_key(executed.digest), height_bytes(height), "index entry of the block")
        self._expect_transactions(height, receipts)
        self._expect_versions(height, dict(executed.execution.changes))

    def _expect_transactions(self, height: Height, receipts: Sequence[Receipt]) -> None:
        for index, receipt in enumerate(receipts):
            name = receipt.transaction
            self._expect(
                height,
                transaction_key(name),
                location_bytes(height, index),
                f"index entry of transaction {name.hex()}",
            )
        self._transactions[height] = len(receipts)

    def _expect_versions(self, height: Height, values: dict[StateKey, bytes]) -> None:
        for key, value in values.items():
            self._expect(height, version_key(key, height), value, f"value of state key {key.hex()}")
        self._versions[height] = len(values)

    def _expect(self, height: Height | None, key: bytes, expected: bytes, what: str) -> None:
        try:
            stored = self._store.get(key)
        except LedgerDamaged as damaged:
            self.findings.add(height, f"{what}: {damaged.what}")
            return
        if stored != expected:
            self.findings.add(height, f"{what}: " + ("missing" if stored is None else "altered"))

    def _decoded(self, height: Height, key: bytes, expected: type[T], what: str) -> T | None:
        try:
            stored = self._store.get(key)
        except LedgerDamaged as damaged:
            self.findings.add(height, f"{what}: {damaged.what}")
            return None
        if stored is None:
            self.findings.add(height, f"{what}: missing")
            return None
        try:
            return decode(stored, expected)
        except DecodeError as error:
            self.findings.add(height, f"{what}: altered: {error}")
            return None

    # --- the tip -------------------------------------------------------------------------------------------

    def _check_tip(self, directory: Path, last: Height) -> None:
        version = FORMAT_VERSION if self._origin is None else ORIGIN_FORMAT_VERSION
        stored_format = encode(StoredFormat(version=version, chain=self._chain))
        self._expect(None, FORMAT_KEY, stored_format, "format record, or ledger of another chain")
        try:
            mark = read_tip_mark(directory)
        except LedgerDamaged as damaged:
            self.findings.add(None, damaged.what)
        else:
            if mark.height > last:
                self.findings.add(Height(last + 1), f"lost: the mark of the tip says height {mark.height}")
            elif mark.height == self._parent.height and mark.block != self._parent.digest:
                self.findings.add(mark.height, "the mark of the tip names another block")
        if self._parent.height == last:  # else the chain broke on the way, and was reported
            tip = StoredTip(height=last, block=self._parent.digest, state_root=self._state.root)
            self._expect(None, TIP_KEY, encode(tip), "tip record")
