"""The production ledger, contracts and mempool behind `application.Application`, each host on a LevelDB of its own.

A torn write is made as a crash makes it: the batch goes to LevelDB's log, the process ends, and only a part of those
bytes is on the disk. Lost blocks are a database wiped. Bit rot is one bit of the files changed while the member was
stopped. After a clean stop the next start must notice; after a crash, without a seal, it may show only when the
bytes are read, which stops the process as it stops the node. Either way the ledger is set aside as the node does.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Final

import msgspec

from consensus.codec import decode, encode
from consensus.cryptography import SigningKey
from consensus.events import Decision
from consensus.identifiers import Digest, Slot
from consensus.member import KeyRing
from contracts.transactions import Action, Transaction, decode_transaction, transaction_digest
from contracts.units import MS_PER_HOUR
from ledger.block import Block, block_digest
from ledger.errors import LedgerDamaged
from ledger.ledger import Ledger
from ledger.side_files import LEVELDB_LOCK_FILE, SEAL_FILE, TIP_FILE, database_path, mark_damage
from node.chain import application
from node.chain.mempool import Mempool, MempoolLimits
from node.chain.transaction_pool import TransactionPool
from node.home.storage import set_aside
from tests.simulation.application import Records
from tests.simulation.opaque import BLOCK_REQUESTS_MAX
from tests.support.contracts import (
    FIRST_INTERVAL_MS,
    Community,
    make_genesis,
    raw_transaction,
    signed_reading,
    transfer,
)

READING_WH: Final = 500
LEVELDB_DIARY_FILES: Final = ("LOG", "LOG.old")
"""Words for people; no two runs have the same."""


def simulated_community(members: int, slot_duration_ms: int) -> Community:
    return make_genesis(members, slot_duration_ms=slot_duration_ms, block_transactions_max=BLOCK_REQUESTS_MAX)


class LedgerApplication(application.LedgerApplication):
    """See `tests.simulation.application.Application`. A client of this member signs with the member's key."""

    def __init__(self, directory: Path, community: Community, number: int, *, key: SigningKey | None = None) -> None:
        """Takes where it stores, the founders, its number among all homes, and its key if it is no founder."""
        self._directory = directory
        self._community = community
        self._number = number
        self._key = community.node_keys[number] if key is None else key
        self.keys = KeyRing(self._key)
        self.monotonic_ms: Callable[[], int] = lambda: 0
        self._nonce = -1
        self._actions: dict[bytes, Action] = {}
        self._is_rotten = False
        self._must_show = False
        """A bit changed under a seal: the next start has to notice."""
        self._is_open = False
        self.occurred: Counter[str] = Counter()
        Ledger.create(directory, community.genesis).close()
        self.start()

    # --- reading ------------------------------------------------------------------------------------------------

    @property
    def state_root(self) -> Digest:
        return self.ledger.state_root

    # --- lies ---------------------------------------------------------------------------------------------------

    def variant(self, proposal: bytes) -> tuple[Digest, bytes]:
        block = decode(proposal, Block)
        waiting = self._pool.mempool.candidates(transactions_max=1, size_bytes_max=2**20)
        return _named(self._build(block.header.slot, () if block.transactions else waiting))

    def _build(self, slot: Slot, candidates: Iterable[Transaction]) -> Block:
        return self.ledger.build(slot=slot, leader=self._key.address, candidates=candidates, prove=self._prove)

    def invalid(self, proposal: bytes, random: Random) -> tuple[Digest, bytes]:
        block = decode(proposal, Block)
        members = len(self._community.addresses)
        lies: tuple[dict[str, object], ...] = (
            {"parent": block.header.state_root},
            {"state_root": block.header.parent},
            {"slot": Slot(block.header.slot + members)},
            {"leader": self._community.addresses[(self._number + 1) % members]},
        )
        header = msgspec.structs.replace(block.header, **random.choice(lies))
        return _named(msgspec.structs.replace(block, header=header))

    # --- torn writes --------------------------------------------------------------------------------------------

    def tear_persist(self, records: Records, random: Random) -> None:
        self._tear(lambda: self.persist(records), random)

    def tear_append(self, decision: Decision, random: Random) -> None:
        self._tear(lambda: self.append(decision), random)

    def _tear(self, write: Callable[[], None], random: Random) -> None:
        """Only a part of what a write added to LevelDB's log is there when the process is gone."""
        share = random.random()
        mark = (self._directory / TIP_FILE).read_bytes()
        before = self._log_sizes()
        write()
        self.crash()
        for log, size in self._log_sizes().items():
            if log in before and size > before[log]:
                with log.open("r+b") as file:
                    file.truncate(before[log] + int(share * (size - before[log])))
                (self._directory / TIP_FILE).write_bytes(mark)  # written only after the batch

    def _log_sizes(self) -> dict[Path, int]:
        return {path: path.stat().st_size for path in database_path(self._directory).glob("*.log")}

    # --- life ---------------------------------------------------------------------------------------------------

    def crash(self) -> None:
        if self._is_open:
            self._is_open = False
            self.ledger._store.close()
            self.ledger._lock.release()

    def start(self) -> None:
        if self._is_open:
            return
        try:
            self.ledger = Ledger.open(self._directory, self._community.genesis)
            assert not self._must_show, "a changed bit was not noticed at the start"
        except LedgerDamaged:
            assert self._is_rotten, "a ledger that only crashed is said to be damaged"
            self.occurred["damage was found at the start"] += 1
            set_aside(self._directory)
            self.ledger = Ledger.create(self._directory, self._community.genesis)
            self._is_rotten = self._must_show = False
        self._is_open = True
        pool = TransactionPool(
            ledger=self.ledger,
            mempool=Mempool(limits=MempoolLimits()),
            monotonic_ms=lambda: self.monotonic_ms(),  # noqa: PLW0108  (its host sets it later)
        )
        super().__init__(
            own=self._key.address,
            prove=self.keys.prove,
            ledger=self.ledger,
            pool=pool,
            applied=lambda _: None,
        )

    def lose_blocks(self, random: Random) -> None:
        self.occurred["blocks were lost"] += 1
        shutil.rmtree(self._directory)
        Ledger.create(self._directory, self._community.genesis).close()

    def rot(self, random: Random) -> None:
        chosen = Random(random.getrandbits(64))  # LevelDB may compact or not: what it has must not show in the trace
        is_sealed = chosen.random() < 0.5 and self._seal()
        database = database_path(self._directory)
        files = [path for path in database.iterdir() if path.name not in {LEVELDB_LOCK_FILE, *LEVELDB_DIARY_FILES}]
        beside = [path for name in (TIP_FILE, SEAL_FILE) if (path := self._directory / name).exists()]
        path = chosen.choice(sorted(path for path in (*files, *beside) if path.stat().st_size))
        _flip_bit(path, chosen)
        self.occurred["a bit changed after a clean stop" if is_sealed else "a bit changed after a crash"] += 1
        self._is_rotten = True
        self._must_show = is_sealed and path not in beside

    def _seal(self) -> bool:
        try:
            Ledger.open(self._directory, self._community.genesis).close()
        except LedgerDamaged:
            return False  # an earlier bit shows
        return True

    def note_damage(self, damaged: LedgerDamaged) -> None:
        assert self._is_rotten, f"a whole ledger is said to be damaged: {damaged}"
        self.occurred["damage was found while running"] += 1
        mark_damage(self._directory, damaged.what)

    def close(self) -> None:
        self.crash()

    # --- requests -----------------------------------------------------------------------------------------------

    def new_request(self, number: int) -> bytes:
        """A transfer or a meter reading, in turn."""
        community, own = self._community, self._number
        if number % 2:
            interval_start_ms = FIRST_INTERVAL_MS + number * MS_PER_HOUR
            return self._signed(signed_reading(community, own, READING_WH, interval_start_ms=interval_start_ms))
        return self._signed(transfer(community, (own + 1) % len(community.addresses), number + 1))

    def _signed(self, action: Action) -> bytes:
        self._nonce += 1
        raw = raw_transaction(self._community, self._key, action, nonce=self._nonce)
        self._actions[raw] = action
        return raw

    def renew(self, request: bytes) -> bytes:
        """A later nonce of the same sender was decided first: the client signs again."""
        envelope = decode_transaction(request).envelope
        last_nonce = self.ledger.last_nonce(envelope.sender)
        assert last_nonce is not None, "members have accounts"
        return self._signed(self._actions.pop(request)) if last_nonce >= envelope.nonce else request

    def is_executed(self, request: bytes) -> bool:
        return self.ledger.find_transaction(transaction_digest(request)) is not None

    def older_than(self, age_ms: int) -> list[bytes]:
        return self._pool.older_than(age_ms)


def _flip_bit(path: Path, random: Random) -> None:
    with path.open("r+b") as file:
        offset = random.randrange(file.seek(0, 2))
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1 << random.randrange(8)]))


def _named(block: Block) -> tuple[Digest, bytes]:
    return block_digest(block.header), encode(block)
