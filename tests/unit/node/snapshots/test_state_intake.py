"""Taking a state in from real servers, without sockets: liars are named and left out, and stop nothing."""

import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from consensus.codec import decode, encode
from consensus.identifiers import GENESIS_HEIGHT, Address, Digest, Height, Signature
from contracts.state import StateKey
from ledger import state_copy, state_ranges
from ledger.checkpoint import checkpoint_of
from ledger.ledger import Ledger
from ledger.origin import Origin, check_origin
from ledger.state_copy import copying
from ledger.state_intake import StateIntake
from ledger.state_ranges import StateChunk, StateEntry, chunk_fault, region_at, region_root
from node.home.folder import Home
from node.mesh.messages import (
    ChunkAnswer,
    ChunkRequest,
    OriginPage,
    PeerMessage,
    SnapshotAnswer,
    SnapshotOffer,
    SnapshotQuestion,
)
from node.snapshots import intake, intake_planner
from node.snapshots.intake import IntakeLinks, SnapshotIntake
from node.snapshots.intake_planner import BEGINNINGS_MAX, GIVE_UP_MS, NoSnapshot
from node.snapshots.own_snapshots import OwnSnapshots
from node.snapshots.snapshot_server import SnapshotServer
from tests.support.checkpoints import proof_of_tip
from tests.support.contracts import make_genesis
from tests.support.ledger import ChainBuilder

PEERS = tuple(Address(bytes([number]) * 32) for number in (1, 2, 3))
LIAR = PEERS[0]
AT = Height(8)
INTERVAL = 4
STEP_S = 0.05

Lie = Callable[[SnapshotAnswer], SnapshotAnswer | None]


def honest(answer: SnapshotAnswer) -> SnapshotAnswer | None:
    return answer


@pytest.fixture(autouse=True, scope="module")
def small_pieces() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state_ranges, "CHUNK_ENTRIES_MAX", 4)
        for module in (state_copy, intake_planner):
            patch.setattr(module, "ORIGIN_PAGE_SIZE_BYTES", 1_000)
        yield


