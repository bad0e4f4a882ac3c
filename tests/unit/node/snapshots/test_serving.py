"""Making copies of the state at intervals, and telling them to whoever asks, over a real ledger."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import plyvel
import pytest

from consensus.codec import decode
from consensus.identifiers import Address, Digest, Height
from ledger import state_ranges
from ledger.errors import LedgerDamaged
from ledger.origin import Origin
from ledger.side_files import database_path
from ledger.state_ranges import WHOLE, chunk_fault, region_at
from node.home.folder import Home
from node.mesh import paced_server
from node.mesh.messages import (
    ChunkAnswer,
    ChunkRequest,
    OriginPage,
    OriginRequest,
    PeerMessage,
    SnapshotOffer,
    SnapshotQuestion,
    SnapshotRequest,
)
from node.snapshots import own_snapshots
from node.snapshots.own_snapshots import OwnSnapshots
from node.snapshots.snapshot_server import ENTRY_OVERHEAD_BYTES, SnapshotServer
from tests.support.contracts import make_genesis
from tests.support.ledger import ChainBuilder

PEER = Address(bytes(32))
INTERVAL = 4


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_ranges, "CHUNK_ENTRIES_MAX", 5)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def builder(home: Home) -> Iterator[ChainBuilder]:
    made = ChainBuilder.create(home.ledger)
    made.append_trading_hour(0)
    yield made
    made.ledger.close()


def grow_to(builder: ChainBuilder, height: int) -> None:
    while builder.ledger.height < height:
        builder.append([builder.transfer(0, 1, 1)])


def snapshots_of(builder: ChainBuilder, home: Home, *, is_behind: bool = False) -> OwnSnapshots:
    return OwnSnapshots(ledger=builder.ledger, home=home, is_behind=lambda: is_behind, interval=INTERVAL)


def kept(home: Home) -> list[str]:
    return sorted(folder.name for folder in home.snapshots.iterdir())


# --- making -----------------------------------------------------------------------------------------------------


async def test_copies_are_made_at_the_interval_and_the_last_two_kept(builder: ChainBuilder, home: Home) -> None:
    snapshots = snapshots_of(builder, home)
    for height, expected in ((3, []), (4, ["4"]), (7, ["4"]), (9, ["4", "8"]), (12, ["12", "8"])):
        grow_to(builder, height)
        await snapshots.look()
        assert kept(home) == expected
    newest = snapshots.newest()
    assert newest is not None
    assert newest.about.height == 12
    assert snapshots.at(Height(8)) is not None
    assert snapshots.at(Height(4)) is None
    snapshots.close()
    assert home.snapshots.stat().st_mode & 0o777 == 0o700


async def test_at_genesis_and_while_blocks_are_fetched_nothing_is_copied(builder: ChainBuilder, home: Home) -> None:
    grow_to(builder, 9)
    await snapshots_of(builder, home, is_behind=True).look()
    assert kept(home) == []
    fresh = Home(home.directory / "fresh")
    fresh.directory.mkdir()
    other = ChainBuilder.create(fresh.ledger)
    await snapshots_of(other, fresh).look()
    assert kept(fresh) == []
    other.ledger.close()


async def test_copies_are_there_again_after_a_restart_and_what_is_none_is_gone(
    builder: ChainBuilder, home: Home
) -> None:
    grow_to(builder, 9)
    snapshots = snapshots_of(builder, home)
    await snapshots.look()
    snapshots.close()
    (home.snapshots / "a file").write_text("left by somebody")
    (home.snapshots / "12").mkdir()
    shutil.copytree(home.snapshots / "8", home.snapshots / "16")
    again = snapshots_of(builder, home)
    assert kept(home) == ["8"]
    assert again.due() is None
    again.close()
    strangers = Home(home.directory / "strangers")
    strangers.directory.mkdir()
    other = ChainBuilder.create(strangers.ledger, make_genesis(5))
    shutil.copytree(home.snapshots, strangers.snapshots)
    assert snapshots_of(other, strangers).newest() is None
    assert kept(strangers) == []
    other.ledger.close()


async def test_a_disk_without_room_is_left_alone(
    builder: ChainBuilder, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots = snapshots_of(builder, home)
    needed = own_snapshots.FREE_SIZE_BYTES_MIN + 2 * sum(
        file.stat().st_size for file in (database_path(home.ledger)).iterdir()
    )
    for free, expected, height in ((needed - 10_000, [], 4), (needed + 1_000_000, ["8"], 8)):
        monkeypatch.setattr(own_snapshots.shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        grow_to(builder, height)
        await snapshots.look()
        assert kept(home) == expected
    snapshots.close()


async def test_a_copy_that_cannot_be_made_is_left_out_and_the_next_one_made(
    builder: ChainBuilder, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots = snapshots_of(builder, home)
    grow_to(builder, 4)
    with monkeypatch.context() as patch:
        patch.setattr(builder.ledger, "state_at", lambda height, *, after: iter(()))
        await snapshots.look()
    assert (kept(home), snapshots.due()) == ([], None)
    grow_to(builder, 8)
    await snapshots.look()
    assert kept(home) == ["8"]
    snapshots.close()


async def test_a_folder_that_cannot_be_made_stops_nothing(builder: ChainBuilder, home: Home) -> None:
    home.snapshots.write_text("a file stands in its place")
    snapshots = snapshots_of(builder, home)
    grow_to(builder, 4)
    await snapshots.look()
    assert snapshots.newest() is None
    home.snapshots.unlink()
    home.snapshots.mkdir()
    grow_to(builder, 8)
    await snapshots.look()
    assert kept(home) == ["8"]
    snapshots.close()


async def test_a_damaged_ledger_is_told_to_the_node(
    builder: ChainBuilder, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: object) -> None:
        raise LedgerDamaged("a block is missing")

    grow_to(builder, 4)
    monkeypatch.setattr(builder.ledger, "decided_block", damaged)
    with pytest.raises(LedgerDamaged):
        await snapshots_of(builder, home).look()


# --- telling ----------------------------------------------------------------------------------------------------


class Asked:
    """A server, and what it answers."""

    def __init__(self, snapshots: OwnSnapshots) -> None:
        self.sent: list[PeerMessage] = []
        self.refused: list[str] = []
        self.costs: list[int] = []
        self.server = SnapshotServer(
            snapshots=snapshots,
            send=lambda _, message: self.sent.append(message),
            refused=lambda reason, _: self.refused.append(reason),
        )

    def answer(self, question: SnapshotQuestion) -> PeerMessage:
        self.server.request(PEER, question)
        self.costs.append(self.server.answer_next())
        return self.sent.pop()


async def test_who_joins_is_told_the_whole_state_and_what_proves_it(builder: ChainBuilder, home: Home) -> None:
    grow_to(builder, 9)
    snapshots = snapshots_of(builder, home)
    asked = Asked(snapshots)
    assert asked.answer(SnapshotRequest()) == SnapshotOffer(height=Height(0), origin_size_bytes=0)
    await snapshots.look()
    offer = asked.answer(SnapshotRequest())
    assert isinstance(offer, SnapshotOffer)
    page = asked.answer(OriginRequest(height=offer.height, page=0))
    assert isinstance(page, OriginPage)
    assert len(page.content) == offer.origin_size_bytes
    origin = decode(page.content, Origin)
    root = origin.block.header.state_root
    assert origin.block == builder.ledger.block(Height(8))
    position, count = WHOLE.start, 0
    while position is not None:
        answer = asked.answer(ChunkRequest(height=Height(8), position=position))
        assert isinstance(answer, ChunkAnswer)
        assert answer.chunk is not None
        assert chunk_fault(answer.chunk, root, position) is None
        entries = len(answer.chunk.entries)
        assert asked.costs[-1] >= answer.chunk.size_bytes + entries * ENTRY_OVERHEAD_BYTES
        count += entries
        position = region_at(position, len(answer.chunk.siblings)).following
    assert count == sum(value is not None for _, value in builder.ledger.state_at(Height(8), after=None))
    snapshots.close()


async def test_what_is_not_here_is_answered_with_nothing(builder: ChainBuilder, home: Home) -> None:
    grow_to(builder, 4)
    snapshots = snapshots_of(builder, home)
    await snapshots.look()
    asked, position = Asked(snapshots), WHOLE.last
    for height in (Height(3), Height(8), Height(2**62)):
        nothing = ChunkAnswer(height=height, position=position, chunk=None)
        assert asked.answer(ChunkRequest(height=height, position=position)) == nothing
        no_page = OriginPage(height=height, page=0, content=b"")
        assert asked.answer(OriginRequest(height=height, page=0)) == no_page
    beyond = OriginPage(height=Height(4), page=63, content=b"")
    assert asked.answer(OriginRequest(height=Height(4), page=63)) == beyond
    assert set(asked.costs) == {paced_server.ANSWER_OVERHEAD_BYTES}
    snapshots.close()


async def test_a_damaged_copy_is_dropped_and_told_to_nobody(builder: ChainBuilder, home: Home) -> None:
    grow_to(builder, 4)
    snapshots = snapshots_of(builder, home)
    await snapshots.look()
    snapshots.close()
    database = plyvel.DB(str(home.snapshots / "4"))
    damaged = [key for key, _ in database.iterator(prefix=b"E")]
    for key in damaged:
        database.put(key, b"damaged")
    database.close()
    again = snapshots_of(builder, home)
    asked = Asked(again)
    position = Digest(damaged[0][1:])
    question = ChunkRequest(height=Height(4), position=position)
    assert asked.answer(question) == ChunkAnswer(height=Height(4), position=position, chunk=None)
    assert asked.answer(SnapshotRequest()) == SnapshotOffer(height=Height(0), origin_size_bytes=0)
    assert kept(home) == []
    assert again.due() == 4, "it is made anew"


async def test_one_that_asks_and_asks_is_bounded(builder: ChainBuilder, home: Home) -> None:
    asked = Asked(snapshots_of(builder, home))
    for _ in range(10):
        asked.server.request(PEER, ChunkRequest(height=Height(4), position=Digest(bytes(32))))
    assert asked.refused == ["snapshot_request_dropped"] * (10 - paced_server.REQUESTS_PER_PEER_MAX)
