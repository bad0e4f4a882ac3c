"""The order of the driver on a real ledger and sign state: durable first, then sent; a disk that refuses ends it."""

import asyncio
import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec.structs import replace

from consensus.codec import decode, encode
from consensus.eras import FIRST_ERA, first_era
from consensus.events import UNANSWERED, Decision, PreparedBlock, SignState, fresh_sign_state
from consensus.identifiers import Digest, Height, Slot
from consensus.membership import Membership
from consensus.messages import (
    Body,
    Claim,
    Commit,
    Decided,
    Endorsement,
    Justification,
    Message,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    ViewChange,
    ViewChangeHeader,
    commit_bytes,
    view_change_bytes,
    vote_bytes,
)
from ledger.block import Block, block_digest
from ledger.ledger import Ledger
from ledger.store import Space
from node.chain.applied import AppliedBlock
from node.chain.driver import Driver
from node.chain.driver_loop import DriverLoop
from node.chain.records import PREPARED_KEY, SIGN_STATE_KEY, VOTED_KEY
from node.errors import SignStateError
from node.home.sign_state import SignStateFile
from tests.support.contracts import make_genesis
from tests.support.disk import full_above
from tests.support.driving import World, application_on, drive
from tests.support.ledger import ChainBuilder, certify

COMMUNITY = make_genesis()
MEMBERS = Membership.of_keys([key.public_key for key in COMMUNITY.node_keys])
DOMAIN = first_era(COMMUNITY.chain).domain
OWN = 1
UNDECIDED = Height(2)
SLOT = Slot(2**40)
"""Member 0 leads it; above any slot that the clock of whoever runs this shows."""
SIGNED = (Prepare, PrePrepare, Commit, ViewChange)
FILLER_BYTES = 2**17
"""More than the sign state's file has: where LevelDB's log takes no more, that still does."""


@dataclass
class Node:
    """A member that runs, and what is on its disk."""

    driver: Driver
    world: World
    ledger: Ledger
    home: Path

    def records(self) -> dict[bytes, bytes]:
        """As LevelDB has them."""
        return {key[1:]: value for key, value in self.ledger._store.entries(Space.UNDECIDED.value)}

    def sign_state(self) -> SignState:
        """As the file has it: what a start would find after a crash now."""
        copy = self.home / "sign-state.copy"
        copy.write_bytes((self.home / "sign-state").read_bytes())
        file = SignStateFile(copy)
        try:
            return decode(file.load(), SignState)
        finally:
            file.close()

    def hear(self, *messages: Message) -> None:
        for message in messages:
            self.driver.receive(getattr(message, "signer", COMMUNITY.addresses[0]), message)

    def signed(self) -> list[Message]:
        return [message for message in self.world.sent if isinstance(message, SIGNED)]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    builder = ChainBuilder.create(tmp_path / "ledger", COMMUNITY)
    builder.append()
    builder.ledger.close()
    SignStateFile.create(tmp_path / "sign-state", encode(fresh_sign_state(UNDECIDED)))
    return tmp_path


@contextmanager
def running(home: Path) -> Iterator[Node]:
    with ExitStack() as stack:
        ledger = Ledger.open(home / "ledger", COMMUNITY.genesis)
        stack.callback(ledger.close)
        file = SignStateFile(home / "sign-state")
        stack.callback(file.close)
        driver, world = drive(ledger, file, COMMUNITY.node_keys[OWN])
        yield Node(driver, world, ledger, home)


def view_change(
    member: int, slot: Slot, prepared: PreparedCertificate | None = None, height: Height = UNDECIDED
) -> ViewChange:
    key = COMMUNITY.node_keys[member]
    claim = None if prepared is None else Claim(slot=prepared.slot, block=prepared.block)
    signature = key.sign(view_change_bytes(DOMAIN, height, slot, claim))
    return ViewChange(
        height=height, slot=slot, claim=claim, signer=key.address, signature=signature, certificate=prepared
    )


