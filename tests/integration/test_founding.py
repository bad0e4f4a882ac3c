"""Four homes that each made their own keys found a street by the commands of docs/founding.md, and trade what the sun
gave them: nothing but public files ever went from one folder to another.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.genesis import chain_id
from node.admission.identity import load_key
from node.home.folder import Home
from node.home.genesis_file import load_genesis
from node.meter.readings_file import Readings, read_readings, write_household
from node.testnet.folder import Manifest, Testnet, TestnetNode
from tests.support.ceremony_commands import running
from tests.support.pages import commands_of, run
from tests.support.ports import free_port
from tests.support.testnet import Node, cleaned_up, p2pnode, wait_until, write_readings

HOURS = 3
HOUSEHOLDS = tuple(f"home-{number}" for number in range(4))
NAMES = tuple(f"Sunny Street {number}" for number in range(1, 5))


@pytest.fixture
def places(tmp_path: Path) -> Iterator[list[Path]]:
    """A folder for each of the four homes, one for the authority and one for the coordinator."""
    made = [tmp_path / name for name in ("home1", "home2", "home3", "home4", "provider", "coordinator")]
    for place in made:
        place.mkdir()
    with cleaned_up(tmp_path):
        yield made


def found(places: list[Path], readings: Readings) -> list[Node]:
    """Takes the steps of docs/founding.md, each where it is taken; returns the homes' nodes."""
    *homes, provider, coordinator = places
    ports = [(free_port(), free_port()) for _ in homes]
    for name, place, household, (port, api_port) in zip(NAMES, homes, HOUSEHOLDS, ports, strict=True):
        where = ("--host", "127.0.0.1", "--listen", "127.0.0.1", "--port", str(port), "--api-port", str(api_port))
        p2pnode(place, "init", "home", "--name", name, *where, "--household", household)
        write_household(readings, household, place / "home" / "readings.csv")
        shutil.copyfile(place / "home" / "node.csr", provider / f"{place.name}.csr")
    key_file = ("--key-file", "ca.passphrase")
    p2pnode(provider, "ca", "init", "ca", "--network", "Sunny Street", *key_file)
    requests = sorted(provider.glob("*.csr"))
    p2pnode(provider, "ca", "issue", "ca", *requests, *key_file, "--yes")
    shutil.copyfile(provider / "ca" / "root.crt", coordinator / "root.crt")
    p2pnode(coordinator, "genesis", "new", "street", "--network", "Sunny Street", "--authority", "root.crt")
    certificates = [request.with_suffix(".crt") for request in requests]
    p2pnode(coordinator, "genesis", "add", "street/founding.json", *certificates)
    for place in homes:
        shutil.copyfile(coordinator / "street" / "founding.json", place / "founding.json")
        p2pnode(place, "genesis", "sign", "founding.json", "--config", "home/meter.toml", "--yes")
    signatures = [next(place.glob("*.signature")) for place in homes]
    said = p2pnode(coordinator, "genesis", "add", "street/founding.json", *signatures).output
    assert "All have signed." in said
    return [node_of(*made) for made in zip(homes, HOUSEHOLDS, ports, strict=True)]


def node_of(place: Path, household: str, ports: tuple[int, int]) -> Node:
    home = Home(place / "home")
    entry = TestnetNode(
        name="home",
        address=load_key(home.node_key).address.hex(),
        household=household,
        p2p_host="127.0.0.1",
        p2p_port=ports[0],
        api_host="127.0.0.1",
        api_port=ports[1],
    )
    manifest = Manifest(
        chain=chain_id(load_genesis(home)).hex(),
        layout="loopback",
        readings_name="readings.csv",
        readings_sha256="",
        nodes=(entry,),
    )
    return Node(Testnet(place, manifest), 1)


def has_settled(node: Node) -> bool:
    status = node.status()
    return status is not None and status["meter"]["intervals_settled"] == HOURS


def test_homes_with_keys_of_their_own_found_a_street_and_trade(places: list[Path]) -> None:
    readings = write_readings(places[0] / "readings.csv", households=4, hours=HOURS)
    nodes = found(places, read_readings(readings.path))
    assert len({node.home.genesis.read_bytes() for node in nodes}) == 1
    with running(*nodes):
        wait_until(lambda: all(map(has_settled, nodes)), "all hours are settled")
        wait_until(lambda: len({node.present_status()["tip"] for node in nodes}) == 1, "all at one tip")
        statuses = [node.present_status() for node in nodes]
    assert len({status["state_root"] for status in statuses}) == 1
    assert all(status["conserved"] for status in statuses)
    assert statuses[0]["totals"]["bought_wh"] == readings.tradable_wh > 0
    for node, place in zip(nodes, places, strict=False):
        p2pnode(place, "ledger", "verify", "--home", node.home.directory)  # which fails if a single hash does


def test_the_page_is_run_from_top_to_bottom(tmp_path: Path) -> None:
    *commands, start = commands_of("founding.md")
    assert start == "p2pnode start --config home1/meter.toml"
    said = [run(tmp_path, command) for command in commands]
    assert "All have signed." in said[-1]
    genesis = {load_genesis(Home(tmp_path / f"home{number}")).network for number in range(1, 5)}
    assert genesis == {"Sunny Street"}
