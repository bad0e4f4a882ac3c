"""Real daemons that lost more than the protocol bears: a ceremony at the command line, and the chain goes on.

Four members; two of them lose their sign states at once. Each asks three others what it may have signed, and one of
the three does not know either: nobody can decide any more.
"""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.transactions import transaction_digest
from ledger.verify import verify_ledger
from node.home.era_files import begun_eras
from node.home.genesis_file import load_genesis
from node.testnet.folder import AUTHORITY_KEY_NAME
from tests.support.ceremony_commands import (
    apply_at,
    config,
    decide_blocks,
    export_all,
    file,
    height,
    join_all,
    lose_sign_states,
    plan_of,
    recover,
    running,
)
from tests.support.long_chain import append_transfers, decide_beforehand, make_street
from tests.support.testnet import Node, Street, cleaned_up, daemon, p2pnode, refused, wait_until

TIP = 20


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("ceremony") / "testnet"
    decide_beforehand(make_street(target, nodes=4), lambda builder: append_transfers(builder, TIP), for_nodes=4)
    return target


@pytest.fixture
def street(base: Path, tmp_path: Path) -> Iterator[Street]:
    target = tmp_path / "testnet"
    shutil.copytree(base, target)
    with cleaned_up(target):
        yield Street(target)


def why(node: Node) -> dict[str, Any]:
    document: dict[str, Any] = node.request("/v1/why").document
    return document


def is_whole(node: Node) -> bool:
    home = node.home
    return verify_ledger(home.ledger, load_genesis(home), lambda *_: None, begun=begun_eras(home)).holds


def test_a_chain_that_stands_still_goes_on_in_another_era(street: Street) -> None:
    first, _, third, fourth = street.nodes
    with running(*street.nodes):
        before = decide_blocks(street, 2)
    lose_sign_states(third, fourth)
    with running(*street.nodes):
        wait_until(lambda: third.present_status()["silent"] is not None, "node 3 keeps silent")
        wait_until(lambda: fourth.present_status()["silent"] is not None, "node 4 keeps silent")
        raw = first.transfer(street.node(2), 1, nonce=first.next_nonce())
        assert first.submit(raw, wait_s=3).status == 202
        for node in street.nodes:  # those that lost nothing say it as well as those that did
            wait_until(lambda node=node: why(node)["verdict"] == "too_many_silent", f"{node.name} says so")
            said = why(node)["sentence"]
            assert said.startswith(f"node3 and node4 sign nothing at height {TIP + 3}"), said
            assert "p2pnode recover export --config meter.toml --era 1 --output NAME.statement" in said
    stood = TIP + 2
    files = export_all(street, 1, 2, 3, 4)
    plan = plan_of(street, files)
    joins = join_all(street, plan, 1, 2, 3, 4)
    said = [apply_at(street, plan, joins, number) for number in (1, 2, 3, 4)]
    assert all("4 members agreed, 2 of them with complete statements; from 3 on" in line for line in said)
    assert all(f"begins era 1 at height {stood + 1}" in line for line in said)
    assert "takes part in era 1 or a later one already" in refused(
        street.directory, "recover", "apply", plan, *joins, *config(first), "--yes", "--accept-loss"
    )
    with running(*street.nodes):
        after = decide_blocks(street, 3)
        tips = street.at_one_tip()
        assert all(status["silent"] is None for status in tips)
        carried, own = (first.request(f"/v1/blocks/{stood + ahead}").document for ahead in (1, 2))
        assert (carried["header"]["era"], carried["certificate"]["era"]) == (0, 1), "what was voted for is carried"
        assert transaction_digest(raw).hex() in str(carried["transactions"])
        assert (own["header"]["era"], own["certificate"]["era"]) == (1, 1)
    receipts = []
    for number, name in enumerate((before[0], after[0])):
        receipts.append(file(street, f"{number}.receipt"))
        p2pnode(street.directory, "receipt", "export", name, *config(first), "--output", receipts[-1])
        told = p2pnode(street.directory, "receipt", "verify", receipts[-1], "--genesis", first.home.genesis).output
        assert "era 1 begins there, with the agreement of" in told
    assert all(is_whole(node) for node in street.nodes)


def test_a_home_that_gave_up_its_era_says_how_to_go_on_and_back(street: Street) -> None:
    first = street.node(1)
    export_all(street, 1)
    with running(first):
        wait_until(lambda: why(first)["verdict"] == "sealed", "it says so")
        assert "To go back, run `p2pnode recover release --config meter.toml`" in why(first)["sentence"]
        shown = p2pnode(street.directory, "why", *config(first)).output
        assert shown.startswith("node1: sealed\nThis home gave up all eras below 1")


