"""What a start does with a sign state or a ledger that is missing or damaged, with and without somebody to ask."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from consensus.codec import decode, encode
from consensus.events import UNANSWERED, Received, SignState, fresh_sign_state
from consensus.identifiers import Digest, Height, Signature, Slot
from consensus.messages import Claim, Decided, Prepare, vote_bytes
from consensus.verification import Verified
from ledger.block import block_digest
from ledger.ledger import Ledger
from ledger.side_files import mark_damage
from node.chain.driver import Driver
from node.chain.records import PREPARED_KEY
from node.cli.main import app
from node.errors import NodeError, SignStateError, SignStateFault
from node.home.configuration import ApiTable, Configuration, NodeTable, PeerEntry, PeerToPeerTable
from node.home.configuration_text import render_configuration
from node.home.folder import Home
from node.home.genesis_file import write_genesis
from node.home.sign_state import SignStateFile
from node.home.storage import kept_aside, open_storage
from tests.support.contracts import Community, make_genesis
from tests.support.disk import watch_syncs
from tests.support.driving import drive
from tests.support.ledger import ChainBuilder, certify

BLOCKS = 12
COMMUNITY = make_genesis()
COUPLE = make_genesis(2)
"""Too few to ask: the operator's word counts."""

OWN = 1
"""Member number of this node; the builder's certificates are of members 0 to 2."""


def make_home(
    directory: Path,
    *,
    peers: bool,
    sign_state: SignState | None,
    blocks: int | None = BLOCKS,
    community: Community = COMMUNITY,
) -> Configuration:
    home = Home(directory)
    entries = [PeerEntry(address=community.addresses[0].hex(), host="localhost", port=1)]
    configuration = Configuration(
        node=NodeTable(name="node2", home=directory),
        p2p=PeerToPeerTable(port=7_000, peers=tuple(entries) if peers else ()),
        api=ApiTable(port=8_000),
    )
    home.configuration.write_text(render_configuration(configuration))
    write_genesis(home, community.genesis)
    if sign_state is not None:
        SignStateFile.create(home.sign_state, encode(sign_state))
    if blocks is not None:
        builder = ChainBuilder.create(home.ledger, community)
        for _ in range(blocks):
            builder.append([builder.transfer(0, 1, 5)])
        builder.ledger.close()
    return configuration


def opened(configuration: Configuration) -> tuple[Height, SignState, str | None]:
    """Opens and closes the storage; returns height, sign state, and what was set aside."""
    with ExitStack() as stack:
        storage = open_storage(configuration, stack)
        kept = None if storage.set_aside is None else storage.set_aside.name
        return storage.ledger.height, decode(storage.sign_state.load(), SignState), kept


