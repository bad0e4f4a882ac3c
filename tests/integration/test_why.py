"""A stalled network explains itself: real daemons, two of four paused, and what `p2pnode why` says about it."""

import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from os import kill
from typing import Any, Final
from urllib.request import urlopen

import pytest

from tests.support.testnet import (
    STACK_TRACE,
    Node,
    Street,
    cleaned_up,
    init_testnet,
    p2pnode,
    refused,
    wait_until,
    write_readings,
)

METRIC: Final = re.compile(r"^(p2pnode_\w+) (\S+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    """Four daemons that traded an hour and have nothing left to do."""
    directory = tmp_path_factory.mktemp("why") / "testnet"
    readings = write_readings(directory.parent / "street.csv", households=4, hours=1)
    with cleaned_up(directory):
        init_testnet(directory, "--readings", readings.path, nodes=4)
        p2pnode(directory.parent, "testnet", "run", "--dir", directory, "--keep", "--json")
        yield Street(directory)
        p2pnode(directory.parent, "testnet", "stop", "--dir", directory)


@contextmanager
def paused(*nodes: Node) -> Iterator[None]:
    """Stops these processes as they are, as a machine that is suspended does; they go on in any case."""
    processes = [process for node in nodes if (process := node.process) is not None]
    assert len(processes) == len(nodes)
    try:
        for process in processes:
            kill(process, signal.SIGSTOP)
        yield
    finally:
        for process in processes:
            kill(process, signal.SIGCONT)


def explained(node: Node) -> dict[str, Any]:
    """Returns what `p2pnode why --json` says at a node."""
    asked = p2pnode(node.home.directory.parent, "why", "--config", node.home.configuration, "--json")
    document: dict[str, Any] = json.loads(asked.output)
    return document


def why_of(node: Node) -> dict[str, Any]:
    document: dict[str, Any] = node.request("/v1/why").document
    return document


def verdict_is(node: Node, verdict: str) -> dict[str, Any] | None:
    found = why_of(node)
    return found if found["verdict"] == verdict else None


def metrics_of(node: Node) -> dict[str, float]:
    with urlopen(f"{node.url}/metrics", timeout=15) as answer:
        return {name: float(value) for name, value in METRIC.findall(answer.read().decode())}


def test_two_of_four_paused_are_named_with_the_arithmetic_and_then_all_goes_on(street: Street) -> None:
    first, second, third, fourth = street.nodes
    street.at_one_tip()
    quiet = wait_until(lambda: verdict_is(first, "nothing_to_do"), "nothing to do")
    assert (quiet["members_total"], quiet["fault_bound"], quiet["quorum"]) == (4, 1, 3)
    assert quiet["members_reachable"] == 4
    with stalled_at_one_slot(street) as height:
        for survivor in (first, second):
            found = wait_until(lambda node=survivor: stalled(node), "the stall is explained")
            assert found["height"] == height
            missing = [member["name"] for member in found["members"] if not member["is_reachable"]]
            assert missing == [third.name, fourth.name]
        explanation = explained(first)
        assert explanation["verdict"] == "too_few_members"
        sentence = explanation["sentence"]
        assert sentence.startswith("Only 2 of 4 members can take part and a decision needs 3: node3 (last heard ")
        assert "node4 (last heard " in sentence
        assert "node1" not in sentence
        assert "node2" not in sentence
        assert explanation["waits_for"]["needed"] == 1
        assert explanation["waits_for"]["missing"] == [third.address.hex(), fourth.address.hex()]
        shown = p2pnode(street.directory, "why", "--url", first.url).output
        assert "N = 4 members, F = 1 may fail, Q = 3 decide; 2 can be reached" in shown
        assert shown.count("up, but silent") == 2
        assert "missing: node3 and node4" in shown
        all_shown = p2pnode(street.directory, "why", "--dir", street.directory).output
        assert all_shown.count("does not answer") == 2
        assert all_shown.count("too_few_members") == 2
        figures = metrics_of(first)
        assert figures["p2pnode_members_reachable"] == 2
        assert figures["p2pnode_quorum"] == 3
        assert figures["p2pnode_missing_votes"] == 1
        assert figures["p2pnode_undecided_seconds"] > 1
        wait_until(lambda: "nothing is decided" in first.log(), "the log says so")
    wait_until(lambda: first.present_status()["height"] >= height, "the chain goes on")
    statuses = street.at_one_tip()
    assert {status["height"] for status in statuses} == {statuses[0]["height"]}
    for node in street.nodes:
        after = wait_until(lambda seen=node: verdict_is(seen, "nothing_to_do"), "all is well again")
        assert after["height"] > height
        assert after["members_reachable"] == 4
    assert wait_until(lambda: metrics_of(first)["p2pnode_undecided_seconds"] == 0, "nothing waits")
    assert re.search(rf"nothing is decided .*height={height} .*verdict=too_few_members", first.log())
    wait_until(
        lambda: re.search(rf"decided after all .*height={height}", first.log()), "the log says that it is over"
    )
    assert STACK_TRACE not in street.logs()


@contextmanager
def stalled_at_one_slot(street: Street) -> Iterator[int]:
    """Pauses the last two of four with a transfer to decide, and yields the height that stands still.

    The two that are left may give up different slots, and then the later one waits for the earlier one as well: all
    go on, and it is tried again until both gave up the same one.
    """
    first, second, third, fourth = street.nodes
    is_at_one_slot = False
    while not is_at_one_slot:
        wait_until(lambda: verdict_is(first, "nothing_to_do"), "nothing to do")
        street.at_one_tip()
        height = why_of(first)["height"]
        raw = first.transfer(second, 7, nonce=first.next_nonce())
        with paused(third, fourth):
            assert first.submit(raw).status == 202
            slots = [wait_until(lambda node=node: given_up(node), "a slot is given up") for node in (first, second)]
            is_at_one_slot = slots[0] == slots[1]
            if is_at_one_slot:
                yield height


def given_up(node: Node) -> int | None:
    """Returns the slot that a node gave up with both missing members known."""
    found = verdict_is(node, "too_few_members")
    has_step = found is not None and found["waits_for"] is not None and found["waits_for"]["step"] == "view_changes"
    return found["waits_for"]["slot"] if has_step and found["members_reachable"] == 2 else None


def stalled(node: Node) -> dict[str, Any] | None:
    """Returns the answer once both missing members are known and this one has given a slot up for want of others."""
    found = verdict_is(node, "too_few_members")
    has_step = found is not None and found["waits_for"] is not None and found["waits_for"]["step"] == "view_changes"
    return found if has_step and len(found["waits_for"]["members"]) == 2 and found["members_reachable"] == 2 else None


def test_a_node_that_does_not_answer_is_told_in_one_line(street: Street) -> None:
    said = refused(street.directory, "why", "--url", "http://127.0.0.1:9")
    assert "http://127.0.0.1:9 does not answer" in said
    said = refused(street.directory, "why")
    assert "one of --config, --url and --dir" in said
