"""Real daemons that lost blocks, their database, their memory of what they signed, or all of it."""

import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from consensus.codec import encode
from consensus.events import fresh_sign_state
from consensus.evidence import Offence
from consensus.identifiers import FIRST_HEIGHT
from ledger.ledger import Ledger
from node.home.sign_state import SignStateFile
from node.home.storage import SET_ASIDE_MAX, set_aside
from tests.support.long_chain import append_transfers, decide_beforehand, make_street
from tests.support.testnet import (
    Node,
    Street,
    cleaned_up,
    daemon,
    p2pnode,
    stop_all,
    succeeded,
    wait_until,
)

NODES = 4
TIP = 1_200
LAST = 4
"""The node that everything happens to."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A testnet whose members decided 1,200 blocks."""
    target = tmp_path_factory.mktemp("recovery") / "testnet"
    decide_beforehand(
        make_street(target, nodes=NODES), lambda builder: append_transfers(builder, TIP), for_nodes=NODES
    )
    return target


@pytest.fixture
def street(base: Path, tmp_path: Path) -> Iterator[Street]:
    target = tmp_path / "testnet"
    shutil.copytree(base, target)
    with cleaned_up(target):
        yield Street(target)


def never_heard_of_it(node: Node) -> None:
    """Puts a node back to before the first block."""
    shutil.rmtree(node.home.ledger)
    node.home.sign_state.unlink()
    SignStateFile.create(node.home.sign_state, encode(fresh_sign_state(FIRST_HEIGHT)))


@contextmanager
def running(*nodes: Node) -> Iterator[None]:
    with ExitStack() as stack:
        for node in nodes:
            stack.enter_context(daemon(node))
        wait_until(lambda: all(node.is_ready() for node in nodes), "all ready")
        yield


def output(node: Node) -> str:
    """Everything that the node's daemons said."""
    paths, named = node.home.directory.parent.glob("start-*.err"), f"node={node.address.hex()[:16]}"
    return "".join(path.read_text() for path in sorted(paths) if named in path.read_text())


def decide_blocks(street: Street, count: int, *, by: int = 1) -> None:
    """Decides blocks, one transfer each."""
    sender = street.node(by)
    for _ in range(count):
        reply = sender.submit(sender.transfer(street.node(2), 1, nonce=sender.next_nonce()), wait_s=30)
        assert reply.status == 200, reply.document


def height(node: Node) -> int:
    status = node.status()
    return -1 if status is None else int(status["height"])