@dataclass
class Source:
    """A member that has a chain, with copies of its state at heights 4 and 8."""

    builder: ChainBuilder
    newer: OwnSnapshots
    older: OwnSnapshots

    @property
    def genesis(self):  # type: ignore[no-untyped-def]
        return self.builder.community.genesis

    def state(self, height: Height = AT) -> dict[StateKey, bytes]:
        rows = self.builder.ledger.state_at(height, after=None)
        return {key: value for key, value in rows if value is not None}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Source"]:
    directory = tmp_path_factory.mktemp("source")
    builder = ChainBuilder.create(directory / "ledger")
    kept = []
    for height in (4, 8):
        while builder.ledger.height < height:
            builder.append_trading_hour(int(builder.ledger.height) // 2)
        home = Home(directory / str(height))
        home.snapshots.mkdir(parents=True)
        for _ in copying(builder.ledger, Height(height), home.snapshots / str(height)):
            pass
        kept.append(OwnSnapshots(ledger=builder.ledger, home=home, is_behind=lambda: False, interval=INTERVAL))
    yield Source(builder, newer=kept[1], older=kept[0])
    for snapshots in kept:
        snapshots.close()
    builder.ledger.close()


@dataclass
class Joining:
    """A home without a ledger whose peers all have the source's copies, some of them in their own way."""

    source: Source
    directory: Path
    lies: dict[Address, Lie] = field(default_factory=dict)
    stale: frozenset[Address] = frozenset()
    connected: frozenset[Address] = frozenset(PEERS)
    now_s: float = 0.0
    refused: list[tuple[str, Address]] = field(default_factory=list)
    asked: list[tuple[Address, SnapshotQuestion]] = field(default_factory=list)
    waiting: list[tuple[Address, PeerMessage]] = field(default_factory=list)
    answered: int = 0
    after_answer: Callable[[], None] = lambda: None
    judges: bool = True

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        links = IntakeLinks(
            send=self.ask,
            connected=lambda: self.connected,
            refused=lambda reason, sender: self.refused.append((reason, sender)),
        )
        self.intake = SnapshotIntake(
            genesis=self.source.genesis, directory=self.directory, links=links, clock_s=self.clock_s
        )
        self.servers = {peer: self.serve(peer) for peer in PEERS}

    def clock_s(self) -> float:
        return self.now_s

    def serve(self, peer: Address) -> SnapshotServer:
        def deliver(_: Address, answer: PeerMessage) -> None:
            assert isinstance(answer, SnapshotAnswer)
            told = self.lies.get(peer, honest)(answer)
            if told is not None:
                self.waiting.append((peer, told))

        snapshots = self.source.older if peer in self.stale else self.source.newer
        return SnapshotServer(snapshots=snapshots, send=deliver, refused=lambda *_: None)

    def ask(self, peer: Address, question: PeerMessage) -> None:
        assert isinstance(question, SnapshotQuestion)
        assert peer not in {sender for _, sender in self.refused}, "who lied is not asked again"
        self.asked.append((peer, question))
        self.servers[peer].request(peer, question)

    def judge(self) -> None:
        taken = self.intake.unjudged
        if taken is not None and self.judges:
            self.intake.settle(taken, self.intake.judged(taken))

    def step(self) -> None:
        self.judge()
        self.intake.plan()
        assert self.intake._planner.open_requests <= intake_planner.REQUESTS_MAX
        for server in self.servers.values():
            server.answer_next()
        arrived, self.waiting = self.waiting, []
        for peer, answer in arrived:
            assert isinstance(answer, SnapshotAnswer)
            self.intake.on_answer(peer, answer)
            self.judge()
            self.answered += 1
            self.after_answer()
        self.now_s += STEP_S

    def end_and_go_on(self) -> None:
        """The process ends and starts again: what was under way is lost, liars are forgotten."""
        self.intake.close()
        self.waiting.clear()
        self.refused.clear()
        self.begin()

    def outcome(self) -> StateIntake | NoSnapshot:
        for _ in range(int(20 * GIVE_UP_MS / 1_000 / STEP_S)):
            found = self.intake.outcome()
            if found is not None:
                return found
            self.step()
        raise AssertionError("it never ends")

    def has_all(self, height: Height = AT) -> bool:
        found = self.outcome()
        assert isinstance(found, StateIntake), found
        assert found.height == height
        entries = list(found.entries())
        assert len(entries) == len({key for key, _ in entries})
        return dict(entries) == self.source.state(height)


@pytest.fixture
def joining(source: Source, tmp_path: Path):  # type: ignore[no-untyped-def]
    made: list[Joining] = []

    def make(**fields: object) -> Joining:
        joining = Joining(source=source, directory=tmp_path / "intake", **fields)  # type: ignore[arg-type]
        made.append(joining)
        return joining

    yield make
    for one in made:
        one.intake.close()


Make = Callable[..., Joining]

# --- what goes right -------------------------------------------------------------------------------------------


def test_the_state_is_taken_of_all_members_and_a_ledger_begins_with_it(
    joining: Make, source: Source, tmp_path: Path
) -> None:
    home = joining()
    assert home.has_all()
    taken = home.outcome()
    assert isinstance(taken, StateIntake)
    of = Counter(peer for peer, question in home.asked if isinstance(question, ChunkRequest))
    assert len(of) == 3
    assert max(of.values()) < 2 * min(of.values()), "the members share the work"
    positions = [question.position for _, question in home.asked if isinstance(question, ChunkRequest)]
    assert len(positions) == len(set(positions)), "nothing is asked twice"
    ledger = Ledger.create_at(tmp_path / "ledger", source.genesis, taken.origin, taken.entries())
    assert ledger.height == AT
    assert ledger.state_root == source.builder.ledger.decided_block(AT).header.state_root
    ledger.close()
    home.intake.discard()
    assert not home.directory.exists()


def test_the_state_that_most_members_have_is_taken(joining: Make) -> None:
    assert joining(stale=frozenset(PEERS[:2])).has_all(Height(4))


def test_a_member_with_an_older_state_is_passed_over(joining: Make) -> None:
    home = joining(stale=frozenset({LIAR}))
    assert home.has_all()
    assert home.refused == []


def test_members_that_come_later_are_waited_for(joining: Make) -> None:
    home = joining(connected=frozenset())
    for _ in range(int(5 / STEP_S)):
        home.step()
    home.connected = frozenset(PEERS[1:])
    assert home.has_all()


def test_a_member_whose_link_breaks_is_replaced(joining: Make) -> None:
    home = joining()
    while not any(isinstance(question, ChunkRequest) for _, question in home.asked):
        home.step()
    home.connected = frozenset(PEERS[2:])
    assert home.has_all()


# --- lies --------------------------------------------------------------------------------------------------------


def in_chunks(change: Callable[[StateChunk], StateChunk]) -> Lie:
    def told(answer: SnapshotAnswer) -> SnapshotAnswer:
        if isinstance(answer, ChunkAnswer) and answer.chunk is not None and answer.chunk.entries:
            return replace(answer, chunk=change(answer.chunk))
        return answer

    return told


def in_origin(change: Callable[[Origin], Origin]) -> Lie:
    """Bends an origin that it puts together of all its pages, and cuts it anew."""
    kept: dict[str, bytes] = {}

    def told(answer: SnapshotAnswer) -> SnapshotAnswer | None:
        if isinstance(answer, OriginPage):
            return replace(answer, content=kept["all"][answer.page * 1_000 :][:1_000])
        if isinstance(answer, SnapshotOffer):
            return replace(answer, origin_size_bytes=len(kept["all"]))
        return answer

    def prepare(content: bytes) -> None:
        kept["all"] = encode(change(decode(content, Origin)))

    told.prepare = prepare  # type: ignore[attr-defined]
    return told


def without_an_entry(chunk: StateChunk) -> StateChunk:
    return replace(chunk, entries=chunk.entries[1:])


def with_another_value(chunk: StateChunk) -> StateChunk:
    first, *rest = chunk.entries
    return replace(chunk, entries=(replace(first, value=first.value + b"!"), *rest))


def with_a_foreign_entry(chunk: StateChunk) -> StateChunk:
    return replace(chunk, entries=(*chunk.entries, StateEntry(key=StateKey(b"Zforeign"), value=b"")))


def of_another_root(chunk: StateChunk) -> StateChunk:
    return replace(chunk, siblings=tuple(Digest(bytes(32)) for _ in chunk.siblings))


def too_large(chunk: StateChunk) -> StateChunk:
    return replace(chunk, entries=chunk.entries * 5)


CHUNK_LIES = [without_an_entry, with_another_value, with_a_foreign_entry, of_another_root, too_large]


@pytest.mark.parametrize("change", CHUNK_LIES, ids=lambda change: change.__name__)
def test_a_liar_among_three_is_found_at_its_first_wrong_chunk(joining: Make, change: object) -> None:
    home = joining(lies={LIAR: in_chunks(change)})  # type: ignore[arg-type]
    assert home.has_all()
    assert [sender for _, sender in home.refused] == [LIAR]
    asked = sum(peer == LIAR and isinstance(question, ChunkRequest) for peer, question in home.asked)
    assert asked <= intake_planner.PEER_REQUESTS_MAX


def silent(_: SnapshotAnswer) -> None:
    return None


def silent_on_chunks(answer: SnapshotAnswer) -> SnapshotAnswer | None:
    return None if isinstance(answer, ChunkAnswer) else answer


def offering_what_is_not(answer: SnapshotAnswer) -> SnapshotAnswer | None:
    return replace(answer, height=Height(2**62)) if isinstance(answer, SnapshotOffer) else answer


def pages_of_another_size(answer: SnapshotAnswer) -> SnapshotAnswer | None:
    return replace(answer, content=answer.content[:-1]) if isinstance(answer, OriginPage) else answer


def lacking_all(answer: SnapshotAnswer) -> SnapshotAnswer | None:
    return replace(answer, chunk=None) if isinstance(answer, ChunkAnswer) else answer


def answering_others(answer: SnapshotAnswer) -> SnapshotAnswer | None:
    """Answers what nobody asked."""
    if isinstance(answer, ChunkAnswer):
        return replace(answer, position=Digest(bytes([answer.position[0] ^ 1]) + answer.position[1:]))
    return answer


SLOW = [silent, silent_on_chunks, offering_what_is_not, pages_of_another_size, lacking_all, answering_others]


@pytest.mark.parametrize("lie", SLOW, ids=lambda lie: lie.__name__)
def test_one_that_gives_nothing_stops_nothing(joining: Make, lie: Lie) -> None:
    home = joining(lies={LIAR: lie})
    assert home.has_all()
    assert home.refused in ([], [("snapshot_not_the_page", LIAR)])
    assert home.refused == [] or lie is pages_of_another_size


def one_by_one(source: Source) -> Lie:
    """Tells no lie, but the state entry by entry."""

    def told(answer: SnapshotAnswer) -> SnapshotAnswer:
        if not isinstance(answer, ChunkAnswer) or answer.chunk is None or len(answer.chunk.entries) < 2:
            return answer
        chunk, region = answer.chunk, region_at(answer.position, len(answer.chunk.siblings))
        hashed = [(state_ranges.hash_key(entry.key), entry) for entry in chunk.entries]
        while len(hashed) > 1:
            halves = region.halves()
            region, other = halves if answer.position <= halves[0].last else halves[::-1]
            beside = [one for one in hashed if other.start <= one[0] <= other.last]
            hashed = [one for one in hashed if one not in beside]
            chunk = StateChunk(
                siblings=(*chunk.siblings, region_root(other, beside)), entries=tuple(entry for _, entry in hashed)
            )
        root = source.builder.ledger.decided_block(AT).header.state_root
        assert chunk_fault(chunk, root, answer.position) is None
        return replace(answer, chunk=chunk)

    return told


def test_one_that_tells_it_entry_by_entry_is_of_use_but_does_not_hold_up(joining: Make, source: Source) -> None:
    home = joining(lies={LIAR: one_by_one(source)})
    assert home.has_all()
    home.intake.discard()
    assert joining(lies=dict.fromkeys(PEERS, one_by_one(source))).has_all()


def test_one_that_tells_less_than_progress_for_long_ends_it(joining: Make, source: Source) -> None:
    """One true entry now and then is no progress."""
    home = joining(lies=dict.fromkeys(PEERS, one_by_one(source)))
    told = iter(range(10**9))

    def every_fortieth(answer: SnapshotAnswer) -> SnapshotAnswer | None:
        if isinstance(answer, ChunkAnswer) and next(told) % 40:
            return None
        return one_by_one(source)(answer)

    home.lies = dict.fromkeys(PEERS, every_fortieth)
    assert home.outcome() is NoSnapshot.SILENT
    assert home.intake.share > 0


def origin_bytes(source: Source) -> bytes:
    newest = source.newer.newest()
    assert newest is not None
    pages: list[bytes] = []
    while page := newest.origin_page(len(pages)):
        pages.append(page)
    return b"".join(pages)


def with_too_few_votes(origin: Origin) -> Origin:
    certificate = origin.certificate
    return replace(origin, certificate=replace(certificate, endorsements=certificate.endorsements[1:]))


def with_a_forged_vote(origin: Origin) -> Origin:
    first, *rest = origin.certificate.endorsements
    forged = replace(first, signature=Signature(bytes(64)))
    return replace(origin, certificate=replace(origin.certificate, endorsements=(forged, *rest)))


def of_another_state(origin: Origin) -> Origin:
    header = replace(origin.block.header, state_root=Digest(bytes(32)))
    return replace(origin, block=replace(origin.block, header=header))


def without_receipts(origin: Origin) -> Origin:
    return replace(origin, receipts=())


def without_headers(origin: Origin) -> Origin:
    return replace(origin, headers=origin.headers[1:])


ORIGIN_LIES = [with_too_few_votes, with_a_forged_vote, of_another_state, without_receipts, without_headers]


@pytest.mark.parametrize("change", ORIGIN_LIES, ids=lambda change: change.__name__)
def test_an_origin_that_genesis_does_not_prove_is_refused(
    joining: Make, source: Source, change: Callable[[Origin], Origin]
) -> None:
    lie = in_origin(change)
    lie.prepare(origin_bytes(source))  # type: ignore[attr-defined]
    home = joining(lies=dict.fromkeys(PEERS[:2], lie))
    assert home.has_all()
    assert {reason for reason, _ in home.refused} <= {"snapshot_origin_refused"}
    home.intake.discard()
    all_lie = joining(lies=dict.fromkeys(PEERS, lie))
    assert all_lie.outcome() is NoSnapshot.REFUSED
    assert sorted(sender for _, sender in all_lie.refused) == sorted(PEERS)


def test_an_origin_of_another_chain_is_refused(joining: Make, source: Source, tmp_path: Path) -> None:
    home = joining()
    home.intake.close()
    home.intake = SnapshotIntake(
        genesis=make_genesis(5).genesis, directory=tmp_path / "other", links=home.intake._links, clock_s=home.clock_s
    )
    assert home.outcome() is NoSnapshot.REFUSED


def junk(answer: SnapshotAnswer) -> SnapshotAnswer | None:
    return replace(answer, content=bytes(len(answer.content))) if isinstance(answer, OriginPage) else answer


# --- no state to be had -----------------------------------------------------------------------------------------


def none_yet(answer: SnapshotAnswer) -> SnapshotAnswer | None:
    return SnapshotOffer(height=GENESIS_HEIGHT, origin_size_bytes=0) if isinstance(answer, SnapshotOffer) else answer


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"lies": dict.fromkeys(PEERS, none_yet)}, NoSnapshot.NONE_YET),
        ({"lies": dict.fromkeys(PEERS, silent)}, NoSnapshot.SILENT),
        ({"lies": dict.fromkeys(PEERS, silent_on_chunks)}, NoSnapshot.SILENT),
        ({"lies": dict.fromkeys(PEERS, offering_what_is_not)}, NoSnapshot.SILENT),
        ({"lies": dict.fromkeys(PEERS, in_chunks(without_an_entry))}, NoSnapshot.REFUSED),
        ({"lies": dict.fromkeys(PEERS, junk)}, NoSnapshot.REFUSED),
        ({"lies": dict.fromkeys(PEERS, pages_of_another_size)}, NoSnapshot.REFUSED),
        ({"lies": {PEERS[0]: junk, PEERS[1]: none_yet, PEERS[2]: none_yet}}, NoSnapshot.REFUSED),
        ({"lies": dict.fromkeys(PEERS, lacking_all)}, NoSnapshot.GONE),
    ],
    ids=lambda value: value.name if isinstance(value, NoSnapshot) else None,
)
def test_if_no_state_can_be_had_it_ends_with_the_reason(
    joining: Make, fields: dict[str, object], why: NoSnapshot
) -> None:
    home = joining(**fields)
    assert home.outcome() is why
    assert why.value
    beginnings = sum(isinstance(question, ChunkRequest) for _, question in home.asked)
    assert beginnings <= 4 * (BEGINNINGS_MAX + 1) * intake_planner.REQUESTS_MAX


