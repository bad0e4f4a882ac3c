"""Real daemons that lost more than the protocol bears: a ceremony at the command line, and the chain goes on."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ceremonies.ceremony import run_case
from tests.support.ceremony_commands import authority, config, export_all, file, join_all, plan_of, recover, running
from tests.support.long_chain import append_transfers, decide_beforehand, make_street
from tests.support.testnet import Node, Street, cleaned_up, p2pnode, refused, wait_until

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


@pytest.mark.parametrize("letter", ["a", "f", "g"])
def test_four_that_stand_still_go_on_by_a_ceremony(letter: str, tmp_path: Path) -> None:
    """Rows of the table of `make ceremonies`: all sign states lost; a home replaced; one late, one twice."""
    row = run_case(letter, 4, tmp_path, print)
    assert row.held, row.note
    assert row.told_lost == 0, "every record survived"


def test_a_home_that_gave_up_its_era_says_how_to_go_on_and_back(street: Street) -> None:
    first = street.node(1)
    export_all(street, 1)
    with running(first):
        wait_until(lambda: why(first)["verdict"] == "sealed", "it says so")
        assert "To go back, run `p2pnode recover release --config meter.toml`" in why(first)["sentence"]
        shown = p2pnode(street.directory, "why", *config(first)).output
        assert shown.startswith("node1: sealed\nThis home gave up all eras below 1")


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
    three = plan_of(street, files[:3], *authority(street.directory), name="three.plan")
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
