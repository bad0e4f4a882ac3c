"""The driver on a real ledger and sign state: what outlives an old sign state, and how much one answer may cost."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from consensus.codec import encode
from consensus.eras import FIRST_ERA
from consensus.events import Tick, fresh_sign_state, standing_in
from consensus.identifiers import Height, Slot
from consensus.messages import Decided, PrePrepare, Status, ViewChange, view_change_bytes, vote_bytes
from ledger.block import block_digest
from ledger.ledger import Ledger
from node.chain import driver as driver_module
from node.chain.driver import Driver
from node.home.sign_state import SignStateFile
from tests.support.begun_eras import ErasChain
from tests.support.contracts import make_genesis
from tests.support.driving import World, drive
from tests.support.ledger import ChainBuilder
from tests.support.origins import begun_at, follow

COMMUNITY = make_genesis()
OWN, BLOCKS = 1, 5
UNDECIDED = Height(BLOCKS + 1)
FAR = Slot(2**40)
"""Above any slot that the clock of whoever runs this shows."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    builder = ChainBuilder.create(tmp_path / "ledger", COMMUNITY)
    for _ in range(BLOCKS):
        builder.append([builder.transfer(0, 1, 5)])
    builder.ledger.close()
    SignStateFile.create(tmp_path / "sign-state", encode(fresh_sign_state(UNDECIDED)))
    return tmp_path


@contextmanager
def running(home: Path) -> Iterator[tuple[Driver, World]]:
    """A driver, and what it does."""
    with ExitStack() as stack:
        ledger = Ledger.open(home / "ledger", COMMUNITY.genesis)
        stack.callback(ledger.close)
        file = SignStateFile(home / "sign-state")
        stack.callback(file.close)
        yield drive(ledger, file, COMMUNITY.node_keys[OWN])


def view_change(member: int, slot: Slot) -> ViewChange:
    key = COMMUNITY.node_keys[member]
    signed = view_change_bytes(COMMUNITY.chain, UNDECIDED, slot, None)
    return ViewChange(
        height=UNDECIDED, slot=slot, claim=None, signer=key.address, signature=key.sign(signed), certificate=None
    )


def proposal_of_the_first(builder: ChainBuilder, slot: Slot) -> PrePrepare:
    block, key = builder.build(), COMMUNITY.node_keys[0]
    digest = block_digest(block.header)
    return PrePrepare(
        height=UNDECIDED,
        slot=slot,
        block=digest,
        signer=key.address,
        signature=key.sign(vote_bytes(COMMUNITY.chain, UNDECIDED, slot, digest)),
        justification=None,
        proposal=encode(block),
    )


def test_a_promise_outlives_an_old_sign_state_put_back(home: Path) -> None:
    shutil.copy(home / "sign-state", home / "backup")
    with running(home) as (driver, world):
        for member in (2, 3):
            driver.receive(COMMUNITY.addresses[member], view_change(member, FAR))
        assert view_change(OWN, FAR) in world.sent
    shutil.copy(home / "backup", home / "sign-state")
    with running(home) as (driver, world):
        driver.post(Tick())
        assert view_change(OWN, FAR) in world.sent
        assert driver.explain().signed.promise == FAR
        assert world.failures == []


def test_a_validation_that_fails_by_our_own_bug_stops_the_node(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # and does not leave the proposal waiting for its verdict for ever
    def broken(*_: object) -> None:
        raise RuntimeError("a bug of ours")

    with running(home) as (driver, world):
        slot = Slot(len(COMMUNITY.node_keys))
        ledger = driver._application._ledger  # type: ignore[attr-defined]
        proposal = proposal_of_the_first(ChainBuilder(ledger, COMMUNITY), slot)
        monkeypatch.setattr(ledger, "check", broken)
        driver.receive(COMMUNITY.addresses[0], proposal)
        assert [str(failure) for failure in world.failures] == ["a bug of ours"]
        driver.tick()
        assert not world.sent, "something is signed after a failure"


@pytest.mark.parametrize(("size_bytes_max", "blocks"), [(1, 1), (2**20, BLOCKS)])
def test_a_run_of_decided_blocks_is_bounded_in_bytes(
    home: Path, monkeypatch: pytest.MonkeyPatch, size_bytes_max: int, blocks: int
) -> None:
    monkeypatch.setattr(driver_module, "DECIDED_RUN_SIZE_BYTES_MAX", size_bytes_max)
    with running(home) as (driver, world):
        question = Status(
            era=FIRST_ERA,
            undecided=Height(1),
            tip=COMMUNITY.chain,
            clock_slot=Slot(0),
            origin=COMMUNITY.addresses[0],
            hears=b"",
        )
        driver.receive(COMMUNITY.addresses[0], question)
        assert sum(isinstance(message, Decided) for message in world.sent) == blocks


def test_who_lacks_blocks_sends_none_and_goes_on(home: Path, tmp_path: Path) -> None:
    """Whoever asks from further below is served by others; from the origin on it is served here."""
    whole = Ledger.open(home / "ledger", COMMUNITY.genesis)
    begun = begun_at(whole, 3, tmp_path / "begun")
    follow(begun, whole)
    with ExitStack() as stack:
        for ledger in (whole, begun):
            stack.callback(ledger.close)
        file = SignStateFile(home / "sign-state")
        stack.callback(file.close)
        driver, world = drive(begun, file, COMMUNITY.node_keys[OWN])
        for first, heights in ((1, []), (2, []), (3, [3, 4, 5])):
            question = Status(
                era=FIRST_ERA,
                undecided=Height(first),
                tip=COMMUNITY.chain,
                clock_slot=Slot(0),
                origin=COMMUNITY.addresses[first],
                hears=b"",
            )
            world.sent.clear()
            driver.receive(COMMUNITY.addresses[first], question)
            sent = [message.certificate.height for message in world.sent if isinstance(message, Decided)]
            assert sent == heights
        assert not world.failures


@pytest.mark.parametrize("is_carried", [True, False])
def test_what_a_ceremony_carries_waits_from_the_start_and_nothing_else(home: Path, *, is_carried: bool) -> None:
    """Nobody asks for it again: whoever did may have been told long ago that it is decided."""
    chain = ErasChain(home / "eras")
    chain.grow()
    block = chain.builder.build([chain.builder.transfer(0, 1, 5)])
    chain.begin(chain.plan(1, prepared=chain.prepared(block) if is_carried else None))
    standing = standing_in(chain.ledger.eras.newest)
    SignStateFile.create(home / "of-the-era", encode(fresh_sign_state(Height(chain.ledger.height + 1), standing)))
    with ExitStack() as stack:
        stack.callback(chain.ledger.close)
        file = SignStateFile(home / "of-the-era")
        stack.callback(file.close)
        driver, _ = drive(chain.ledger, file, chain.community.node_keys[OWN])
        driver.tick()
        assert (driver.waiting().waiting_ms is not None) == is_carried