@pytest.mark.parametrize("from_answer", [0, 5])
def test_while_nobody_is_linked_it_waits_however_long_and_goes_on_then(joining: Make, from_answer: int) -> None:
    home = joining()
    while home.answered < from_answer:
        home.step()
    home.connected = frozenset()
    for _ in range(int(3 * GIVE_UP_MS / 1_000 / STEP_S)):
        assert home.intake.outcome() is None
        home.step()
    home.connected = frozenset(PEERS)
    assert home.has_all()


def test_members_that_have_another_state_by_now_are_asked_for_that(joining: Make, source: Source) -> None:
    home = joining(stale=frozenset(PEERS))
    while home.intake.share == 0:
        home.step()
    assert home.intake.height == 4
    home.stale = frozenset()
    home.servers = {peer: home.serve(peer) for peer in PEERS}
    assert home.has_all()
    assert home.refused == []


# --- all of it together -----------------------------------------------------------------------------------------

SEEDS = range(40)


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_members_do_beside_one_honest_one_the_state_is_had(
    joining: Make, source: Source, tmp_path: Path, seed: int
) -> None:
    """Lies, silence, links that come and go, the end of the process: drawn from a seed."""
    random = Random(seed)
    lies = [honest, junk, none_yet, *map(in_chunks, CHUNK_LIES), *SLOW, one_by_one(source)]
    honest_one = random.choice(PEERS)
    drawn = {peer: random.choice(lies) for peer in PEERS if peer != honest_one}

    def moody(lie: Lie) -> Lie:
        return lambda answer: lie(answer) if random.random() < 0.7 else honest(answer)

    home = joining(lies={peer: moody(lie) for peer, lie in drawn.items()})
    for _ in range(20_000):
        if home.intake.outcome() is not None:
            break
        home.step()
        if random.random() < 0.1:
            home.connected = frozenset(peer for peer in PEERS if peer == honest_one or random.random() < 0.7)
        if random.random() < 0.02:
            home.end_and_go_on()
    assert home.has_all(), drawn
    assert honest_one not in {sender for _, sender in home.refused}


