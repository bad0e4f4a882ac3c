"""What a simulated host keeps on disk and executes: blocks, records, requests. Two kinds behind one interface.

`opaque.OpaqueApplication` names and checks blocks of its own, in memory: fast, for thousands of seeds.
`ledger_application.LedgerApplication` is the production ledger, contracts and mempool on LevelDB.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Protocol

from consensus.events import Decision, PreparedBlock
from consensus.identifiers import Digest, Height, Slot
from consensus.membership import Membership, Memberships
from consensus.messages import Decided, Message, PrePrepare
from ledger.errors import LedgerDamaged
from node.chain.sync_planner import SyncFault
from node.home.sign_state import POSITION_SIZE_BYTES, _encode_copies, _is_twofold, _newest, _Record


class Application(Protocol):
    """One member's blocks and requests. A request is bytes; a client may have to make it anew (`renew`)."""

    occurred: Counter[str]
    """What happened to the disk."""

    @property
    def chain(self) -> Digest: ...
    @property
    def height(self) -> Height: ...
    @property
    def tip(self) -> Digest: ...
    @property
    def tip_slot(self) -> Slot: ...
    @property
    def state_root(self) -> Digest: ...
    @property
    def membership(self) -> Membership: ...
    @property
    def memberships(self) -> Memberships: ...
    @property
    def voted(self) -> PrePrepare | None: ...
    @property
    def prepared(self) -> PreparedBlock | None: ...

    def has_its_name(self, message: Message) -> bool:
        """Says whether a body is what the message's digest names."""
        ...

    def decided(self, height: Height) -> Decided:
        """Returns a decided block."""
        ...

    def sync_fault(self, decided: Decided) -> SyncFault | None:
        """Says what is wrong with a fetched block of the undecided height."""
        ...

    def check(self, height: Height, proposal: bytes) -> Slot | None:
        """Executes a proposal; returns the slot of its header, None if it is invalid."""
        ...

    def build(self, slot: Slot, *, may_be_empty: bool) -> tuple[Digest, bytes] | None:
        """Returns the block that this member proposes, None if it has nothing to propose."""
        ...

    def variant(self, proposal: bytes) -> tuple[Digest, bytes]:
        """Returns another valid block in the place of one: what a liar tells every second member."""
        ...

    def invalid(self, proposal: bytes, random: Random) -> tuple[Digest, bytes]:
        """Returns a block that nobody may vote for in the place of one, under its right name."""
        ...

    def requests_in(self, proposal: bytes) -> tuple[bytes, ...]:
        """Returns the requests of a block."""
        ...

    # --- durable; a torn write ends the process: `crash` follows -----------------------------------------------

    def persist(self, voted: PrePrepare | None, prepared: PreparedBlock | None) -> None:
        """Writes consensus' records, synced."""
        ...

    def append(self, decision: Decision) -> None:
        """Writes a decided block, synced."""
        ...

    def tear_persist(self, voted: PrePrepare | None, prepared: PreparedBlock | None, random: Random) -> None:
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

    def take(self, requests: Iterable[bytes], now_ms: int) -> None:
        """Lets requests wait for a block."""
        ...

    def oldest_arrival_ms(self) -> int | None:
        """Returns when the longest waiting request came."""
        ...

    def older_than(self, moment_ms: int) -> tuple[bytes, ...]:
        """Returns waiting requests that came earlier."""
        ...


class SignDisk:
    """The bytes of a sign state's file, in the production encoding."""

    __slots__ = ("_content", "_sequence")

    def __init__(self, payload: bytes) -> None:
        pages = [_encode_copies(_Record(sequence, payload)) for sequence in (0, 1)]
        self._content = bytearray(b"".join(pages))
        self._sequence = 1

    def save(self, payload: bytes) -> None:
        self._sequence += 1
        self._write(_encode_copies(_Record(self._sequence, payload)), self._sequence)

    def tear(self, payload: bytes, random: Random) -> None:
        """Only the first bytes of a record reach the disk, perhaps none, perhaps all."""
        page = _encode_copies(_Record(self._sequence + 1, payload))
        self._write(page[: random.randint(0, len(page))], self._sequence + 1)

    def _write(self, data: bytes, sequence: int) -> None:
        start = sequence % 2 * POSITION_SIZE_BYTES
        self._content[start : start + len(data)] = data

    def rot(self, random: Random) -> None:
        """A bit changes."""
        self._content[random.randrange(len(self._content))] ^= 1 << random.randrange(8)

    def load(self) -> bytes:
        """Returns what a new process finds.

        Raises:
            SignStateError: bits changed so often that this does not show any more.
        """
        record = _newest(bytes(self._content), Path("sign-state"))
        assert record.sequence >= self._sequence, "a sign state that was durable is gone"
        self._sequence = record.sequence
        if not _is_twofold(bytes(self._content), record):
            self.save(record.payload)
        return record.payload