def test_members_that_are_gone_leave_and_come_back_to_nothing(street: Street) -> None:
    """Node 4 is gone and node 3 has lost its sign state: three go on, and one of the two that decide was lost."""
    lose_sign_states(street.node(3))
    files = export_all(street, 1, 2, 3)
    arguments = ("plan", *files, *config(street.node(1)), "--output", file(street, "never.plan"), "--gone", "node4")
    assert "--authority must name" in refused(street.directory, "recover", *arguments)
    plan = plan_of(street, files, "--gone", "node4", "--authority", street.directory / AUTHORITY_KEY_NAME)
    joins = join_all(street, plan, 1, 2, 3)
    for number in (1, 2, 3):
        apply_at(street, plan, joins, number)
    gone = ("recover", "apply", plan, *joins, *config(street.node(4)), "--yes", "--accept-loss")
    assert "this node's key is none of the members'" in refused(street.directory, *gone)
    with running(*street.nodes):
        decide_blocks(street, 2)
        wait_until(lambda: len({height(street.node(number)) for number in (1, 2, 3)}) == 1, "three at one height")
        assert height(street.node(4)) == TIP, "nobody tells it anything"
        wait_until(lambda: "was it removed or replaced?" in str(why(street.node(4))["notices"]), "node 4 is told why")
    assert all(is_whole(street.node(number)) for number in (1, 2, 3))


def test_who_comes_late_catches_up_keeps_silent_and_takes_part_again(street: Street) -> None:
    lose_sign_states(street.node(3))
    files = export_all(street, 1, 2, 3)
    plan = plan_of(street, files, "--authority", street.directory / AUTHORITY_KEY_NAME)
    joins = join_all(street, plan, 1, 2, 3)
    for number in (1, 2, 3):
        apply_at(street, plan, joins, number)
    fourth = street.node(4)
    with running(*street.nodes):
        decide_blocks(street, 2)
        assert height(fourth) == TIP
        wait_until(lambda: why(fourth)["verdict"] == "later_era", "node 4 is told of the later era")
        assert "p2pnode recover apply PLAN AGREEMENTS --config meter.toml" in why(fourth)["sentence"]
        fourth.end_by(signal.SIGTERM)
        assert "It asks the others first" in apply_at(street, plan, joins, 4)
        with daemon(fourth):
            wait_until(lambda: height(fourth) >= height(street.node(1)), "node 4 caught up")
            wait_until(lambda: (fourth.present_status()["silent"] or {}).get("through"), "node 4 is answered")
            decide_blocks(street, 3)
            wait_until(lambda: fourth.present_status()["silent"] is None, "node 4 signs again")
            street.node(3).end_by(signal.SIGTERM)
            decide_blocks(street, 2)  # with node 3 away, node 4's votes are needed
            fourth.end_by(signal.SIGTERM)
    assert is_whole(fourth)


def test_steps_out_of_order_change_nothing(street: Street) -> None:
    first = street.node(1)
    with running(first):
        said = refused(street.directory, "recover", "export", *config(first), "--output", file(street, "no"))
        assert "a daemon is running on" in said
    files = export_all(street, 1, 2, 3, 4)
    plan = plan_of(street, files)
    assert "too few of the old members agreed" in refused(
        street.directory, "recover", "apply", plan, plan_join(street, plan, 1), *config(first), "--yes"
    )
    three = plan_of(street, files[:3], "--authority", street.directory / AUTHORITY_KEY_NAME, name="three.plan")
    join = ("recover", "join", three, *config(first), "--output", file(street, "no"), "--yes")
    assert "agreed to another plan of era 1" in refused(street.directory, *join)
    release = ("recover", "release", *config(first))
    assert "this node agreed to a plan" in refused(street.directory, *release)
    second = street.node(2)
    assert "goes on in era 0" in recover(street, "release", *config(second))
    join = ("recover", "join", plan, *config(second), "--output", file(street, "no"), "--yes")
    assert "made no statement for era 1, or took it back" in refused(street.directory, *join)
    damaged = file(street, "damaged.plan")
    content = bytearray(plan.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    join = ("recover", "join", damaged, *config(street.node(3)), "--output", file(street, "no"), "--yes")
    assert "damaged.plan" in refused(street.directory, *join)
    assert not file(street, "no").exists()


def plan_join(street: Street, plan: Path, number: int) -> Path:
    return join_all(street, plan, number)[0]