# --- the end of the process -------------------------------------------------------------------------------------


def test_whenever_the_process_ends_it_goes_on_and_loses_a_chunk_at_most(joining: Make, tmp_path: Path) -> None:
    first = joining()
    images: list[tuple[Path, float]] = []

    def keep_an_image() -> None:
        image = tmp_path / f"image-{first.answered}"
        if first.directory.exists():
            shutil.copytree(first.directory, image)
            images.append((image, first.intake.share))

    first.after_answer = keep_an_image
    assert first.has_all()
    total = sum(isinstance(question, ChunkRequest) for _, question in first.asked)
    assert len(images) > 20
    for number, (image, share) in enumerate(images):
        again = Joining(source=first.source, directory=image)
        assert again.intake.share == share, "what was taken is there"
        assert again.has_all()
        asked = sum(isinstance(question, ChunkRequest) for _, question in again.asked)
        assert asked <= total - number + 1
        again.intake.close()


def test_a_write_that_was_torn_counts_for_nothing(joining: Make, tmp_path: Path) -> None:
    first = joining()
    shares = {0.0}
    first.after_answer = lambda: shares.add(first.intake.share) or None  # type: ignore[func-returns-value]
    while first.intake.share < 0.4:
        first.step()
    first.after_answer()
    (log,) = first.directory.glob("*.log")
    size, seen = log.stat().st_size, set()
    for cut in range(0, size, 97):
        image = tmp_path / f"torn-{cut}"
        shutil.copytree(first.directory, image)
        with (image / log.name).open("rb+") as file:
            file.truncate(size - cut)
        again = Joining(source=first.source, directory=image)
        assert again.intake.share in shares
        seen.add(again.intake.share)
        if cut % (97 * 20) == 0:
            assert again.has_all()
        again.intake.close()
        shutil.rmtree(image)
    assert len(seen) > 5


