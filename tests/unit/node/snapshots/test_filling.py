"""Earlier blocks fill in behind a snapshot, whoever lies or is silent, whenever the process ends.

Real ledgers, blocks and signatures, without sockets.
"""

import asyncio
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from msgspec.structs import replace

from consensus.codec import decode, encode
from consensus.identifiers import Address, Digest, Height
from consensus.messages import Decided
from contracts.state import Table
from ledger import execution
from ledger.block import Block
from ledger.errors import LedgerWriteFailed
from ledger.ledger import Ledger
from node.chain.block_server import BlockServer
from node.home.folder import Home
from node.home.genesis_file import write_genesis
from node.mesh.messages import Blocks, BlocksRequest, PeerMessage
from node.names.names import label_of
from node.snapshots import filled, filling
from node.snapshots.filled import take_filled
from node.snapshots.filling import Filling, FillingFault, FillingLinks
from node.snapshots.filling_folder import FillingFolder
from tests.support.driving import application_on
from tests.support.ledger import ChainBuilder
from tests.support.origins import answers, begun_at, follow, verified

AT, TIP = 72, 80
PEERS = tuple(Address(bytes([number]) * 32) for number in (1, 2, 3))
LIAR = PEERS[0]
AT_LIES = 6

Lie = Callable[[Blocks], Blocks | None]


def chain_in(directory: Path, *, blocks: int = TIP, from_height: int = 0, amount: int = 1) -> ChainBuilder:
    """A chain of transfers; all that have one `amount` are alike."""
    builder = ChainBuilder.create(directory)
    for number in range(blocks):
        builder.append([builder.transfer(0, 1, 1 if number < from_height else amount)])
    return builder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    builder = chain_in(tmp_path_factory.mktemp("source") / "ledger")
    yield builder.ledger
    builder.ledger.close()


@pytest.fixture(autouse=True)
def swiftly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "PAUSE_FACTOR", 0)
    monkeypatch.setattr(filling, "PAUSE_S_MIN", 0)
    monkeypatch.setattr(filling, "LOOK_S", 0)
    monkeypatch.setattr(filling, "NEAR_BLOCKS", 2)


def home_at(directory: Path, source: Ledger, *, height: int = AT) -> Home:
    """A home whose ledger began at a height, and has all above."""
    home = Home(directory)
    home.directory.mkdir()
    write_genesis(home, source.genesis)
    with closing(begun_at(source, height, home.ledger)) as begun:
        follow(begun, source)
        begun.persist_undecided({b"prepared": b"what was signed for the undecided height"})
    return home


@pytest.fixture
def home(tmp_path: Path, source: Ledger) -> Home:
    return home_at(tmp_path / "home", source)


