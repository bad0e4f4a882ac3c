"""A ledger that begins at a block: it answers as a whole one from there on, and refuses everything below in words."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from consensus.codec import decode, encode
from consensus.identifiers import Digest, Height
from contracts.applicants import Verdict
from contracts.genesis import chain_id
from contracts.receipts import Reason
from contracts.state import Account, StateKey, account_key, packet_key
from contracts.transactions import packet_id
from ledger import execution
from ledger.creation import BATCH_ENTRIES
from ledger.errors import BlocksNotHere, LedgerError, LedgerExists, NothingToProve, OriginRefused
from ledger.ledger import Ledger
from ledger.origin import NAMED_BELOW_MAX, Origin
from tests.support.changing_members import ChangingChain, certify_by, member_changes
from tests.support.contracts import FIRST_INTERVAL_MS, make_genesis
from tests.support.joining import request_of, verdict_on
from tests.support.ledger import ChainBuilder
from tests.support.origins import Entries, answers, begun_at, follow, origin_of, state_at, verified
from tests.unit.ledger.test_joining_ledger import NEW, GrowingChain

LAST = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("whole")


@pytest.fixture(scope="module")
def grown(folder: Path) -> Iterator[ChangingChain]:
    made = ChangingChain(folder / "changing")
    with member_changes(made.changes):
        while made.ledger.height < LAST:
            made.grow()
    yield made
    made.ledger.close()


@pytest.fixture
def changing(grown: ChangingChain) -> Iterator[ChangingChain]:
    """Changes at heights 4, 7 and 10, also where its blocks are executed again."""
    with member_changes(grown.changes):
        yield grown


@pytest.fixture(scope="module")
def trading(folder: Path) -> Iterator[ChainBuilder]:
    """Six blocks: trades in the second, fourth and sixth."""
    builder = ChainBuilder.create(folder / "trading")
    for hour in range(3):
        builder.append_trading_hour(hour)
    yield builder
    builder.ledger.close()


@pytest.mark.parametrize("height", range(1, LAST + 1))
def test_whatever_it_began_at_it_goes_on_as_the_whole_one_across_changes_of_members(
    changing: ChangingChain, tmp_path: Path, height: int
) -> None:
    ledger = begun_at(changing.ledger, height, tmp_path / "ledger")
    assert (ledger.height, ledger.first_height) == (height, height)
    follow(ledger, changing.ledger)
    assert answers(ledger, height) == answers(changing.ledger, height)
    ledger.close()
    report = verified(tmp_path / "ledger", changing.community.genesis)
    assert (report.holds, report.damage) == (True, ())
    assert (report.executed_from, report.heights_checked) == (height, LAST - height)
    again = Ledger.open(tmp_path / "ledger", changing.community.genesis)
    assert answers(again, height) == answers(changing.ledger, height)
    again.close()


@pytest.mark.parametrize("height", range(1, 7))
def test_it_goes_on_as_the_whole_one_amid_trades(trading: ChainBuilder, tmp_path: Path, height: int) -> None:
    ledger = begun_at(trading.ledger, height, tmp_path / "ledger")
    follow(ledger, trading.ledger)
    assert answers(ledger, height) == answers(trading.ledger, height)
    ledger.close()
    report = verified(tmp_path / "ledger", trading.community.genesis)
    assert (report.holds, report.executed_from, report.heights_checked) == (True, height, 6 - height)
    assert report.totals is not None
    assert report.totals.trades_completed == 3


def test_one_that_began_at_an_origin_can_be_begun_at_itself(changing: ChangingChain, tmp_path: Path) -> None:
    """Its own origin and what it grew since make an origin of the next one: the steps from genesis stay whole."""
    first = begun_at(changing.ledger, 5, tmp_path / "first")
    follow(first, changing.ledger)
    origin = origin_of(changing.ledger, 11)
    taken = Origin(
        block=first.decided_block(Height(11)),
        certificate=origin.certificate,
        receipts=first.receipts(Height(11)),
        steps=first.set_steps(),
        headers=origin.headers,
    )
    second = Ledger.create_at(tmp_path / "second", changing.community.genesis, taken, state_at(first, 11))
    follow(second, changing.ledger)
    assert answers(second, 11) == answers(changing.ledger, 11)
    for ledger in (first, second):
        ledger.close()


def test_a_state_of_several_batches_has_the_same_root(trading: ChainBuilder, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("ledger.creation.BATCH_ENTRIES", 3)
    entries = state_at(trading.ledger, 6)
    assert 3 * 10 < len(entries) < BATCH_ENTRIES
    entries.reverse()  # any order
    ledger = Ledger.create_at(tmp_path / "ledger", trading.community.genesis, origin_of(trading.ledger, 6), entries)
    assert answers(ledger, 6) == answers(trading.ledger, 6)
    ledger.close()
    assert verified(tmp_path / "ledger", trading.community.genesis).holds


# --- a candidate names a block below it --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def joining(folder: Path) -> Iterator[GrowingChain]:
    made = GrowingChain(folder / "joining")
    made.block((0, request_of(made.community, NEW)))
    made.block(*((verifier, verdict_on(NEW, Verdict.ACCEPT)) for verifier in (0, 1, 2)))
    while made.ledger.height < NAMED_BELOW_MAX + 4:
        made.block()
    yield made
    made.ledger.close()


@pytest.mark.parametrize("below", [1, NAMED_BELOW_MAX])
def test_a_candidate_may_name_a_block_that_lies_below_the_origin(
    joining: GrowingChain, tmp_path: Path, below: int
) -> None:
    """Else members that began at an origin would decline what the others execute, and stop."""
    height = joining.ledger.height
    ledger = begun_at(joining.ledger, height, tmp_path / "ledger")
    named = joining.ready(height - below)
    own = GrowingChain.__new__(GrowingChain)
    own.community, own.keys, own._nonce = joining.community, joining.keys, joining._nonce
    own.builder = ChainBuilder(ledger, joining.community)
    assert own.block((NEW, named)) == [Reason.NONE]
    ledger.close()
    report = verified(tmp_path / "ledger", joining.community.genesis)
    assert (report.holds, report.damage) == (True, ())


# --- what lies below ---------------------------------------------------------------------------------------------


def test_whatever_lies_below_is_refused_in_words_and_nothing_is_taken_for_what_never_was(
    trading: ChainBuilder, tmp_path: Path
) -> None:
    whole = trading.ledger
    ledger = begun_at(whole, 4, tmp_path / "ledger")
    earlier = whole.receipts(Height(1))[0].transaction
    key = account_key(trading.community.addresses[0])
    for height in (Height(1), Height(3)):
        questions: list[Callable[[], object]] = [
            lambda: ledger.block(height),  # noqa: B023
            lambda: ledger.decided_block(height),  # noqa: B023
            lambda: ledger.block_bytes(height),  # noqa: B023
            lambda: ledger.certificate(height),  # noqa: B023
            lambda: ledger.receipts(height),  # noqa: B023
            lambda: ledger.receipts_bytes(height),  # noqa: B023
            lambda: ledger.get_at(key, height),  # noqa: B023
            lambda: ledger.version_at(key, height),  # noqa: B023
            lambda: ledger.prove_receipt(earlier),
            ledger.require_whole,
        ]
        for question in questions:
            with pytest.raises(
                BlocksNotHere, match=r"blocks below 4 are not here: .* snapshot of block 4"
            ) as refused:
                question()
            assert refused.value.first_height == 4
        assert ledger.lacks(height)
    assert ledger.lacks(Height(0))
    assert not ledger.lacks(Height(4))
    assert [height for height, _ in ledger.history(key)] == [4]
    assert [height for height, _ in ledger.history(key, above=Height(1))] == [4]
    ledger.close()


def test_a_whole_ledger_lacks_nothing(trading: ChainBuilder) -> None:
    assert trading.ledger.first_height == 1
    assert not trading.ledger.lacks(Height(0))
    trading.ledger.require_whole()
    with pytest.raises(NothingToProve):
        trading.ledger.prove_receipt(Digest(bytes(32)))


# --- what is refused ---------------------------------------------------------------------------------------------


Bend = Callable[[Origin, Entries, ChangingChain], tuple[Origin, Entries]]


def _origin(**fields: Callable[[Origin, ChangingChain], object]) -> Bend:
    def bend(origin: Origin, entries: Entries, chain: ChangingChain) -> tuple[Origin, Entries]:
        return replace(origin, **{name: make(origin, chain) for name, make in fields.items()}), entries

    return bend


def _entries(bend: Callable[[Entries], Entries]) -> Bend:
    return lambda origin, entries, _: (origin, bend(list(entries)))


def _richer(entries: Entries) -> Entries:
    for place, (key, value) in enumerate(entries):
        if key[:1] == b"A":
            account = decode(value, Account)
            entries[place] = (key, encode(replace(account, available_micro=account.available_micro + 1)))
            return entries
    raise AssertionError("a wallet is there")


def _by_former_members(origin: Origin, chain: ChangingChain) -> object:
    """A certificate by the right number of keys, of the set before the last change."""
    before = chain.set_of(9)
    keys = [chain.keys[key] for _, key in before.members[: before.quorum]]
    return certify_by(chain.ledger, origin.block, keys)


AT = 10

BENT: dict[str, tuple[Bend, str]] = {
    "a value is another": (_entries(_richer), "the root of its state is"),
    "a key is missing": (_entries(lambda entries: entries[1:]), "the root of its state is"),
    "a key too many": (
        _entries(lambda entries: [*entries, (StateKey(b"A" + bytes(32)), entries[0][1])]),
        "the root of its state is",
    ),
    "no state at all": (_entries(lambda _: []), "the root of its state is"),
    "the certificate is of another height": (
        _origin(certificate=lambda _, chain: chain.ledger.certificate(Height(AT - 1))),
        "the certificate does not decide it: for height 9, not 10",
    ),
    "a quorum of the former members signed": (_origin(certificate=_by_former_members), "not exactly"),
    "too few signed": (
        _origin(certificate=lambda one, chain: certify_by(chain.ledger, one.block, chain.signers(AT, 2))),
        "not exactly 3 valid COMMITs",
    ),
    "another body": (
        _origin(block=lambda one, _: replace(one.block, transactions=(b"more",))),
        "its body is not the one",
    ),
    "another header": (
        _origin(block=lambda one, _: replace(one.block, header=replace(one.block.header, slot=10**6))),
        "the certificate does not decide it",
    ),
    "a change of members is left out": (_origin(steps=lambda one, _: one.steps[1:]), "the certificate does not"),
    "all changes of members are left out": (_origin(steps=lambda *_: ()), "the certificate does not decide it"),
    "no headers": (_origin(headers=lambda *_: ()), "the headers of 0 blocks below it are there, and more are needed"),
    "the lowest header is missing": (_origin(headers=lambda one, _: one.headers[:-1]), "the headers of 8 blocks"),
    "a header of another block": (
        _origin(headers=lambda one, _: (replace(one.headers[0], slot=10**6), *one.headers[1:])),
        "what is there as block 9 is not the parent of block 10",
    ),
    "headers out of their order": (
        _origin(headers=lambda one, _: one.headers[::-1]),
        "what is there as block 9 is not the parent of block 10",
    ),
}


@pytest.mark.parametrize("what", BENT)
def test_what_does_not_hold_is_refused_and_leaves_nothing(changing: ChangingChain, tmp_path: Path, what: str) -> None:
    bend, words = BENT[what]
    directory, genesis = tmp_path / "home" / "ledger", changing.community.genesis
    right = origin_of(changing.ledger, AT), state_at(changing.ledger, AT)
    origin, entries = bend(*right, changing)
    with pytest.raises(OriginRefused, match=words):
        Ledger.create_at(directory, genesis, origin, entries)
    assert not Ledger.exists(directory)
    assert sorted(path.name for path in directory.iterdir()) == ["lock"]
    Ledger.create_at(directory, genesis, *right).close()  # the right one is taken afterwards
    assert verified(directory, genesis).holds


def test_receipts_of_another_block_are_refused(trading: ChainBuilder, tmp_path: Path) -> None:
    right, entries = origin_of(trading.ledger, 2), state_at(trading.ledger, 2)
    for receipts in ((), trading.ledger.receipts(Height(4)), right.receipts * 2):
        bent = replace(right, receipts=receipts)
        with pytest.raises(OriginRefused, match="receipts"):
            Ledger.create_at(tmp_path / "ledger", trading.community.genesis, bent, entries)


def test_the_block_of_another_chain_is_refused(trading: ChainBuilder, tmp_path: Path) -> None:
    other = make_genesis(5).genesis
    assert chain_id(other) != trading.ledger.chain
    with pytest.raises(OriginRefused, match="it is no block of this chain: height 2"):
        Ledger.create_at(tmp_path / "ledger", other, origin_of(trading.ledger, 2), state_at(trading.ledger, 2))


def test_a_block_that_strangers_decided_is_refused_whatever_its_state_says_of_them(tmp_path: Path) -> None:
    """Seven homes decide a block of this chain, whose state says that they are its members: genesis does not."""
    ours, theirs = ChainBuilder.create(tmp_path / "ours"), ChainBuilder.create(tmp_path / "theirs", make_genesis(7))
    block = theirs.append()
    header = replace(block.header, chain=ours.ledger.chain, parent=ours.ledger.chain)
    forged = replace(block, header=header)
    certificate = certify_by(ours.ledger, forged, theirs.node_keys[:5])
    origin = replace(origin_of(theirs.ledger, 1), block=forged, certificate=certificate)
    with pytest.raises(OriginRefused, match="not exactly 3 valid COMMITs of members"):
        Ledger.create_at(tmp_path / "ledger", ours.community.genesis, origin, state_at(theirs.ledger, 1))
    for builder in (ours, theirs):
        builder.ledger.close()


def test_a_state_whose_tokens_do_not_add_up_is_refused_even_if_members_decided_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quorum that invents tokens convinces nobody that begins there."""
    community = make_genesis()
    monkeypatch.setattr("contracts.execution.assert_conserved", lambda *_: None)
    richer = account_key(community.addresses[0])

    def invented(state, genesis, context, transactions):  # type: ignore[no-untyped-def]
        executed = true_execution(state, genesis, context, transactions)
        account = decode(state.get(richer), Account)
        more = encode(replace(account, available_micro=account.available_micro + 1))
        return replace(executed, changes=dict(sorted({**executed.changes, richer: more}.items())))

    true_execution = execution.execute_block
    monkeypatch.setattr(execution, "execute_block", invented)
    builder = ChainBuilder.create(tmp_path / "liars", community)
    builder.append()
    with pytest.raises(OriginRefused, match="tokens or energy of its state do not add up: tokens in circulation"):
        begun_at(builder.ledger, 1, tmp_path / "ledger")
    builder.ledger.close()


