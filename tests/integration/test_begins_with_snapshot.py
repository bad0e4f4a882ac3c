"""A home without blocks begins with a state that real daemons tell, or with genesis where they have none."""

import re
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ledger.ledger import Ledger
from ledger.state_copy import SNAPSHOT_INTERVAL
from node.home.configuration_text import with_changes
from node.home.genesis_file import load_genesis
from tests.support.long_chain import append_transfers, decide_beforehand, make_street
from tests.support.origins import begun_at, follow
from tests.support.testnet import Node, Running, Street, cleaned_up, daemon, p2pnode, wait_until

LAST = 4
"""The home that has no blocks."""

ABOVE = 6

COPIED = re.compile(r"the state is copied for those who join")
BEGAN = re.compile(r"the ledger begins with the state that the members told")


@pytest.fixture
def street(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Street]:
    target, blocks = tmp_path / "testnet", request.param
    made = make_street(target, nodes=LAST)
    decide_beforehand(made, lambda builder: append_transfers(builder, blocks), for_nodes=LAST - 1)
    begin_with(made.node(LAST), "snapshot")
    with cleaned_up(target):
        yield Street(target)


def begin_with(node: Node, beginning: str) -> None:
    own = node.home.configuration
    own.write_text(with_changes(own.read_text(encoding="utf-8"), node={"begins_with": beginning}), encoding="utf-8")


def reached(node: Node, *, height: int, first_height: int) -> bool:
    status = node.status()
    return status is not None and status["height"] >= height and status["first_height"] == first_height


def filled_to(node: Node) -> int:
    status = node.status()
    return 0 if status is None or status["filling_in"] is None else int(status["filling_in"]["height"])


def all_copied(others: list[Running]) -> None:
    wait_until(lambda: all(COPIED.search(one.errors()) for one in others), "all have copied the state")


@pytest.mark.parametrize("street", [SNAPSHOT_INTERVAL + ABOVE], indirect=True)
def test_it_begins_with_the_state_and_fills_in_what_lies_below_also_if_it_is_killed_on_the_way(
    street: Street,
) -> None:
    joining, others = street.node(LAST), street.nodes[: LAST - 1]
    with daemon(others[0]) as first, daemon(others[1]) as second, daemon(others[2]) as third:
        all_copied([first, second, third])
        with daemon(joining) as killed:
            wait_until(lambda: joining.home.intake.exists() or BEGAN.search(killed.errors()), "it takes a state")
            killed.send(signal.SIGKILL)
            killed.wait()
        with daemon(joining) as running:
            wait_until(
                lambda: reached(joining, height=SNAPSHOT_INTERVAL + ABOVE, first_height=SNAPSHOT_INTERVAL),
                "it has the blocks above the state, and none below",
            )
            assert not joining.home.intake.exists()
            problem = joining.request("/v1/blocks/1").document
            assert problem["reason"] == "blocks_not_here"
            wait_until(lambda: filled_to(joining) > SNAPSHOT_INTERVAL // 4, "a part is filled in")
            running.send(signal.SIGKILL)
            running.wait()
        with daemon(joining) as running:
            wait_until(lambda: filled_to(joining) > 0, "it goes on")
            assert filled_to(joining) > SNAPSHOT_INTERVAL // 4
            wait_until(
                lambda: reached(joining, height=SNAPSHOT_INTERVAL + ABOVE, first_height=1), "all blocks are here"
            )
            assert joining.request("/v1/blocks/1").status == 200
            assert joining.present_status()["filling_in"] is None
            assert not joining.home.filling.exists()
            assert running.is_running
    checked = p2pnode(street.directory, "ledger", "verify", "--home", joining.home.directory)
    assert "executed again from genesis" in checked.output


@pytest.mark.parametrize("street", [ABOVE], indirect=True)
def test_where_nobody_has_a_state_it_executes_from_genesis(street: Street) -> None:
    joining, others = street.node(LAST), street.nodes[: LAST - 1]
    with daemon(others[0]), daemon(others[1]), daemon(others[2]), daemon(joining) as running:
        wait_until(lambda: reached(joining, height=ABOVE, first_height=1), "it has all blocks")
        wait_until(lambda: "no state can be taken: this node executes from genesis" in running.errors(), "it says so")
        assert "no member has a copy of the state yet" in running.errors()
        assert not joining.home.intake.exists()


@pytest.mark.parametrize("street", [SNAPSHOT_INTERVAL + ABOVE], indirect=True)
def test_where_nobody_has_the_first_block_any_more_it_begins_with_a_state(street: Street) -> None:
    """Three members that began at a block themselves, and a home that would execute from genesis."""
    joining, others = street.node(LAST), street.nodes[: LAST - 1]
    begin_with(joining, "genesis")
    genesis = load_genesis(joining.home)
    for other in others:
        kept = other.home.ledger.with_name("kept")
        other.home.ledger.rename(kept)
        with closing(Ledger.open(kept, genesis)) as whole:
            begun = begun_at(whole, SNAPSHOT_INTERVAL, other.home.ledger)
            follow(begun, whole)
            begun.close()
    with daemon(others[0]), daemon(others[1]), daemon(others[2]), daemon(joining) as running:
        wait_until(
            lambda: reached(joining, height=SNAPSHOT_INTERVAL + ABOVE, first_height=SNAPSHOT_INTERVAL),
            "it has the blocks that there are",
        )
        assert "no member gives the first block: this node begins with a state" in running.errors()
        wait_until(
            lambda: (
                "no member that is reached gives block 1" in str(joining.present_status()["filling_in"]["notice"])
            ),
            "it says that nobody has the blocks below",
        )
    checked = p2pnode(street.directory, "ledger", "verify", "--home", joining.home.directory)
    assert f"executed again from the state after block {SNAPSHOT_INTERVAL:,}" in checked.output
