"""A member's home is lost for good: a new one on another port takes its place by a ceremony, and the old one may come
back to closed doors. Nobody edits a meter.toml.
"""

import re
import shutil
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from consensus.identifiers import Height
from contracts.transactions import Transfer, sign_transaction
from contracts.units import MicroTokens
from node.admission.identity import load_chain
from node.admission.voucher import time_ms
from tests.support.ceremony_commands import (
    apply_at,
    authority,
    config,
    decide_blocks,
    export_all,
    height,
    join_all,
    lose_sign_states,
    new_home,
    plan_of,
    recover,
    running,
)
from tests.support.long_chain import append_transfers, decide_beforehand, make_street
from tests.support.ports import free_port
from tests.support.testnet import Node, Street, cleaned_up, daemon, wait_until

TIP = 20


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    target = tmp_path / "testnet"
    decide_beforehand(make_street(target, nodes=4), lambda builder: append_transfers(builder, TIP), for_nodes=4)
    with cleaned_up(target):
        yield Street(target)


def configurations(street: Street) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in street.directory.glob("*/meter.toml")}


def know_nobody(node: Node) -> None:
    """Lets a home dial in vain: there are links only if the others find it."""
    text = node.home.configuration.read_text(encoding="utf-8")
    changed, count = re.subn(r'(host = "127.0.0.1", port =) \d+', r"\1 1", text)
    assert count == 3
    node.home.configuration.write_text(changed, encoding="utf-8")


def refused_strangers(node: Node) -> bool:
    with urllib.request.urlopen(f"{node.url}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    counted = [line for line in lines if line.startswith("p2pnode_messages_refused_total") and "not_a_member" in line]
    return any(float(line.split()[-1]) > 0 for line in counted)


def test_a_new_home_takes_a_members_place_and_the_old_one_is_nobody(street: Street) -> None:
    lose_sign_states(street.node(3))
    ports = (free_port(), free_port())
    new = new_home(street, 4, ports=ports)
    know_nobody(new)
    before = configurations(street)
    files = export_all(street, 1, 2, 3)
    certificate = f"node4={new.home.certificate}"
    plan = plan_of(street, files, "--replaced", certificate, *authority(street.directory))
    joins = join_all(street, plan, 1, 2, 3)
    said = [apply_at(street, plan, joins, number) for number in (1, 2, 3)]
    said.append(recover(street, "apply", plan, *joins, *config(new), "--yes", "--accept-loss"))
    assert all(f"a new home at 127.0.0.1:{ports[0]}" in one for one in said)
    assert "asks the others" not in said[-1], "a key that is new binds nothing"
    first, second, third, old = street.nodes
    with running(first, second, third, new):
        decide_blocks(street, 2)
        wait_until(lambda: height(new) == height(first), "the new home caught up")
        with daemon(old):
            wait_until(lambda: refused_strangers(first), "the old key is refused")
            wait_until(lambda: "removed or replaced" in str(old.request("/v1/why").document), "the old home is told")
            assert height(old) == TIP
            old.end_by(signal.SIGTERM)
        second.end_by(signal.SIGTERM)
        decide_blocks(street, 3)  # the new home's vote is one of three
        own = sign_transaction(
            new.key.of_member(old.address),
            chain=street.chain,
            nonce=1,
            valid_until_height=Height(100_000),
            action=Transfer(recipient=first.address, amount_micro=MicroTokens(7)),
        )
        assert new.submit(own, wait_s=60).status == 200, "the wallet is the member's, under its new key"
        wait_until(lambda: height(new) == height(third) == height(first), "three at one height")
        members = first.request("/v1/members").document["members"]
        ends = load_chain(new.home.certificate)[0].not_valid_after_utc
        assert [one["valid_until_ms"] for one in members if one["address"] == old.address.hex()] == [time_ms(ends)]
        signers = first.request(f"/v1/blocks/{height(first)}").document["certificate"]
        assert old.address.hex() in str(signers)
    assert configurations(street) == before


def test_a_home_that_comes_late_admits_the_new_key_and_not_the_old_one(street: Street) -> None:
    """It is far below the base, where its own ledger still names the key that was replaced."""
    ports = (free_port(), free_port())
    new = new_home(street, 4, ports=ports)
    shutil.rmtree(street.node(1).home.ledger)
    files = export_all(street, 1, 2, 3)
    options = ("--replaced", f"node4={new.home.certificate}", *authority(street.directory))
    plan = plan_of(street, files, *options)
    joins = join_all(street, plan, 1, 2, 3)
    apply_at(street, plan, joins, 1)
    first, old = street.node(1), street.node(4)
    with daemon(first), daemon(old):
        wait_until(lambda: height(first) == 0 and refused_strangers(first), "the old key is refused at height 0")
        for node in (first, old):
            node.end_by(signal.SIGTERM)
