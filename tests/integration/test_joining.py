"""A fifth home joins four by the commands while they trade: its keys are its own, nothing on the chain names it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.testnet.init import TestnetPlan, initialise_testnet
from tests.support.ceremony_commands import config, decide_blocks, height, members_at, running
from tests.support.new_homes import NewHome, ask_to_join, let_in
from tests.support.ports import free_ports
from tests.support.testnet import Street, cleaned_up, daemon, p2pnode, refused, wait_until, write_readings

WHO = "The Fifths, Sunny Street 5, fifths@example.org"


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    """Four households that have some hours to trade."""
    readings = write_readings(tmp_path / "readings.csv", households=4, hours=4)
    directory = tmp_path / "testnet"
    initialise_testnet(directory, TestnetPlan(readings=readings.path, base_port=free_ports(8)))
    with cleaned_up(directory):
        yield Street(directory)


def test_a_fifth_home_joins_four_that_trade(street: Street) -> None:
    founders = [street.node(number) for number in range(1, 5)]
    with running(*founders):
        new = NewHome(street, "fifth")
        request = ask_to_join(street, new, who=WHO)
        with daemon(new):
            wait_until(lambda: new.status() is not None, "it runs, and waits to be let in")
            assert members_at(new) == 4
            p2pnode(street.directory, "join", "submit", request, *config(founders[0]))
            status = p2pnode(street.directory, "join", "status", *config(founders[1])).output
            assert "3 of 4 verifiers must say the same" in status
            for verifier in founders[:3]:
                listed = p2pnode(street.directory, "verify-queue", "list", *config(verifier)).output
                assert new.address.hex()[:16] in listed
                let_in(street, new, [verifier])
            wait_until(lambda: all(members_at(node) == 5 for node in (*founders, new)), "five members")
            again = refused(street.directory, "join", "submit", request, *config(founders[0]))
            assert "join_replayed" in again
            names = decide_blocks(street, 3)
            wait_until(lambda: new.request(f"/v1/transactions/{names[-1]}").status == 200, "it executes all")
            tip = height(new)
            changes = json.loads(p2pnode(street.directory, "member", "changes", *config(new), "--json").output)
            assert changes["waiting"] == []
            raw = founders[0].transfer(new, 5, nonce=founders[0].next_nonce())
            assert founders[0].submit(raw, wait_s=60).status == 200
            wait_until(lambda: new.account()["available_micro"] == 5, "its wallet")
            assert tip > 0
    for node in (*founders, new):
        verified = p2pnode(street.directory, "ledger", "verify", "--home", node.home.directory)
        assert "holds" in verified.output
    for node in founders:
        for path in (*node.home.ledger.rglob("*"), node.home.log, node.home.genesis_text):
            if path.is_file():
                assert b"Sunny Street 5" not in path.read_bytes(), f"{path} names who joined"
