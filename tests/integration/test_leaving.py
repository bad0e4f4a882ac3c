"""A home leaves a running street by the command: the others go on without it, and fewer must answer."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.testnet.init import TestnetPlan, initialise_testnet
from tests.support.ceremony_commands import config, decide_blocks, height, members_at, running
from tests.support.ports import free_ports
from tests.support.testnet import Node, Street, background, cleaned_up, p2pnode, refused, wait_until, write_readings


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    """Five households with one hour to measure."""
    readings = write_readings(tmp_path / "readings.csv", households=5, hours=1)
    directory = tmp_path / "testnet"
    initialise_testnet(directory, TestnetPlan(readings=readings.path, base_port=free_ports(10)))
    with cleaned_up(directory):
        yield Street(directory)


def member_changes(node: Node) -> dict[str, object]:
    shown = p2pnode(node.home.directory, "member", "changes", *config(node), "--json").output
    document: dict[str, object] = json.loads(shown)
    return document


def have_measured(street: Street) -> bool:
    """From then on nothing is decided that the test does not ask for."""
    return all(node.present_status()["meter"]["finished"] for node in street.nodes)


def test_one_leaves_and_the_others_decide_with_fewer(street: Street) -> None:
    leaver, staying = street.node(5), [street.node(number) for number in range(1, 5)]
    with running(*street.nodes):
        wait_until(lambda: have_measured(street), "the one hour is measured and settled")
        street.at_one_tip()
        decide_blocks(street, 2)
        wallet = leaver.account()["available_micro"]
        said = p2pnode(street.directory, "member", "leave", *config(leaver), "--yes")
        assert "has left, and the others go on without it" in said.output
        left = member_changes(leaver)["left"]
        assert isinstance(left, list)
        assert [one["name"] for one in left] == [leaver.name]
        last = left[0]["last_height"]
        wait_until(lambda: all(members_at(node) == 4 for node in staying), "four members")
        again = p2pnode(street.directory, "member", "leave", *config(leaver), "--yes")
        assert "has left" in again.output, "given again it says the same"
        port = {"P2PNODE_API__PORT": leaver.url.rpartition(":")[2]}
        other = ("member", "leave", *config(staying[0]), "--yes")
        assert "is the API of another home, node5" in refused(street.directory, *other, environment=port)
        leaver.end_by(signal.SIGTERM)
        street.node(4).end_by(signal.SIGKILL)
        decide_blocks(street, 2)  # three of the four: with five members four would have to answer
        assert height(staying[0]) > last
        tip = height(staying[0])
        with running(leaver):
            wait_until(lambda: height(leaver) >= tip, "who left still hears what is decided")
            assert leaver.account()["available_micro"] == wallet, "its wallet is its own"
    for node in street.nodes:
        assert "holds" in p2pnode(street.directory, "ledger", "verify", "--home", node.home.directory).output


def test_a_leave_that_must_wait_says_why_and_is_taken_back(street: Street) -> None:
    first, second = street.node(5), street.node(4)
    with running(*street.nodes):
        p2pnode(street.directory, "member", "leave", *config(first), "--yes")
        with background(street.directory, "member", "leave", *config(second), "--yes") as waits:
            wait_until(lambda: "genesis allows no fewer than the 4 members" in waits.errors(), "the reason")
            assert "stays" in p2pnode(street.directory, "member", "stay", *config(second)).output
            ended = waits.wait()
        assert (ended.exit_code, "this home stays a member" in ended.errors) == (1, True)
        assert members_at(second) == 4


def test_a_run_goes_on_without_who_left(street: Street) -> None:
    leaver = street.node(5)
    with running(*street.nodes):
        wait_until(lambda: have_measured(street), "the one hour is measured and settled")
        p2pnode(street.directory, "member", "leave", *config(leaver), "--yes")
        wait_until(lambda: all(members_at(node) == 4 for node in street.nodes), "four members")
        shown = p2pnode(street.directory, "testnet", "status", "--dir", street.directory).output
        assert [line.split()[1] for line in shown.splitlines() if " left " in line] == [leaver.name]
        assert ("4 of 4" in shown, "4 of 3" in shown) == (True, False)
    leaver.home.node_key.unlink()  # as `member leave` says, so that its node starts no more
    ended = p2pnode(street.directory, "testnet", "run", "--dir", street.directory, "--json")
    assert "not started, as they left the chain: node5" in ended.errors
    assert json.loads(ended.output)["left"] == ["node5"]
