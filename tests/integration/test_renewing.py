"""Certificates end while five homes trade: one is renewed in time, one runs out and goes, one is renewed late."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from contracts.genesis import chain_id
from node.home.genesis_file import load_genesis, write_genesis
from node.testnet.folder import AUTHORITY_KEY_FILE_NAME, AUTHORITY_NAME, MANIFEST_NAME
from node.testnet.init import TestnetPlan, initialise_testnet
from tests.support.ceremony_commands import config, height, members_at, newest_trade, running
from tests.support.ports import free_ports
from tests.support.testnet import Node, Street, background, cleaned_up, p2pnode, refused, wait_until
from tests.support.testnet import write_readings as write_rows

WAIT_SLOTS = 4
"""A second: a certificate that ran out removes its member 14 s later."""
IN_TIME_MS = 60 * 60_000


def name_ends(street: Street, ends_ms: dict[int, int]) -> Street:
    """Has genesis say that certificates end so long after the chain's start, by the homes' numbers."""
    genesis = load_genesis(street.node(1).home)
    members = tuple(
        replace(member, valid_until_ms=genesis.start_ms + ends_ms[number]) if number in ends_ms else member
        for number, member in enumerate(genesis.members, start=1)
    )
    rules = replace(genesis.membership, removal_wait_slots=WAIT_SLOTS)
    genesis = replace(genesis, members=members, membership=rules)
    manifest = street.directory / MANIFEST_NAME
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace(street.chain.hex(), chain_id(genesis).hex()), encoding="utf-8")
    for node in street.nodes:
        write_genesis(node.home, genesis)
    return Street(street.directory)


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    """Five households that trade; three of their certificates end soon."""
    readings = write_rows(tmp_path / "readings.csv", households=5, hours=4_000)
    directory = tmp_path / "testnet"
    initialise_testnet(directory, TestnetPlan(readings=readings.path, base_port=free_ports(10)))
    street = name_ends(Street(directory), {2: IN_TIME_MS, 4: 1, 5: 1})
    for node in street.nodes:
        node.trade_hour_by_hour()
    with cleaned_up(directory):
        yield street


def certificate_of(street: Street, node: Node) -> Path:
    """What the authority renews."""
    output = street.directory / f"{node.name}-renewed.crt"
    key_file = street.directory / AUTHORITY_KEY_FILE_NAME
    p2pnode(
        *(street.directory, "ca", "renew", street.directory / AUTHORITY_NAME, node.name),
        *("--output", output, "--key-file", key_file, "--yes"),
    )
    return output


def until_ms(at: Node, of: Node) -> int:
    members = json.loads(p2pnode(at.home.directory, "members", *config(at), "--json").output)["members"]
    return next(int(one["valid_until_ms"]) for one in members if one["address"] == of.address.hex())


def shown(at: Node, of: Node) -> str:
    return " ".join(p2pnode(at.home.directory, "member", "show", of.address.hex(), *config(at)).output.split())


def test_one_is_renewed_in_time_one_runs_out_and_one_is_renewed_late(street: Street) -> None:
    first, renewed, directory = street.node(1), street.node(2), street.directory
    with running(*street.nodes):
        wait_until(lambda: height(first) > 1, "blocks are decided")
        assert "vouches for this home until" in why(renewed)
        before = until_ms(first, renewed)
        certificate = certificate_of(street, renewed)
        said = p2pnode(directory, "member", "renew", *config(renewed), "--certificate", certificate).output
        assert f"the authority vouches for {renewed.name} until" in said.replace("\n", " ")
        assert renewed.home.certificate.read_bytes() == certificate.read_bytes()
        assert until_ms(first, renewed) > before + 365 * 24 * 60 * 60_000
        assert "vouches for this home" not in why(renewed)
        again = ("member", "renew", *config(renewed))
        with background(directory, *again) as command:
            assert "renew_not_later" in command.wait().errors

        wait_until(lambda: members_at(first) == 4, "one has gone")
        ran_out = [street.node(number) for number in (4, 5)]
        gone = next(node for node in ran_out if "was removed, as its certificate ran out" in shown(first, node))
        stays = next(node for node in ran_out if node is not gone)
        assert "it stays a member until another home joins" in shown(first, stays)
        with background(directory, "member", "renew", *config(gone)) as command:
            assert "renew_not_member" in command.wait().errors
        p2pnode(directory, "member", "renew", *config(stays), "--certificate", certificate_of(street, stays))
        assert "The authority vouches for it until" in shown(first, stays)
        at = height(first)
        wait_until(lambda: newest_trade(renewed)[1] > at, "those who stay trade on")
        assert members_at(first) == 4
        other = refused(directory, "member", "renew", *config(renewed), "--certificate", stays.home.certificate)
        assert "of another node key or meter" in other
    for node in street.nodes:
        assert "holds" in p2pnode(directory, "ledger", "verify", "--home", node.home.directory).output


def why(node: Node) -> str:
    return " ".join(p2pnode(node.home.directory, "why", *config(node)).output.split())