def test_while_an_origin_is_judged_nobody_is_asked_and_nothing_ends(joining: Make) -> None:
    home = joining()
    home.judges = False
    while home.intake.unjudged is None:
        home.step()
    asked = len(home.asked)
    for _ in range(int(3 * GIVE_UP_MS / 1_000 / STEP_S)):
        assert home.intake.outcome() is None
        home.step()
    assert len(home.asked) == asked
    home.judges = True
    assert home.has_all()


def test_an_origin_that_the_checkpoint_contradicts_is_refused(joining: Make, source: Source) -> None:
    home = joining()
    checkpoint = checkpoint_of(proof_of_tip(source.builder.ledger), source.genesis)
    assert checkpoint.height == AT
    home.intake._checkpoint = replace(checkpoint, block=Digest(bytes(32)))
    assert home.outcome() is NoSnapshot.REFUSED
    home.end_and_go_on()
    home.intake._checkpoint = checkpoint
    assert home.has_all()


def test_what_is_no_begun_state_is_begun_anew(joining: Make, source: Source, tmp_path: Path) -> None:
    (tmp_path / "intake").mkdir()
    (tmp_path / "intake" / "CURRENT").write_text("no database")
    assert joining().has_all()


async def test_it_runs_on_the_loop_until_it_has_all_and_judges_the_origin_beside_it(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []

    def noted(*arguments: object, **options: object) -> object:
        threads.append(threading.get_ident())
        return check_origin(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(intake, "check_origin", noted)
    home = Joining(source=source, directory=tmp_path / "intake")

    def answered_at_once(peer: Address, question: PeerMessage) -> None:
        home.ask(peer, question)
        home.servers[peer].answer_next()
        arrived, home.waiting = home.waiting, []
        for sender, answer in arrived:
            assert isinstance(answer, SnapshotAnswer)
            home.intake.on_answer(sender, answer)

    links = IntakeLinks(send=answered_at_once, connected=lambda: frozenset(PEERS), refused=lambda *_: None)
    home.intake.close()
    home.intake = SnapshotIntake(genesis=source.genesis, directory=tmp_path / "other", links=links)
    home.judges = False
    found = await home.intake.run()
    assert isinstance(found, StateIntake)
    assert dict(found.entries()) == source.state()
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    home.intake.close()