def metric(node: Node, name: str) -> float:
    """Sum over all samples whose name and labels begin so."""
    with urlopen(f"{node.url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def caught_up(street: Street, node: Node) -> None:
    wait_until(lambda: height(node) >= height(street.node(1)), f"{node.name} caught up", deadline_s=300)


def signs(street: Street) -> None:
    """With node 3 away, the last one's votes are needed: a quorum is three of four."""
    street.node(3).end_by(signal.SIGTERM)
    decide_blocks(street, 2)


def nobody_contradicted_itself(*nodes: Node) -> None:
    for node in nodes:
        assert "sent wrong blocks" not in output(node)
        for offence in Offence:
            assert metric(node, f'p2pnode_messages_refused_total{{reason="{offence.value}"}}') == 0


def test_a_node_1200_blocks_behind_fetches_them_from_all_others(street: Street) -> None:
    first, second, third, last = street.nodes
    never_heard_of_it(last)
    with running(*street.nodes):
        caught_up(street, last)
        status = last.present_status()
        assert status["height"] == TIP
        assert status["tip"] == first.present_status()["tip"]
        assert status["silent"] is None
        wait_until(lambda: last.present_status()["syncing"] is None, "the end of the sync")
        for peer in (first, second, third):
            share = metric(last, f'p2pnode_mesh_bytes_total{{direction="received",peer="{peer.address.hex()[:16]}"}}')
            assert share > 50_000, "each of the three sent its share"
        assert "synced" in output(last)
        signs(street)
        nobody_contradicted_itself(first, second, last)


def test_a_lost_ledger_is_fetched_again(street: Street) -> None:
    last = street.node(LAST)
    with running(*street.nodes):
        caught_up(street, last)
        decide_blocks(street, 3)
        caught_up(street, last)
        last.end_by(signal.SIGTERM)
        shutil.rmtree(last.home.ledger)
        with daemon(last):
            caught_up(street, last)
            assert "the ledger is missing" in output(last)
            decide_blocks(street, 1)
            wait_until(lambda: last.present_status()["silent"] is None, "it signs again")
            signs(street)
            nobody_contradicted_itself(street.node(1), street.node(2), last)


def test_a_wiped_disk_keeps_silent_through_two_heights(street: Street) -> None:
    last = street.node(LAST)
    with running(*street.nodes):
        caught_up(street, last)
        decide_blocks(street, 3)
        caught_up(street, last)
        last.end_by(signal.SIGTERM)
        shutil.rmtree(last.home.ledger)
        last.home.sign_state.unlink()
        with daemon(last):
            wait_until(last.is_ready, "ready")
            undecided = TIP + 4
            wait_until(
                lambda: last.present_status()["silent"] == {"through": undecided + 1}, "the question is answered"
            )
            caught_up(street, last)
            decide_blocks(street, 1)
            caught_up(street, last)
            assert last.present_status()["silent"] is not None
            # the silence is durable
            last.end_by(signal.SIGKILL)
        with daemon(last):
            wait_until(last.is_ready, "ready")
            assert last.present_status()["silent"] == {"through": undecided + 1}
            decide_blocks(street, 1)
            wait_until(lambda: last.present_status()["silent"] is None, "it takes part again")
            signs(street)
            nobody_contradicted_itself(street.node(1), street.node(2), last)


def test_without_a_quorum_of_answers_nothing_is_signed(street: Street) -> None:
    first, second, third, last = street.nodes
    with running(*street.nodes):
        caught_up(street, last)
        third.end_by(signal.SIGTERM)
        last.end_by(signal.SIGTERM)
        last.home.sign_state.unlink()
        with daemon(last):
            wait_until(last.is_ready, "ready")
            before = first.present_status()["height"]
            raw = first.transfer(second, 1, nonce=first.next_nonce())
            assert first.submit(raw, wait_s=4).status == 202
            assert last.present_status()["silent"] == {"through": None}
            assert first.present_status()["height"] == before
            with daemon(third):
                wait_until(lambda: first.present_status()["height"] > before, "the other three decide")
                silent = wait_until(lambda: (last.present_status()["silent"] or {}).get("through"), "it was answered")
                assert silent >= before + 2
        nobody_contradicted_itself(first, second)


@pytest.mark.parametrize("how", ["truncated", "flipped", "table lost"])
def test_a_damaged_database_is_set_aside_and_fetched_again(street: Street, how: str) -> None:
    last = street.node(LAST)
    with running(*street.nodes):
        caught_up(street, last)
        decide_blocks(street, 2)
        caught_up(street, last)
        last.end_by(signal.SIGTERM)
        damage(last.home.ledger / "database", how)
        with daemon(last):
            wait_until(last.is_ready, "ready")
            assert last.present_status()["ledger_set_aside"] == "ledger.damaged-1"
            caught_up(street, last)
            assert (last.home.directory / "ledger.damaged-1" / "database").is_dir()
            assert "the ledger is damaged" in output(last)
            decide_blocks(street, 1)
            wait_until(lambda: last.present_status()["silent"] is None, "it signs again")
            signs(street)
            nobody_contradicted_itself(street.node(1), street.node(2), last)
    stop_all(street.directory)
    succeeded(p2pnode(street.directory, "ledger", "verify", "--home", last.home.directory))


def damage(database: Path, how: str) -> None:
    files = sorted(database.glob("*.ldb")) + sorted(database.glob("*.log"))
    largest = max(files, key=lambda file: file.stat().st_size)
    data = bytearray(largest.read_bytes())
    if how == "truncated":
        largest.write_bytes(data[: len(data) // 2])
    elif how == "flipped":
        for position in range(7, len(data), max(1, len(data) // 5)):
            data[position] ^= 0x10
        largest.write_bytes(data)
    else:
        largest.unlink()


def test_an_old_backup_of_the_whole_home_keeps_silent_and_recovers(street: Street, tmp_path: Path) -> None:
    last = street.node(LAST)
    with running(*street.nodes):
        caught_up(street, last)
        decide_blocks(street, 2)
        last.end_by(signal.SIGTERM)
        backup = tmp_path / "backup"
        shutil.copytree(last.home.directory, backup)
        with daemon(last):
            wait_until(last.is_ready, "ready")
            caught_up(street, last)
            decide_blocks(street, 12, by=LAST)
            caught_up(street, last)
            last.end_by(signal.SIGKILL)
        shutil.rmtree(last.home.directory)
        shutil.copytree(backup, last.home.directory)
        with daemon(last):
            caught_up(street, last)
            wait_until(lambda: "sign state is older than what it signed" in output(last), "it found out")
            wait_until(lambda: last.present_status()["silent"] != {"through": None}, "the question is answered")
            decide_blocks(street, 2)
            wait_until(lambda: last.present_status()["silent"] is None, "it takes part again")
            signs(street)
            nobody_contradicted_itself(street.node(1), street.node(2), last)


def test_the_last_two_damaged_ledgers_are_kept(tmp_path: Path) -> None:
    for number in range(1, 5):
        (tmp_path / "ledger").mkdir()
        (tmp_path / "ledger" / "number").write_text(str(number))
        assert set_aside(tmp_path / "ledger").name == f"ledger.damaged-{number}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger.damaged-3", "ledger.damaged-4"]
    assert SET_ASIDE_MAX == 2
    assert not Ledger.exists(tmp_path / "ledger")