@dataclass
class Behind:
    """A home whose members all have the source's blocks, some of them in their own way."""

    home: Home
    source: Ledger
    lies: dict[Address, Lie] = field(default_factory=dict)
    lacking: frozenset[Address] = frozenset()
    connected: frozenset[Address] = frozenset(PEERS)
    is_behind: Callable[[], bool] = lambda: False
    asked: list[tuple[Address, BlocksRequest]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    seen: list[filling.FillingProgress] = field(default_factory=list)

    def send(self, peer: Address, request: PeerMessage) -> None:
        assert isinstance(request, BlocksRequest)
        self.asked.append((peer, request))

        def deliver(_: Address, answer: PeerMessage) -> None:
            assert isinstance(answer, Blocks)
            told = self.lies.get(peer, lambda answer: answer)(answer)
            if told is not None:
                asyncio.get_running_loop().call_soon(self.filling.on_blocks, peer, told)

        if peer in self.lacking:
            deliver(peer, Blocks(first=request.first, blocks=()))
            return
        server = BlockServer(application=application_on(self.source, PEERS[0]), send=deliver, refused=lambda *_: None)
        server.request(peer, request)
        server.answer_next()

    async def run(self) -> bool:
        with closing(Ledger.open(self.home.ledger, self.source.genesis)) as ledger:
            links = FillingLinks(
                send=self.send,
                connected=lambda: self.connected,
                refused=self.refused.append,
                is_behind=self.is_behind,
            )
            self.filling = Filling(ledger=ledger, home=self.home, begun=(), links=links)
            async with asyncio.timeout(60):
                return await self.filling.run()

    @property
    def notice(self) -> str | None:
        progress = self.filling.progress()
        assert progress is not None
        return progress.notice


def is_full(home: Home, source: Ledger) -> None:
    report = verified(home.ledger, source.genesis)
    assert (report.holds, report.executed_from, report.tip) == (True, 0, source.height)
    left = {path.name for path in home.directory.iterdir()}
    assert left & {"filling", "ledger.replaced"} == set()


def is_unfilled(home: Home, source: Ledger) -> None:
    report = verified(home.ledger, source.genesis)
    assert (report.holds, report.executed_from, report.tip) == (True, AT, source.height)


# --- what goes right -------------------------------------------------------------------------------------------


async def test_the_ledger_then_is_one_from_genesis_with_all_that_the_other_one_had(
    home: Home, source: Ledger
) -> None:
    behind = Behind(home, source)
    assert await behind.run()
    assert behind.refused == []
    assert {peer for peer, _ in behind.asked} == set(PEERS[:2]), "in turn, 64 blocks each"
    assert max(request.first + request.count for _, request in behind.asked) == AT, "the rest is here"
    is_unfilled(home, source)
    assert take_filled(home)
    is_full(home, source)
    with closing(Ledger.open(home.ledger, source.genesis)) as ledger:
        assert (ledger.first_height, ledger.tip) == (1, source.tip)
        assert answers(ledger, 1) == answers(source, 1)
        assert ledger.undecided() == {b"prepared": b"what was signed for the undecided height"}
    assert take_filled(home)
    is_full(home, source)


async def test_what_was_decided_meanwhile_is_there_too(home: Home, source: Ledger, tmp_path: Path) -> None:
    """The chain goes on between the end of filling in and the moment that its ledger is taken."""
    assert await Behind(home, source).run()
    with closing(chain_in(tmp_path / "longer", blocks=TIP + 5).ledger) as longer:
        with closing(Ledger.open(home.ledger, source.genesis)) as ledger:
            follow(ledger, longer)
            ledger.persist_undecided({b"vote": b"of the newest height"})
        assert take_filled(home)
        is_full(home, longer)
        with closing(Ledger.open(home.ledger, source.genesis)) as ledger:
            assert ledger.undecided() == {b"vote": b"of the newest height"}


async def test_a_ledger_that_lacks_too_much_is_not_taken_yet(
    home: Home, source: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await Behind(home, source).run()
    monkeypatch.setattr(filled, "MISSING_MAX", 1)
    assert take_filled(home)
    is_unfilled(home, source)
    monkeypatch.undo()
    assert take_filled(home)
    is_full(home, source)


async def test_blocks_are_executed_on_another_thread_and_never_while_the_node_is_behind(
    home: Home, source: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[int] = set()
    turns = 0

    def noted(*arguments: object) -> object:
        threads.add(threading.get_ident())
        assert turns > 10
        return true_taking(*arguments)  # type: ignore[arg-type]

    def is_behind() -> bool:
        nonlocal turns
        turns += 1
        return turns <= 10

    true_taking = filling.take_decided
    monkeypatch.setattr(filling, "take_decided", noted)
    assert await Behind(home, source, is_behind=is_behind).run()
    assert threads
    assert threading.get_ident() not in threads


async def test_it_pauses_four_times_what_a_block_takes(
    home: Home, source: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "PAUSE_FACTOR", 4)
    slept: list[float] = []
    clock = iter((10.0, 10.5))
    true_sleep = asyncio.sleep

    async def sleep(delay: float) -> None:
        slept.append(delay)
        await true_sleep(0)

    monkeypatch.setattr("node.snapshots.filling.asyncio.sleep", sleep)
    with closing(Ledger.open(home.ledger, source.genesis)) as ledger:
        one = Filling(ledger=ledger, home=home, begun=(), links=None, clock_s=lambda: next(clock))  # type: ignore[arg-type]
        assert await one._paced(lambda: "done") == "done"
    assert slept == [2.0]


def test_a_ledger_from_genesis_has_nothing_to_fill_in(source: Ledger, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.filling.mkdir(parents=True)
    write_genesis(home, source.genesis)
    with closing(Ledger.create(home.ledger, source.genesis)) as ledger:
        follow(ledger, source)
    behind = Behind(home, source)
    assert not asyncio.run(behind.run())
    assert behind.filling.progress() is None
    assert not home.filling.exists()
    assert take_filled(home)
    is_full(home, source)


# --- members that lie, are silent, or have no more ----------------------------------------------------------------


def changed(answer: Blocks, change: Callable[[Decided], Decided]) -> Blocks:
    blocks = list(answer.blocks)
    blocks[-1] = change(blocks[-1])
    return replace(answer, blocks=tuple(blocks))


def with_block(change: Callable[[Block], Block]) -> Lie:
    return lambda answer: changed(
        answer, lambda decided: replace(decided, proposal=encode(change(decode(decided.proposal, Block))))
    )


def with_few_votes(decided: Decided) -> Decided:
    certificate = decided.certificate
    return replace(decided, certificate=replace(certificate, endorsements=certificate.endorsements[1:]))


LIES = {
    "junk": (lambda answer: changed(answer, lambda one: replace(one, proposal=b"junk")), FillingFault.NOT_A_BLOCK),
    "body": (with_block(lambda block: replace(block, transactions=())), FillingFault.NOT_A_BLOCK),
    "header": (
        with_block(lambda block: replace(block, header=replace(block.header, state_root=Digest(bytes(32))))),
        FillingFault.BAD_CERTIFICATE,
    ),
    "votes": (lambda answer: changed(answer, with_few_votes), FillingFault.BAD_CERTIFICATE),
    "order": (lambda answer: replace(answer, blocks=answer.blocks[1:]), FillingFault.BAD_CERTIFICATE),
    "more": (lambda answer: replace(answer, blocks=answer.blocks * 2), FillingFault.NOT_ASKED),
}


@pytest.mark.parametrize("lie", LIES)
async def test_who_lies_is_named_left_out_and_stops_nothing(home: Home, source: Ledger, lie: str) -> None:
    told, fault = LIES[lie]
    behind = Behind(home, source, lies={LIAR: told})
    assert await behind.run()
    assert behind.refused == [fault.value]
    assert [peer for peer, _ in behind.asked].count(LIAR) == 1
    assert take_filled(home)
    is_full(home, source)


async def test_who_lacks_blocks_or_is_silent_is_passed_over(
    home: Home, source: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "ANSWER_DEADLINE_S", 0.01)
    behind = Behind(home, source, lies={PEERS[0]: lambda _: None}, lacking=frozenset({PEERS[1]}))
    assert await behind.run()
    assert behind.refused == []
    asked = [peer for peer, _ in behind.asked]
    assert (asked.count(PEERS[0]), asked.count(PEERS[1])) == (1, 1)


async def test_where_nobody_has_them_it_says_so_and_asks_again_later(
    home: Home, source: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = Behind(home, source, lacking=frozenset(PEERS))
    work = asyncio.create_task(behind.run())
    while not hasattr(behind, "filling") or behind.notice is None:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert "no member that is reached gives block 1" in behind.notice
    assert len(behind.asked) == len(PEERS)
    behind.lacking = frozenset()
    behind.filling._left_out_s.clear()  # as after ten minutes
    assert await work
    assert behind.notice is None


async def test_an_answer_that_was_not_asked_for_is_ignored(home: Home, source: Ledger) -> None:
    behind = Behind(home, source)
    stranger = Address(bytes([9]) * 32)

    def beside(answer: Blocks) -> Blocks:
        behind.filling.on_blocks(stranger, replace(answer, blocks=()))
        behind.filling.on_blocks(PEERS[0], replace(answer, first=Height(answer.first + 1)))
        return answer

    behind.lies = dict.fromkeys(PEERS, beside)
    assert await behind.run()
    behind.filling.on_blocks(PEERS[0], Blocks(first=Height(1), blocks=()))


async def test_it_waits_for_room_on_the_disk(home: Home, source: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "FREE_SIZE_BYTES_MIN", 2**60)
    behind = Behind(home, source)
    work = asyncio.create_task(behind.run())
    while not hasattr(behind, "filling") or behind.notice is None:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert "bytes free" in behind.notice
    assert behind.asked == []
    monkeypatch.setattr(filling, "FREE_SIZE_BYTES_MIN", 0)
    assert await work


async def test_a_disk_that_fails_stops_filling_in_and_nothing_else(
    home: Home, source: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise LedgerWriteFailed("the disk is full")

    monkeypatch.setattr(filling, "take_decided", full)
    behind = Behind(home, source)
    assert not await behind.run()
    assert behind.notice == "earlier blocks cannot be filled in: the disk is full"
    monkeypatch.undo()
    is_unfilled(home, source)


# --- a history that does not lead to the snapshot --------------------------------------------------------------


@pytest.mark.parametrize("fork", [0, 40, AT - 2])
async def test_a_history_that_a_quorum_forged_is_told_in_words_and_the_ledger_stays(
    home: Home, source: Ledger, tmp_path: Path, fork: int
) -> None:
    """Both were decided by the members' own keys: stolen ones, or a snapshot of another chain."""
    with closing(chain_in(tmp_path / "forged", from_height=fork, amount=2).ledger) as forged:
        behind = Behind(home, source=forged, connected=frozenset({LIAR}))
        assert not await behind.run()
    assert behind.notice is not None
    assert f"the snapshot of block {AT} that this node began with" in behind.notice
    assert f"{label_of(LIAR)} told differ: block {AT} extends" in behind.notice
    assert take_filled(home)
    is_unfilled(home, source)
    again = Behind(home, source)
    assert not await again.run(), "people look first"
    assert (again.notice, again.asked) == (behind.notice, [])
    FillingFolder(home.filling).remove()
    assert await again.run()
    assert take_filled(home)
    is_full(home, source)


async def test_a_snapshot_that_does_not_follow_from_the_blocks_below_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quorum decided a state that no execution leads to: whoever begins there believes it until blocks fill in."""

    def invented(state, genesis, context, transactions):  # type: ignore[no-untyped-def]
        executed = true_execution(state, genesis, context, transactions)
        if context.height < AT_LIES:
            return executed
        kept = {key: value for key, value in executed.changes.items() if key[:1] != Table.ACCOUNT.value}
        return replace(executed, changes=kept)

    true_execution = execution.execute_block
    monkeypatch.setattr(execution, "execute_block", invented)
    builder = chain_in(tmp_path / "liars", blocks=AT_LIES)
    home = home_at(tmp_path / "home", builder.ledger, height=AT_LIES)
    monkeypatch.setattr(execution, "execute_block", true_execution)
    behind = Behind(home, source=builder.ledger)
    assert not await behind.run()
    assert behind.notice is not None
    assert f"block {AT_LIES} does not follow from the blocks below it" in behind.notice
    with closing(Ledger.open(home.ledger, builder.ledger.genesis)) as ledger:
        assert (ledger.first_height, ledger.height) == (AT_LIES, AT_LIES)
    builder.ledger.close()


# --- the end of the process -------------------------------------------------------------------------------------


async def test_whenever_the_process_ends_the_ledger_is_the_unfilled_one_and_it_goes_on_where_it_stopped(
    home: Home, source: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images: list[Path] = []

    def noted(*arguments: object) -> object:
        fault = true_taking(*arguments)  # type: ignore[arg-type]
        if len(images) * 10 <= arguments[0].height:  # type: ignore[attr-defined]
            images.append(tmp_path / f"image-{len(images)}")
            shutil.copytree(home.directory, images[-1])
        return fault

    true_taking = filling.take_decided
    monkeypatch.setattr(filling, "take_decided", noted)
    assert await Behind(home, source).run()
    monkeypatch.setattr(filling, "take_decided", true_taking)
    assert len(images) > 6
    for image in images:
        found = Home(image)
        assert take_filled(found)
        is_unfilled(found, source)
        with closing(Ledger.open(FillingFolder(found.filling).ledger, source.genesis)) as own:
            done = own.height
        behind = Behind(found, source)
        assert await behind.run()
        firsts = [request.first for _, request in behind.asked]
        assert not firsts or min(firsts) == done + 1, "what was executed is not fetched again"
        assert take_filled(found)
        is_full(found, source)


@pytest.mark.parametrize("step", range(11))
async def test_whenever_the_process_ends_as_the_ledger_is_taken_one_of_both_is_there_and_the_next_start_does_the_rest(
    home: Home, source: Ledger, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    class KilledError(BaseException):
        pass

    count = 0

    def until_killed(true: Callable[..., object]) -> Callable[..., object]:
        def work(*arguments: object, **options: object) -> object:
            nonlocal count
            count += 1
            if count > step:
                raise KilledError
            return true(*arguments, **options)

        return work

    assert await Behind(home, source).run()
    with monkeypatch.context() as patch:
        for owner, name in (
            (Ledger, "append"),
            (Ledger, "drop_undecided"),
            (Ledger, "persist_undecided"),
            (Path, "rename"),
            (filled, "sync_directory"),
            (filled, "settle"),
            (FillingFolder, "remove"),
        ):
            patch.setattr(owner, name, until_killed(getattr(owner, name)))
        try:
            taken = take_filled(home)
        except KilledError:
            taken = False
    assert taken is (count <= step)
    assert (step < 10) is not taken, "all of it is cut off somewhere"
    assert take_filled(home)
    assert not await Behind(home, source).run(), "the next run of the node removes what is left"
    is_full(home, source)
    with closing(Ledger.open(home.ledger, source.genesis)) as ledger:
        assert ledger.undecided() == {b"prepared": b"what was signed for the undecided height"}


async def test_a_damaged_ledger_of_earlier_blocks_is_fetched_anew(home: Home, source: Ledger) -> None:
    for _ in range(2):
        assert await Behind(home, source).run()
        (FillingFolder(home.filling).ledger / "tip").write_bytes(b"junk")
    assert take_filled(home)
    is_unfilled(home, source)
    assert await Behind(home, source).run()
    damaged = next((FillingFolder(home.filling).ledger / "database").glob("*.ldb"), None) or next(
        (FillingFolder(home.filling).ledger / "database").glob("*.log")
    )
    damaged.write_bytes(damaged.read_bytes()[:-50])
    assert take_filled(home)
    is_unfilled(home, source)
    assert not home.filling.exists()
    assert await Behind(home, source).run()
    assert take_filled(home)
    is_full(home, source)


def test_text_files_of_any_content_are_read_as_text(tmp_path: Path) -> None:
    folder = FillingFolder(tmp_path)
    assert (folder.sources, folder.difference) == (frozenset(), None)
    for content in (b"\xff\xfe", b"x" * 100_000, b""):
        (tmp_path / "sources").write_bytes(content)
        (tmp_path / "differs").write_bytes(content)
        assert len(folder.sources) <= 1
        assert folder.difference is None or folder.difference
