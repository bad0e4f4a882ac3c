"""What a simulated host keeps on disk and executes, and what can befall it. Two kinds behind one interface.

`opaque.OpaqueApplication` names and checks blocks of its own, in memory: fast, for thousands of seeds.
`ledger_application.LedgerApplication` is the production ledger, contracts and mempool on LevelDB. Either is driven by
the production driver, block sync and sign recovery, on the production records of the sign state (`SignDevice`).
"""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from random import Random
from typing import Protocol

from consensus.codec import decode
from consensus.events import Decision, PreparedBlock
from consensus.identifiers import Digest
from consensus.messages import PrePrepare
from ledger.errors import LedgerDamaged
from node.chain import application
from node.chain.records import PREPARED_KEY, VOTED_KEY
from node.home.sign_state import POSITION_SIZE_BYTES

Records = Mapping[bytes, bytes]


class Application(application.Application, Protocol):
    """One member's blocks and requests. A request is bytes; a client may have to make it anew (`renew`)."""

    occurred: Counter[str]
    """What happened to the disk."""
    monotonic_ms: Callable[[], int]
    """The clock of its host."""

    @property
    def state_root(self) -> Digest: ...

    def variant(self, proposal: bytes) -> tuple[Digest, bytes]:
        """Returns another valid block in the place of one: what a liar tells every second member."""
        ...

    def invalid(self, proposal: bytes, random: Random) -> tuple[Digest, bytes]:
        """Returns a block that nobody may vote for in the place of one, under its right name."""
        ...

    # --- torn writes; the process ends: `crash` follows ---------------------------------------------------------

    def tear_persist(self, records: Records, random: Random) -> None:
        """Writes as `persist` does, but the process dies before the sync: the batch is lost."""
        ...

    def tear_append(self, decision: Decision, random: Random) -> None:
        """Writes as `append` does, but the process dies before the sync: the batch is lost."""
        ...

    # --- life ---------------------------------------------------------------------------------------------------

    def crash(self) -> None:
        """The process is gone, and all that was in memory."""
        ...

    def start(self) -> None:
        """A new process opens what is on disk."""
        ...

    def lose_blocks(self, random: Random) -> None:
        """While stopped: some newest blocks, or all, and all records are lost."""
        ...

    def rot(self, random: Random) -> None:
        """While stopped: a bit of the files changes. What the next start finds damaged it sets aside."""
        ...

    def note_damage(self, damaged: LedgerDamaged) -> None:
        """Damage showed while the process ran, which ends here: the next start sets the blocks aside."""
        ...

    def close(self) -> None:
        """The run is over."""
        ...

    # --- requests -----------------------------------------------------------------------------------------------

    def new_request(self, number: int) -> bytes:
        """Returns a client's request to this member."""
        ...

    def renew(self, request: bytes) -> bytes:
        """Returns the request itself, or a new one if it can no longer be executed."""
        ...

    def is_executed(self, request: bytes) -> bool:
        """Says whether a decided block contains a request."""
        ...

    def older_than(self, age_ms: int) -> list[bytes]:
        """Returns requests that wait longer than that."""
        ...


_pre_prepare_of = lru_cache(256)(lambda record: decode(record, PrePrepare))
_prepared_block_of = lru_cache(256)(lambda record: decode(record, PreparedBlock))


def voted_in(records: Records) -> PrePrepare | None:
    """Returns the proposal that the records say was voted for."""
    return _pre_prepare_of(records[VOTED_KEY]) if VOTED_KEY in records else None


def prepared_in(records: Records) -> PreparedBlock | None:
    """Returns the block that the records say was committed to."""
    return _prepared_block_of(records[PREPARED_KEY]) if PREPARED_KEY in records else None


class SignDevice:
    """The bytes of a sign state's file. See `node.home.sign_state.SignStateDevice`."""

    def __init__(self, content: bytes, before_write: Callable[[Callable[[Random], None]], None]) -> None:
        """Takes the bytes, and what is called before each write, with what tears that write."""
        self._content = bytearray(content)
        self._before_write = before_write
        self.saves = 0
        """Complete ones; a lost copy that is made again is none."""

    def read(self) -> bytes:
        return bytes(self._content)

    def write(self, data: bytes, offset: int) -> None:
        self._before_write(lambda random: self._put(data[: random.randint(0, len(data))], offset))
        self._put(data, offset)
        self.saves += len(data) == POSITION_SIZE_BYTES

    def _put(self, data: bytes, offset: int) -> None:
        """Only the first bytes of a torn write reach the disk, perhaps none, perhaps all."""
        self._content[offset : offset + len(data)] = data

    def rot(self, random: Random) -> None:
        """A bit changes."""
        self._content[random.randrange(len(self._content))] ^= 1 << random.randrange(8)

    def close(self) -> None:
        """The process is gone; the bytes stay."""
