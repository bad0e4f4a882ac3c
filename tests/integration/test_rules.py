"""The rules change on a running street, by the commands of docs/operations.md, beside a node that lacks them."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final
from urllib.request import urlopen

from contracts.genesis import PROTOCOL_VERSION, known_text
from contracts.rules import NOTICE_HEIGHTS
from ledger.ledger import Ledger
from node.home.genesis_file import load_genesis
from node.home.halt import refuse_if_halted
from tests.support.ceremony_commands import config, decide_blocks, height
from tests.support.testnet import (
    Ended,
    Node,
    Running,
    Street,
    background,
    daemon,
    p2pnode,
    refused,
    succeeded,
    wait_until,
)

NEXT: Final = PROTOCOL_VERSION + 1
NEWER: Final = (
    sys.executable,
    "-c",
    f"import contracts.genesis as g; g.KNOWN_VERSIONS |= {{{NEXT}}}; from node.__main__ import main; main()",
)
"""The next release, whose rules are those of this one under another number: what no program of today can be."""

UNKNOWN: Final = f"this software knows {known_text()}"


@contextmanager
def newer_daemon(node: Node) -> Iterator[Running]:
    with background(node.home.directory.parent, "start", *config(node), program=NEWER) as running:
        yield running


def by_newer(street: Street, *arguments: str | Path) -> Ended:
    """Runs a command of the next release to its end."""
    with background(street.directory, *arguments, program=NEWER) as running:
        return running.wait()


def metric(node: Node, name: str) -> int:
    with urlopen(f"{node.url}/metrics", timeout=15) as answer:
        lines = answer.read().decode().splitlines()
    (value,) = (line.split()[1] for line in lines if line.startswith(f"{name} "))
    return int(float(value))


def warns(node: Node, text: str) -> None:
    """Each place in which people and programs look says what is the matter."""
    assert text in node.present_status()["rules_notice"]
    assert any(text in notice for notice in node.request("/healthz").document["notices"])
    assert any(text in notice for notice in node.request("/v1/why").document["notices"])
    for command in (("rules", "show"), ("why",)):
        assert text in " ".join(p2pnode(node.home.directory, *command, *config(node)).output.split())


def test_the_rules_change_beside_a_node_that_does_not_know_them(street: Street) -> None:
    *others, old = street.nodes
    with ExitStack() as stack:
        for node in others:
            stack.enter_context(newer_daemon(node))
        with daemon(old) as old_process:
            wait_until(lambda: all(node.status() is not None for node in street.nodes), "all answer")
            (before,) = decide_blocks(street, 1)
            first = agree(street, old)
            while height(others[0]) < first - 1:
                decide_blocks(street, 1)
            ended = old_process.wait()
        assert ended.exit_code == 1
        assert f"from block {first:,} on this chain follows protocol version {NEXT}; {UNKNOWN}" in ended.errors
        (after, *_) = decide_blocks(street, 5)
        assert others[0].present_status()["protocol_version"] == NEXT
        stopped_well(street, old, first)
        with newer_daemon(old):
            wait_until(lambda: height(old) == height(others[0]), "it goes on")
            street.at_one_tip()
            receipts_across(street, before, after)
    whole = by_newer(street, "ledger", "verify", "--home", old.home.directory)
    succeeded(whole)
    said = refused(street.directory, "ledger", "verify", "--home", old.home.directory)
    assert f"from block {first:,} on this chain follows protocol version {NEXT}; {UNKNOWN}" in said


def agree(street: Street, old: Node) -> int:
    """Has three of four agree on the next version; returns the first height under it."""
    node = street.node(1)
    first = height(node) + NOTICE_HEIGHTS + 12
    asked = ("--version", str(NEXT), "--gate-closure-slots", "99", "--from-height", str(first))
    said = refused(street.directory, "rules", "propose", *asked, *config(old), "--yes")
    assert f"protocol version {NEXT}: this node runs software that knows {known_text()}" in said
    said = refused(street.directory, "rules", "propose", "--gate-closure-slots", "0", *asked[-2:], *config(node))
    assert "--gate-closure-slots 0: Expected `int` >= 1" in said
    name = p2pnode(street.directory, "rules", "propose", *asked, *config(node), "--yes").output
    proposal = name.split("approve ")[1].strip()
    wait_until(lambda: old.present_status()["rules_notice"], "the old node hears of it")
    warns(old, f"proposes protocol version {NEXT} from block {first:,} on; {UNKNOWN}")
    said = refused(street.directory, "rules", "approve", proposal, *config(old), "--yes")
    assert f"Install software that knows version {NEXT}" in said
    for member in (2, 3):
        p2pnode(street.directory, "rules", "approve", proposal, *config(street.node(member)), "--yes")
    approved = f"the members approved protocol version {NEXT} from block {first:,} on; {UNKNOWN}"
    wait_until(lambda: "approved" in old.present_status()["rules_notice"], "the old node hears of it")
    warns(old, approved)
    assert metric(old, "p2pnode_rules_unknown_from_height") == first
    assert (metric(node, "p2pnode_rules_unknown_from_height"), node.present_status()["rules_notice"]) == (0, None)
    return first


def stopped_well(street: Street, old: Node, first: int) -> None:
    """It stands before the height, whole, says why wherever one asks, and again when it is started again."""
    why = f"from block {first:,} on this chain follows protocol version {NEXT}; {UNKNOWN}"
    refuse_if_halted(old.home)
    verified = p2pnode(street.directory, "ledger", "verify", "--home", old.home.directory).output
    assert f"{first - 1:,}" in verified
    ledger = Ledger.open(old.home.ledger, load_genesis(old.home))
    try:
        assert ledger.height == first - 1
    finally:
        ledger.close()
    assert why in " ".join(p2pnode(street.directory, "rules", "show", *config(old)).output.split())
    assert why in refused(street.directory, "why", *config(old))
    assert why in refused(street.directory, "start", *config(old))
    refuse_if_halted(old.home)


def receipts_across(street: Street, before: str, after: str) -> None:
    """A receipt of before holds for every program, one of after for those that know its rules."""
    genesis = street.node(1).home.genesis
    for name, transaction in (("before", before), ("after", after)):
        path = street.directory / f"{name}.receipt"
        succeeded(by_newer(street, "receipt", "export", transaction, *config(street.node(1)), "--output", path))
        succeeded(by_newer(street, "receipt", "verify", path, "--genesis", genesis))
    p2pnode(street.directory, "receipt", "verify", street.directory / "before.receipt", "--genesis", genesis)
    said = refused(street.directory, "receipt", "verify", street.directory / "after.receipt", "--genesis", genesis)
    assert f"follows protocol version {NEXT}; {UNKNOWN}: newer software checks this receipt" in said