def vote(member: int, block: Digest, slot: Slot = SLOT, height: Height = UNDECIDED) -> Prepare:
    key = COMMUNITY.node_keys[member]
    signature = key.sign(vote_bytes(DOMAIN, height, slot, block))
    return Prepare(height=height, slot=slot, block=block, signer=key.address, signature=signature)


def commit(member: int, block: Digest) -> Commit:
    key = COMMUNITY.node_keys[member]
    signature = key.sign(commit_bytes(DOMAIN, UNDECIDED, SLOT, block))
    return Commit(height=UNDECIDED, slot=SLOT, block=block, signer=key.address, signature=signature)


def proposal_on(ledger: Ledger) -> PrePrepare:
    """Member 0's of the slot, justified by three members that claim nothing."""
    block = ChainBuilder(ledger, COMMUNITY).build(slot=SLOT)
    said = sorted((view_change(member, SLOT) for member in (0, 2, 3)), key=lambda one: one.signer)
    headers = tuple(ViewChangeHeader(signer=one.signer, claim=None, signature=one.signature) for one in said)
    voted = vote(0, block_digest(block.header))
    return PrePrepare(
        height=UNDECIDED,
        slot=SLOT,
        block=voted.block,
        signer=voted.signer,
        signature=voted.signature,
        justification=Justification(headers=headers, certificate=None),
        proposal=encode(block),
    )


def decide(node: Node, proposal: PrePrepare) -> None:
    """All others vote for a proposal and commit to it."""
    node.hear(proposal, *(vote(member, proposal.block) for member in (2, 3)))
    node.hear(*(commit(member, proposal.block) for member in (0, 2, 3)))


def test_what_leaves_is_on_the_disk_whole(home: Path) -> None:
    with running(home) as node:
        proposal = proposal_on(node.ledger)
        looked: list[type[Message]] = []

        def look(message: Message) -> None:
            records, signed = node.records(), node.sign_state()
            claim = Claim(slot=SLOT, block=proposal.block)
            match message:
                case Prepare():
                    assert VOTED_KEY in records, "a vote without its proposal"
                    assert decode(records[VOTED_KEY], PrePrepare) == proposal
                    assert signed.voted == claim
                case Commit():
                    assert PREPARED_KEY in records, "a COMMIT without its certificate"
                    prepared = decode(records[PREPARED_KEY], PreparedBlock)
                    assert prepared.proposal == proposal.proposal, "a COMMIT without its body"
                    assert prepared.certificate.block == proposal.block
                    assert signed.prepared == claim
                case _:
                    return
            assert decode(records[SIGN_STATE_KEY], SignState) == signed, "the copy is another"
            looked.append(type(message))

        node.world.on_send = look
        decide(node, proposal)
        assert node.world.failures == []
        assert {*looked} == {Prepare, Commit}
        assert node.ledger.height == UNDECIDED


def test_so_is_a_promise_and_its_copy(home: Path) -> None:
    with running(home) as node:
        promises: list[Slot] = []

        def look(message: Message) -> None:
            if isinstance(message, ViewChange):
                assert node.sign_state().promise == SLOT, "a promise that is not durable"
                assert SIGN_STATE_KEY in node.records(), "a promise without its copy"
                assert decode(node.records()[SIGN_STATE_KEY], SignState).promise == SLOT
                promises.append(message.slot)

        node.world.on_send = look
        node.hear(view_change(2, SLOT), view_change(3, SLOT))
        assert node.world.failures == []
        assert set(promises) == {SLOT}