def damage(home: Home) -> dict[str, bytes]:
    """Flips a byte in every database file; returns their content."""
    found = {}
    for file in (home.ledger / "database").iterdir():
        data = bytearray(file.read_bytes())
        if data:
            data[len(data) // 2] ^= 1
            file.write_bytes(data)
            found[file.name] = bytes(data)
    return found


SIGNED = fresh_sign_state(Height(BLOCKS + 1))


def test_whole_storage_is_opened_as_it_is(tmp_path: Path) -> None:
    for peers in (True, False):
        (tmp_path / str(peers)).mkdir()
        configuration = make_home(tmp_path / str(peers), peers=peers, sign_state=SIGNED)
        assert opened(configuration) == (BLOCKS, SIGNED, None)


def test_a_new_node_makes_its_ledger(tmp_path: Path) -> None:
    configuration = make_home(tmp_path, peers=False, sign_state=fresh_sign_state(Height(1)), blocks=None)
    assert opened(configuration) == (0, fresh_sign_state(Height(1)), None)


# --- the ledger ------------------------------------------------------------------------------------------------


def test_a_damaged_ledger_is_set_aside_untouched_and_a_new_one_begins(tmp_path: Path) -> None:
    configuration = make_home(tmp_path, peers=True, sign_state=SIGNED)
    evidence = damage(configuration.home)
    assert opened(configuration) == (0, SIGNED, "ledger.damaged-1")
    kept = tmp_path / "ledger.damaged-1" / "database"
    assert {file.name: file.read_bytes() for file in kept.iterdir() if file.stat().st_size} == evidence
    assert opened(configuration) == (0, SIGNED, None)


def test_what_is_set_aside_is_so_durably_before_a_new_one_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = make_home(tmp_path, peers=True, sign_state=None, blocks=1)
    home = configuration.home
    home.sign_state.write_bytes(b"torn")
    damage(home)
    synced = watch_syncs(monkeypatch)
    opened(configuration)
    paths = [one.path for one in synced]
    assert paths[:3] == [tmp_path, home.sign_state, tmp_path]
    assert paths[3] == tmp_path, "the damaged ledger's new name"


def test_what_a_running_node_found_damaged_is_not_opened_again(tmp_path: Path) -> None:
    configuration = make_home(tmp_path, peers=True, sign_state=SIGNED)
    mark_damage(configuration.home.ledger, "LevelDB cannot read")
    assert opened(configuration) == (0, SIGNED, "ledger.damaged-1")


@pytest.mark.parametrize("how", ["damaged", "missing"])
def test_without_peers_a_lost_ledger_is_not_begun_anew(tmp_path: Path, how: str) -> None:
    configuration = make_home(tmp_path, peers=False, sign_state=SIGNED, blocks=BLOCKS if how == "damaged" else None)
    evidence = damage(configuration.home) if how == "damaged" else {}
    with pytest.raises(NodeError, match="no peers are configured"):
        opened(configuration)
    assert kept_aside(configuration.home.ledger) == []
    assert Ledger.exists(configuration.home.ledger) is bool(evidence)


def test_a_missing_ledger_is_begun_anew_where_there_are_peers(tmp_path: Path) -> None:
    configuration = make_home(tmp_path, peers=True, sign_state=SIGNED, blocks=None)
    assert opened(configuration) == (0, SIGNED, None)


# --- the sign state --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [None, b"torn", encode(SIGNED)])
def test_a_lost_sign_state_forbids_every_signature(tmp_path: Path, content: bytes | None) -> None:
    configuration = make_home(tmp_path, peers=True, sign_state=None)
    if content is not None:
        configuration.home.sign_state.write_bytes(content)
    height, signed, _ = opened(configuration)
    assert height == BLOCKS
    assert signed.silent_through == UNANSWERED
    assert opened(configuration)[1] == signed  # a crash repeats the question
    kept = kept_aside(configuration.home.sign_state)
    assert [file.read_bytes() for file in kept] == ([] if content is None else [content])


def test_a_sign_state_of_another_version_counts_as_damaged(tmp_path: Path) -> None:
    configuration = make_home(tmp_path, peers=True, sign_state=None)
    SignStateFile.create(configuration.home.sign_state, encode(("sign-state", 5, None, 0, 0, None)))
    assert opened(configuration)[1].silent_through == UNANSWERED


@pytest.mark.parametrize("content", [None, b"torn"])
def test_without_peers_only_the_operator_can_say(tmp_path: Path, content: bytes | None) -> None:
    configuration = make_home(tmp_path, peers=False, sign_state=None)
    if content is not None:
        configuration.home.sign_state.write_bytes(content)
    with pytest.raises(SignStateError, match="p2pnode recover alone --config"):
        opened(configuration)
    assert configuration.home.sign_state.exists() is (content is not None)


def test_a_sign_state_in_use_is_left_alone(tmp_path: Path) -> None:
    configuration = make_home(tmp_path, peers=True, sign_state=SIGNED)
    with ExitStack() as stack:
        open_storage(configuration, stack)
        with pytest.raises(SignStateError) as caught:
            opened(configuration)
    assert caught.value.fault is SignStateFault.IN_USE


# --- the operator's word ---------------------------------------------------------------------------------------


def recover(configuration: Configuration, *, answer: str) -> Any:
    return CliRunner().invoke(
        app, ["recover", "alone", "--config", str(configuration.home.configuration)], input=answer
    )


def test_the_operator_lets_a_node_sign_again(tmp_path: Path) -> None:
    configuration = make_home(tmp_path, peers=False, sign_state=None, community=COUPLE)
    refused = recover(configuration, answer="n\n")
    assert isinstance(refused.exception, NodeError)
    assert not configuration.home.sign_state.exists()
    done = recover(configuration, answer="y\n")
    assert done.exit_code == 0
    assert f"from height {BLOCKS + 1} on" in done.output
    assert "the chain may split" in done.output
    assert opened(configuration)[1] == SIGNED


CLAIM = Claim(slot=Slot(30), block=Digest(bytes(32)))
VOTED = replace(SIGNED, voted=CLAIM)


@pytest.mark.parametrize("signed", [SIGNED, replace(SIGNED, silent_through=UNANSWERED), VOTED])
def test_where_the_others_can_be_asked_the_operator_has_no_say(tmp_path: Path, signed: SignState) -> None:
    configuration = make_home(tmp_path, peers=True, sign_state=signed)
    before = configuration.home.sign_state.read_bytes()
    refused = recover(configuration, answer="y\n")
    assert isinstance(refused.exception, NodeError)
    assert "this chain has 4 members: the others say" in str(refused.exception)
    assert configuration.home.sign_state.read_bytes() == before
    assert kept_aside(configuration.home.sign_state) == []


@pytest.mark.parametrize(
    "signed",
    [
        SIGNED,
        VOTED,
        replace(SIGNED, promise=Slot(31), attempts=1),
        fresh_sign_state(Height(BLOCKS + 5)),  # blocks were lost: it says up to where
    ],
)
def test_an_intact_sign_state_is_never_thrown_away(tmp_path: Path, signed: SignState) -> None:
    configuration = make_home(tmp_path, peers=False, sign_state=signed, community=COUPLE)
    before = configuration.home.sign_state.read_bytes()
    refused = recover(configuration, answer="y\n")
    assert isinstance(refused.exception, NodeError)
    assert "nothing is wrong with" in str(refused.exception)
    assert configuration.home.sign_state.read_bytes() == before
    assert kept_aside(configuration.home.sign_state) == []
    assert opened(configuration) == (BLOCKS, signed, None)


@pytest.mark.parametrize("is_there", [True, False])
def test_a_block_that_it_prepared_and_lost_needs_the_operators_word(tmp_path: Path, is_there: bool) -> None:
    signed = replace(VOTED, prepared=CLAIM)
    configuration = make_home(tmp_path, peers=False, sign_state=signed, community=COUPLE)
    if is_there:
        ledger = Ledger.open(configuration.home.ledger, COUPLE.genesis)
        ledger.persist_undecided({PREPARED_KEY: b"block and certificate"})
        ledger.close()
    assert recover(configuration, answer="y\n").exit_code == int(is_there)


@pytest.mark.parametrize(
    "content", [b"torn", replace(VOTED, silent_through=UNANSWERED), fresh_sign_state(Height(BLOCKS))]
)
def test_one_that_is_damaged_old_or_knows_of_a_gap_is_set_aside(tmp_path: Path, content: bytes | SignState) -> None:
    signed = content if isinstance(content, SignState) else None
    configuration = make_home(tmp_path, peers=False, sign_state=signed, community=COUPLE)
    if isinstance(content, bytes):
        configuration.home.sign_state.write_bytes(content)
    assert recover(configuration, answer="y\n").exit_code == 0
    assert opened(configuration)[1] == SIGNED
    assert len(kept_aside(configuration.home.sign_state)) == 1


def test_a_sign_state_in_use_is_not_recovered(tmp_path: Path) -> None:
    configuration = make_home(tmp_path, peers=False, sign_state=SIGNED, community=COUPLE)
    file = SignStateFile(configuration.home.sign_state)
    refused = recover(configuration, answer="y\n")
    file.close()
    assert isinstance(refused.exception, SignStateError)
    assert refused.exception.fault is SignStateFault.IN_USE


def test_without_a_whole_ledger_the_operator_cannot_know(tmp_path: Path) -> None:
    configuration = make_home(tmp_path, peers=False, sign_state=None)
    damage(configuration.home)
    assert isinstance(recover(configuration, answer="y\n").exception, NodeError)
    assert not configuration.home.sign_state.exists()


# --- an old backup, found out by the driver --------------------------------------------------------------------


def start_driver(configuration: Configuration, stack: ExitStack) -> tuple[Driver, SignStateFile, Ledger]:
    storage = open_storage(configuration, stack)
    driver, world = drive(storage.ledger, storage.sign_state, COMMUNITY.node_keys[OWN])
    stack.callback(lambda: expect_none(world.failures))
    return driver, storage.sign_state, storage.ledger


def expect_none(failures: list[Exception]) -> None:
    assert failures == []


@pytest.mark.parametrize(("height", "is_old"), [(BLOCKS + 1, False), (BLOCKS, True), (1, True)])
async def test_a_sign_state_older_than_the_stored_certificates_is_found_out_at_the_start(
    tmp_path: Path, height: int, is_old: bool
) -> None:
    configuration = make_home(tmp_path, peers=True, sign_state=fresh_sign_state(Height(height)))
    with ExitStack() as stack:
        driver, file, _ = start_driver(configuration, stack)
        assert driver.is_unanswered is driver.is_silent is is_old
        assert (decode(file.load(), SignState).silent_through == UNANSWERED) is is_old
        if is_old:
            driver.keep_silent_through(Height(BLOCKS + 2))
            assert driver.is_silent
            assert not driver.is_unanswered
            assert decode(file.load(), SignState).silent_through == BLOCKS + 2
            status = driver.status()
            assert (status.is_silent, status.silent_through) == (True, BLOCKS + 2)


def decided_by(builder: ChainBuilder, signers: list[int]) -> Decided:
    block = builder.build()
    header = block.header
    certificate = certify(COMMUNITY, header.height, header.slot, block_digest(header), signers=signers)
    return Decided(certificate=certificate, proposal=encode(block))


@pytest.mark.parametrize("is_synced", [True, False])
@pytest.mark.parametrize(("signers", "is_old"), [([0, 1, 2], True), ([0, 2, 3], False)])
async def test_it_is_found_out_when_a_decided_block_shows_it(
    tmp_path: Path, signers: list[int], is_old: bool, is_synced: bool
) -> None:
    configuration = make_home(tmp_path, peers=True, sign_state=SIGNED)
    with ExitStack() as stack:
        driver, file, ledger = start_driver(configuration, stack)
        decided = decided_by(ChainBuilder(ledger, COMMUNITY), signers)
        if is_synced:
            driver.post(Received(sender=COMMUNITY.addresses[0], message=Verified(decided)))
        else:
            driver.receive(COMMUNITY.addresses[0], decided)
        assert ledger.height == BLOCKS + 1
        assert driver.is_unanswered is is_old
        assert (decode(file.load(), SignState).silent_through == UNANSWERED) is is_old


async def test_or_when_only_the_certificate_that_the_next_block_carries_shows_it(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other_home = make_home(tmp_path / "other", peers=True, sign_state=SIGNED).home
    configuration = make_home(tmp_path, peers=True, sign_state=SIGNED)
    with ExitStack() as stack:
        driver, _, ledger = start_driver(configuration, stack)
        other = ChainBuilder(Ledger.open(other_home.ledger, COMMUNITY.genesis), COMMUNITY)
        stack.callback(other.ledger.close)
        driver.receive(COMMUNITY.addresses[0], decided_by(other, [0, 2, 3]))
        other.append()  # there with the certificate of members 0 to 2, this node among them
        assert not driver.is_silent
        driver.receive(COMMUNITY.addresses[0], decided_by(other, [0, 2, 3]))
        assert ledger.height == BLOCKS + 2
        assert driver.is_unanswered


async def test_or_when_a_member_shows_an_own_vote_of_the_undecided_height(tmp_path: Path) -> None:
    configuration = make_home(tmp_path, peers=True, sign_state=SIGNED)
    with ExitStack() as stack:
        driver, _, ledger = start_driver(configuration, stack)
        key, height, slot, block = COMMUNITY.node_keys[OWN], Height(BLOCKS + 1), Slot(50), ledger.tip
        signature = key.sign(vote_bytes(COMMUNITY.chain, height, slot, block))
        vote = Prepare(height=height, slot=slot, block=block, signer=key.address, signature=signature)
        forged = replace(vote, signature=Signature(bytes(64)))
        driver.receive(COMMUNITY.addresses[0], forged)
        assert not driver.is_silent
        driver.receive(COMMUNITY.addresses[0], vote)
        assert driver.is_unanswered