def test_where_a_ledger_is_none_is_begun(trading: ChainBuilder, tmp_path: Path) -> None:
    begun_at(trading.ledger, 2, tmp_path / "ledger").close()
    with pytest.raises(LedgerExists):
        begun_at(trading.ledger, 4, tmp_path / "ledger")


def test_entries_that_break_off_leave_nothing(trading: ChainBuilder, tmp_path: Path) -> None:
    def broken() -> Iterator[tuple[StateKey, bytes]]:
        yield from state_at(trading.ledger, 2)[:5]
        raise LedgerError("the intake is damaged")

    with pytest.raises(LedgerError, match="the intake is damaged"):
        Ledger.create_at(tmp_path / "ledger", trading.community.genesis, origin_of(trading.ledger, 2), broken())
    assert not Ledger.exists(tmp_path / "ledger")
    begun_at(trading.ledger, 2, tmp_path / "ledger").close()


def test_a_packet_from_below_is_there_with_its_value(trading: ChainBuilder, tmp_path: Path) -> None:
    ledger = begun_at(trading.ledger, 6, tmp_path / "ledger")
    key = packet_key(packet_id(trading.community.addresses[0], FIRST_INTERVAL_MS))
    written = trading.ledger.newest(key)
    assert written is not None
    assert written[0] < 6
    assert ledger.newest(key) == (6, written[1])
    ledger.close()
