"""Fetching and serving blocks over real ledgers, without sockets: liars are named, left out, and stop nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from consensus.codec import decode, encode
from consensus.eras import FIRST_ERA
from consensus.events import Event, Received
from consensus.identifiers import Address, Digest, EraNumber, Height, Slot
from consensus.messages import Decided, Status
from ledger.block import Block, block_digest
from ledger.errors import LedgerDamaged
from ledger.ledger import Ledger
from node.chain import block_server
from node.chain.block_server import BlockServer
from node.chain.block_sync import BlockSync, SyncLinks, SyncProgress, fault_of
from node.chain.sync_planner import SyncFault
from node.chain.verify_ahead import verify_ahead
from node.mesh import paced_server
from node.mesh.messages import BLOCKS_PER_ANSWER_MAX, Blocks, BlocksRequest, PeerMessage
from tests.support.contracts import make_genesis
from tests.support.driving import application_on
from tests.support.ledger import ChainBuilder, certify
from tests.support.origins import begun_at, follow

TIP = 150
PEERS = tuple(Address(bytes([number]) * 32) for number in (1, 2, 3))
LIAR = PEERS[0]
FAR = Height(2**40)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ChainBuilder:
    builder = ChainBuilder.create(tmp_path_factory.mktemp("source") / "ledger")
    for _ in range(TIP):
        builder.append([builder.transfer(0, 1, 1)])
    return builder


@dataclass
class Behind:
    """A node at genesis whose peers all have the source's blocks, one of them in its own way."""

    ledger: Ledger
    source: Ledger
    lie: Callable[[Blocks], Blocks | None] = lambda answer: answer
    after_post: Callable[[], None] = lambda: None
    asked: list[tuple[Address, BlocksRequest]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    seen: list[SyncProgress] = field(default_factory=list)
    now_s: float = 0.0
    step_s: float = 0.001

    def __post_init__(self) -> None:
        links = SyncLinks(
            send=self.ask,
            connected=lambda: frozenset(PEERS),
            post=self.post,
            refused=lambda reason, _: self.refused.append(reason),
        )
        self.sync = BlockSync(application=application_on(self.ledger, PEERS[0]), links=links, clock_s=self.clock_s)
        self.servers = {peer: self.serve(peer) for peer in PEERS}

    def clock_s(self) -> float:
        self.now_s += self.step_s  # time passes as it is looked at
        return self.now_s

    def serve(self, peer: Address) -> BlockServer:
        def deliver(_: Address, message: PeerMessage) -> None:
            assert isinstance(message, Blocks)
            answer = self.lie(message) if peer == LIAR else message
            if answer is not None:
                self.sync.on_blocks(peer, answer)

        return BlockServer(
            application=application_on(self.source, PEERS[0]),
            send=deliver,
            refused=lambda reason, _: self.refused.append(reason),
        )

    def ask(self, peer: Address, message: PeerMessage) -> None:
        assert isinstance(message, BlocksRequest)
        self.asked.append((peer, message))
        self.servers[peer].request(peer, message)

    def post(self, event: Event) -> None:
        assert isinstance(event, Received)
        decided = event.message.message
        assert isinstance(decided, Decided)
        self.append(decided)
        progress = self.sync.progress()
        if progress is not None:
            self.seen.append(progress)
        self.after_post()

    def append(self, decided: Decided) -> None:
        self.ledger.append(decode(decided.proposal, Block), decided.certificate)

    async def reach(self, height: int) -> None:
        async with asyncio.timeout(60):
            while self.ledger.height < height:  # noqa: ASYNC110  (a turn of the loop, not a time)
                await asyncio.sleep(0)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        for peer in PEERS:
            status = Status(
                era=FIRST_ERA,
                undecided=Height(self.source.height + 1),
                tip=self.source.tip,
                clock_slot=Slot(0),
                origin=peer,
                hears=b"",
            )
            self.sync.on_status(peer, status)
            self.sync.on_status(peer, replace(status, undecided=FAR, origin=Address(bytes(32))))  # counts for nothing
        work = [
            self.sync.run(partial(verify_ahead, self.ledger)),
            *(server.run() for server in self.servers.values()),
        ]
        tasks = [asyncio.create_task(one) for one in work]
        try:
            yield tasks[0]
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task


@pytest.fixture
def behind(source: ChainBuilder, tmp_path: Path) -> Behind:
    return Behind(ledger=Ledger.create(tmp_path / "ledger", source.community.genesis), source=source.ledger)


# --- fetching --------------------------------------------------------------------------------------------------


async def test_all_blocks_arrive_from_all_members(behind: Behind) -> None:
    async with behind.running():
        await behind.reach(TIP)
    assert behind.ledger.state_root == behind.source.state_root
    assert behind.refused == []
    assert {peer for peer, _ in behind.asked} == set(PEERS)
    first, last = behind.seen[0], behind.seen[-1]
    assert (first.first, first.target) == (0, TIP)
    assert last.blocks_per_s > 0


async def test_progress_ends_when_it_caught_up(behind: Behind) -> None:
    assert behind.sync.progress() is None
    async with behind.running():
        await behind.reach(TIP)
        async with asyncio.timeout(10):
            while behind.sync.progress() is not None:  # noqa: ASYNC110
                await asyncio.sleep(0)


def junk_certificate(answer: Blocks) -> Blocks:
    return with_first(answer, lambda one: replace(one, certificate=replace(one.certificate, slot=Slot(77))))


def other_body(answer: Blocks) -> Blocks:
    def swap(one: Decided) -> Decided:
        block = decode(one.proposal, Block)
        return replace(one, proposal=encode(replace(block, transactions=())))

    return with_first(answer, swap)


def not_a_block(answer: Blocks) -> Blocks:
    return with_first(answer, lambda one: replace(one, proposal=b"\xc1"))


def does_not_chain(answer: Blocks) -> Blocks:
    """A whole block with its own name, of another past, certified by a minority."""

    def forge(one: Decided) -> Decided:
        block = decode(one.proposal, Block)
        forged = replace(block, header=replace(block.header, parent=Digest(bytes(32))))
        name = block_digest(forged.header)
        certificate = certify(make_genesis(), block.header.height, Slot(1), name, signers=[0, 1])
        return Decided(certificate=certificate, proposal=encode(forged))

    return with_first(answer, forge)


def other_heights(answer: Blocks) -> Blocks:
    return replace(answer, blocks=answer.blocks[1:])


def more_than_asked(answer: Blocks) -> Blocks:
    return replace(answer, blocks=answer.blocks + answer.blocks[-1:] * BLOCKS_PER_ANSWER_MAX)


def with_first(answer: Blocks, change: Callable[[Decided], Decided]) -> Blocks:
    return replace(answer, blocks=(change(answer.blocks[0]), *answer.blocks[1:]))


LIES = (
    (junk_certificate, SyncFault.BAD_CERTIFICATE),
    (other_body, SyncFault.NOT_A_BLOCK),
    (not_a_block, SyncFault.NOT_A_BLOCK),
    (does_not_chain, SyncFault.DOES_NOT_CHAIN),
    (other_heights, SyncFault.WRONG_HEIGHT),
    (more_than_asked, SyncFault.TOO_MANY),
)


@pytest.mark.parametrize(("lie", "fault"), LIES)
async def test_a_liar_is_named_once_left_out_and_stops_nothing(
    behind: Behind, lie: Callable[[Blocks], Blocks], fault: SyncFault
) -> None:
    behind.lie = lie
    async with behind.running():
        await behind.reach(TIP)
    assert behind.refused == [fault.value]
    assert behind.ledger.state_root == behind.source.state_root


def another_era(answer: Blocks) -> Blocks:
    return with_first(answer, lambda one: replace(one, certificate=replace(one.certificate, era=EraNumber(1))))


async def test_who_sends_blocks_of_another_era_is_no_liar_and_is_asked_again_once_it_has_some_of_this_one(
    behind: Behind,
) -> None:
    behind.lie = another_era
    async with behind.running():
        await behind.reach(TIP)
        assert set(behind.refused) == {SyncFault.OTHER_ERA.value}
        assert behind.sync._planner.banned(behind.sync._now_ms()) == frozenset()
        later = Status(
            era=EraNumber(1),
            undecided=Height(10**6),
            tip=behind.source.tip,
            clock_slot=Slot(0),
            origin=LIAR,
            hears=b"",
        )
        behind.sync.on_status(LIAR, later)
        assert behind.sync._planner.target(behind.sync._now_ms()) <= TIP, "a claim of another era is none"
    assert behind.ledger.state_root == behind.source.state_root


async def test_silence_of_one_member_stops_nothing(behind: Behind) -> None:
    behind.lie = lambda _: None
    behind.step_s = 0.5
    async with behind.running():
        await behind.reach(TIP)
    assert behind.refused == []


async def test_blocks_decided_meanwhile_are_no_members_fault(behind: Behind) -> None:
    def decide_next() -> None:
        height = Height(behind.ledger.height + 1)
        if height % 3 == 0 and height <= TIP:
            behind.append(application_on(behind.source, PEERS[0]).decided(height))

    behind.after_post = lambda: asyncio.get_running_loop().call_soon(decide_next)
    async with behind.running():
        await behind.reach(TIP)
    assert behind.refused == []


def test_a_block_that_a_quorum_committed_to_is_passed_on_even_if_it_does_not_extend_the_tip(behind: Behind) -> None:
    # agreement is broken then: appending it must stop the node, not ban the messenger
    block = behind.source.block(Height(1))
    assert block is not None
    forged = replace(block, header=replace(block.header, parent=Digest(bytes(32))))
    certificate = certify(make_genesis(), Height(1), Slot(9), block_digest(forged.header))
    decided = Decided(certificate=certificate, proposal=encode(forged))
    assert fault_of(decided, application_on(behind.ledger, PEERS[0])) is None


# --- serving ---------------------------------------------------------------------------------------------------


async def served(server: BlockServer, sent: list[Blocks], count: int) -> None:
    task = asyncio.create_task(server.run())
    async with asyncio.timeout(30):
        while len(sent) < count:
            assert not task.done(), task.exception()
            await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def make_server(ledger: Ledger) -> tuple[BlockServer, list[tuple[Address, Blocks]], list[str]]:
    sent: list[tuple[Address, Blocks]] = []
    refused: list[str] = []

    def send(peer: Address, message: PeerMessage) -> None:
        assert isinstance(message, Blocks)
        sent.append((peer, message))

    server = BlockServer(
        application=application_on(ledger, PEERS[0]), send=send, refused=lambda reason, _: refused.append(reason)
    )
    return server, sent, refused


@pytest.mark.parametrize(
    ("first", "count", "heights"),
    [
        (1, 3, [1, 2, 3]),
        (TIP - 1, 10, [TIP - 1, TIP]),
        (TIP + 1, 10, []),
        (2**62, 1, []),
    ],
)
async def test_what_is_decided_is_served_as_far_as_it_goes(
    source: ChainBuilder, first: int, count: int, heights: list[int]
) -> None:
    server, sent, _ = make_server(source.ledger)
    server.request(LIAR, BlocksRequest(first=Height(first), count=count))
    await served(server, sent, 1)
    peer, answer = sent[0]
    assert peer == LIAR
    assert answer.first == first
    assert [one.certificate.height for one in answer.blocks] == heights


async def test_an_answer_is_bounded_in_bytes_but_has_at_least_one_block(
    source: ChainBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(source.ledger.block_bytes(Height(1)) or b"") + paced_server.ANSWER_OVERHEAD_BYTES
    server, sent, _ = make_server(source.ledger)
    for bound, count in ((3 * size + 200, 3), (1, 1)):
        monkeypatch.setattr(block_server, "ANSWER_SIZE_BYTES_MAX", bound)
        sent.clear()
        server.request(LIAR, BlocksRequest(first=Height(1), count=64))
        await served(server, sent, 1)
        assert abs(len(sent[0][1].blocks) - count) <= 1
        assert sent[0][1].blocks


async def test_members_are_answered_in_turn_and_one_cannot_fill_the_queue(source: ChainBuilder) -> None:
    server, sent, refused = make_server(source.ledger)
    for number in range(10):
        server.request(LIAR, BlocksRequest(first=Height(1 + number), count=1))
    server.request(PEERS[1], BlocksRequest(first=Height(1), count=1))
    assert refused == ["blocks_request_dropped"] * (10 - paced_server.REQUESTS_PER_PEER_MAX)
    await served(server, sent, paced_server.REQUESTS_PER_PEER_MAX + 1)
    assert [peer for peer, _ in sent][:3] == [LIAR, PEERS[1], LIAR]


async def test_however_many_ask_answers_leave_at_a_bounded_rate(
    source: ChainBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    burst_bytes, rate_bytes_per_s, now_s = 20_000, 10_000, 0.0
    monkeypatch.setattr(block_server, "RATE_BYTES_PER_S", rate_bytes_per_s)
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now_s)
    costs: list[int] = []
    server, sent, _ = make_server(source.ledger)
    true_answer = server.answer_next
    monkeypatch.setattr(server, "answer_next", lambda: costs.append(true_answer()) or costs[-1])
    for number in range(50):
        server.request(Address(bytes([number]) * 32), BlocksRequest(first=Height(1), count=3))
    task = asyncio.create_task(server.run())
    for seconds in range(6):
        now_s = float(seconds)
        for _ in range(200):
            await asyncio.sleep(0)
        bound_bytes = burst_bytes + seconds * rate_bytes_per_s
        assert 0 < sum(costs[:-1]) <= bound_bytes, "answers left faster than the rate"
        assert sum(costs) > bound_bytes - 2 * costs[0], "it could have answered"
    assert len(sent) == len(costs) < 50
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def test_a_damaged_block_is_not_served(source: ChainBuilder) -> None:
    with pytest.raises(LedgerDamaged):
        application_on(source.ledger, PEERS[0]).decided(Height(TIP + 1))


# --- members that began at an origin -----------------------------------------------------------------------------


@pytest.mark.parametrize("first", [TIP // 2, TIP])
async def test_who_lacks_old_blocks_says_so_is_passed_over_and_is_no_liar(
    behind: Behind, source: ChainBuilder, tmp_path: Path, first: int
) -> None:
    """One of three began at a block: who is at genesis fetches the rest from the others, and all from there on."""
    begun = begun_at(source.ledger, first, tmp_path / "begun")
    follow(begun, source.ledger)
    behind.servers[LIAR]._application = application_on(begun, PEERS[0])
    async with behind.running():
        await behind.reach(TIP)
    assert behind.refused == []
    assert behind.sync._planner.banned(behind.sync._now_ms()) == frozenset()
    assert behind.ledger.state_root == behind.source.state_root
    begun.close()


@pytest.mark.parametrize("here", [0, 3])
async def test_where_nobody_gives_the_next_block_it_ends_at_genesis_and_says_so_where_blocks_are_here(
    source: ChainBuilder, tmp_path: Path, here: int
) -> None:
    own = Ledger.create(tmp_path / "own", source.community.genesis)
    for number in range(1, here + 1):
        certificate = source.ledger.certificate(Height(number))
        assert certificate is not None
        own.append(source.ledger.decided_block(Height(number)), certificate)
    begun = begun_at(source.ledger, 100, tmp_path / "begun")
    follow(begun, source.ledger)
    behind = Behind(ledger=own, source=source.ledger, step_s=1.0)
    for server in behind.servers.values():
        server._application = application_on(begun, PEERS[0])
    async with behind.running() as work:
        if here:
            while behind.sync.notice is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert "no member gives block 4" in behind.sync.notice
            assert "blocks 1 to 3 may be nowhere else" in behind.sync.notice
        else:
            await work
            assert behind.sync.notice is None
    assert (own.height, behind.refused) == (here, [])
    begun.close()


async def test_who_began_at_an_origin_catches_up_from_there(source: ChainBuilder, tmp_path: Path) -> None:
    begun = begun_at(source.ledger, 40, tmp_path / "begun")
    behind = Behind(ledger=begun, source=source.ledger)
    async with behind.running():
        await behind.reach(TIP)
    assert min(request.first for _, request in behind.asked) == 41
    assert begun.state_root == source.ledger.state_root
    begun.close()


async def test_a_range_that_begins_below_is_answered_with_nothing_and_one_from_there_on_in_full(
    source: ChainBuilder, tmp_path: Path
) -> None:
    begun = begun_at(source.ledger, 100, tmp_path / "begun")
    follow(begun, source.ledger)
    answers: list[Blocks] = []

    def send(_: Address, message: PeerMessage) -> None:
        assert isinstance(message, Blocks)
        answers.append(message)

    server = BlockServer(application=application_on(begun, PEERS[0]), send=send, refused=lambda *_: None)
    for first in (1, 99, 100, 140):
        server.request(PEERS[0], BlocksRequest(first=Height(first), count=64))
        assert server.answer_next() > 0
    assert [(answer.first, len(answer.blocks)) for answer in answers] == [(1, 0), (99, 0), (100, 51), (140, 11)]
    begun.close()