def test_the_records_come_first_then_the_sign_state_that_names_them(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # died between the two: what the sign state names must be there
    with running(home) as node:
        sync, seen = os.fdatasync, []

        def look(descriptor: int) -> None:
            sync(descriptor)
            if SIGN_STATE_KEY in node.records():
                seen.append(decode(node.records()[SIGN_STATE_KEY], SignState))

        monkeypatch.setattr(os, "fdatasync", look)
        node.hear(proposal_on(node.ledger))
        monkeypatch.undo()
        assert node.signed(), "it voted"
        assert seen == [node.sign_state()]


@pytest.mark.parametrize("kind", [Prepare, Commit])
def test_records_that_the_disk_does_not_take_stop_the_node_before_anything_leaves(home: Path, kind: type) -> None:
    with running(home) as node:
        proposal = proposal_on(node.ledger)
        node.ledger.persist_undecided({b"filler": bytes(FILLER_BYTES)})
        if kind is Commit:
            node.hear(proposal)
        before, signed = node.signed(), node.sign_state()
        with full_above(FILLER_BYTES // 2):
            node.hear(*([proposal] if kind is Prepare else [vote(member, proposal.block) for member in (2, 3)]))
        assert [type(failure).__name__ for failure in node.world.failures] == ["LedgerWriteFailed"]
        assert_stopped(node, before)
        assert node.sign_state() == signed


def test_a_sign_state_that_the_disk_does_not_take_stops_the_node_before_anything_leaves(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with running(home) as node:
        proposal = proposal_on(node.ledger)
        monkeypatch.setattr(os, "fdatasync", full)
        node.hear(proposal)
        monkeypatch.undo()
        assert [type(failure) for failure in node.world.failures] == [SignStateError]
        assert_stopped(node, [])


def test_a_block_that_the_disk_does_not_take_stops_the_node_and_nobody_is_told(home: Path) -> None:
    with running(home) as node:
        proposal = proposal_on(node.ledger)
        node.ledger.persist_undecided({b"filler": bytes(FILLER_BYTES)})
        certificate = certify(COMMUNITY, UNDECIDED, SLOT, proposal.block, signers=[0, 2, 3])
        with full_above(FILLER_BYTES // 2):
            node.hear(Decided(certificate=certificate, proposal=proposal.proposal))
        assert [type(failure).__name__ for failure in node.world.failures] == ["LedgerWriteFailed"]
        assert node.ledger.height == UNDECIDED - 1
        assert_stopped(node, [])


def assert_stopped(node: Node, before: list[Message]) -> None:
    """Whatever comes, nothing more is signed, and nobody is told anything."""
    assert node.signed() == before, "something was signed on top of a failed write"
    node.world.sent.clear()
    node.driver.tick()
    node.hear(view_change(2, SLOT), view_change(3, SLOT))
    assert node.world.sent == []
    assert len(node.world.failures) == 1


def test_after_a_restart_what_was_sent_is_sent_again(home: Path) -> None:
    with running(home) as node:
        proposal = proposal_on(node.ledger)
        node.hear(proposal, *(vote(member, proposal.block) for member in (2, 3)))
        signed = node.signed()
        assert {type(message) for message in signed} == {Prepare, Commit}
    with running(home) as node:
        node.driver.tick()
        assert {type(message) for message in node.signed()} == {Prepare, Commit}
        assert all(message in signed for message in node.signed())


def test_a_block_is_told_of_once_it_is_written(home: Path) -> None:
    told: list[tuple[Height, bytes | None, int]] = []
    with running(home) as node:
        ledger = node.ledger
        ledger.persist_undecided({VOTED_KEY: b"of this height"})

        def note(applied: AppliedBlock) -> None:
            told.append((ledger.height, ledger.block_bytes(applied.block.header.height), len(node.records())))

        proposal = proposal_on(ledger)
        decision = Decision(
            height=UNDECIDED,
            block=proposal.block,
            proposal=proposal.proposal,
            certificate=certify(COMMUNITY, UNDECIDED, SLOT, proposal.block),
        )
        application_on(ledger, COMMUNITY.addresses[OWN], note).append(decision)
    assert told == [(UNDECIDED, proposal.proposal, 0)]


def test_what_shows_that_something_was_forgotten_leads_to_no_signature(home: Path) -> None:
    # it would join the two that ask for another slot, were it not silent before it looks at the second
    with running(home) as node:
        block = proposal_on(node.ledger).block
        lower = Slot(SLOT - 4)
        voters = sorted((vote(member, block, lower) for member in (0, OWN, 2)), key=lambda one: one.signer)
        endorsements = tuple(Endorsement(signer=one.signer, signature=one.signature) for one in voters)
        certificate = PreparedCertificate(
            era=FIRST_ERA, height=UNDECIDED, slot=lower, block=block, endorsements=endorsements
        )
        node.hear(view_change(3, SLOT), view_change(2, SLOT, certificate))
        assert node.signed() == []
        assert node.driver.is_unanswered
        assert node.sign_state().silent_through == UNANSWERED


def test_nor_does_what_came_before_it_and_waits_for_its_turn(home: Path) -> None:
    # all three waited for the next height; the first two alone make it ask for a slot
    following = Height(UNDECIDED + 1)
    with running(home) as node:
        proposal = proposal_on(node.ledger)
        later = Slot(SLOT + 8)
        node.hear(*(view_change(member, later, height=following) for member in (2, 3)))
        node.driver.receive(COMMUNITY.addresses[0], vote(OWN, proposal.block, later, following))
        decide(node, proposal)
        assert (node.ledger.height, node.world.failures) == (UNDECIDED, [])
        assert node.driver.is_unanswered
        assert [one for one in node.signed() if getattr(one, "height", None) == following] == []


def test_what_was_executed_for_a_height_that_is_decided_meanwhile_says_nothing(home: Path) -> None:
    with running(home) as node:
        proposal = proposal_on(node.ledger)
        node.world.verifying = []
        node.hear(proposal)
        (then,) = node.world.verifying
        certificate = certify(COMMUNITY, UNDECIDED, SLOT, proposal.block, signers=[0, 2, 3])
        node.hear(Decided(certificate=certificate, proposal=proposal.proposal))
        assert node.ledger.height == UNDECIDED
        then()
        assert (node.world.refused, node.world.failures) == ([], [])


async def test_what_fails_on_the_way_back_from_the_thread_stops_the_node(home: Path) -> None:
    def broken() -> None:
        raise RuntimeError("a bug of ours")

    with running(home) as node:
        loop = DriverLoop(node.ledger)
        loop.verify_ahead((), broken)
        await asyncio.sleep(0)
        assert loop.failed.done(), "passed over"
        with pytest.raises(RuntimeError, match="a bug of ours"):
            await loop.failed


# --- names and bodies ------------------------------------------------------------------------------------------


def other_body(proposal: bytes) -> bytes:
    """The same header, and with it the same name."""
    return encode(replace(decode(proposal, Block), transactions=(b"another",)))


def other_header(proposal: bytes) -> bytes:
    block = decode(proposal, Block)
    return encode(replace(block, header=replace(block.header, slot=Slot(SLOT + 4))))


def no_block(_: bytes) -> bytes:
    return b"\xc1"


@pytest.mark.parametrize("change", [other_body, other_header, no_block])
@pytest.mark.parametrize("kind", [PrePrepare, Body, Decided])
def test_a_body_that_its_name_does_not_name_is_refused(home: Path, kind: type, change) -> None:  # type: ignore[no-untyped-def]
    with running(home) as node:
        proposal = proposal_on(node.ledger)
        certificate = certify(COMMUNITY, UNDECIDED, SLOT, proposal.block, signers=[0, 2, 3])
        messages: dict[type, Message] = {
            PrePrepare: proposal,
            Body: Body(height=UNDECIDED, block=proposal.block, proposal=proposal.proposal),
            Decided: Decided(certificate=certificate, proposal=proposal.proposal),
        }
        node.hear(replace(messages[kind], proposal=change(proposal.proposal)))
        assert node.world.refused == ["wrong_proposal"]
        assert (node.ledger.height, node.world.failures) == (UNDECIDED - 1, [])
        node.hear(messages[kind])
        assert node.world.refused == ["wrong_proposal"]


def test_an_invalid_block_gets_no_vote(home: Path) -> None:
    with running(home) as node:
        good = proposal_on(node.ledger)
        block = decode(good.proposal, Block)
        bad = replace(block, header=replace(block.header, state_root=Digest(bytes(32))))
        voted = vote(0, block_digest(bad.header))
        node.hear(replace(good, block=voted.block, signature=voted.signature, proposal=encode(bad)))
        assert node.signed() == []
        assert node.world.refused == ["invalid_block"]
