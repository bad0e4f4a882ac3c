"""Testnets whose chain is made beforehand: blocks signed by the members' own keys, without running one daemon."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from consensus.codec import encode
from consensus.events import fresh_sign_state
from consensus.identifiers import Height
from contracts.genesis import chain_id
from node.admission.authority_folder import ROOT_KEY_NAME
from node.admission.identity import load_key
from node.admission.passphrase import read_passphrase_file
from node.home.genesis_file import load_genesis
from node.home.sign_state import SignStateFile
from node.testnet.folder import AUTHORITY_KEY_FILE_NAME, AUTHORITY_NAME, GRID_KEY_NAME, ISSUER_KEY_NAME
from node.testnet.init import TestnetPlan, initialise_testnet
from tests.support.contracts import Community
from tests.support.ledger import ChainBuilder
from tests.support.ports import free_ports
from tests.support.testnet import Street, write_readings

METER_TABLE: Final = "[meter]"

MEMORY: Final = Path("/dev/shm")
"""Where synced writes and copies cost nothing, on machines that have it."""


@contextmanager
def scratch() -> Iterator[Path]:
    """Gives a folder in memory, or where temporary files lie."""
    directory = Path(tempfile.mkdtemp(prefix="p2pnode-", dir=MEMORY if MEMORY.is_dir() else None))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def make_street(directory: Path, *, nodes: int) -> Street:
    """Makes a testnet in `directory` whose members measure nothing: blocks come from whoever asks for them."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    readings = write_readings(directory.with_name(f"{directory.name}.csv"), households=nodes, hours=1)
    plan = TestnetPlan(readings=readings.path, nodes=nodes, base_port=free_ports(2 * nodes))
    initialise_testnet(directory, plan)  # in this process: the command's imports would take each test a second
    street = Street(directory)
    for node in street.nodes:
        text = node.home.configuration.read_text(encoding="utf-8")
        node.home.configuration.write_text(text[: text.index(METER_TABLE)], encoding="utf-8")
    return street


def community_of(street: Street) -> Community:
    """Returns a testnet's genesis with the keys of its members."""
    genesis = load_genesis(street.node(1).home)
    return Community(
        genesis=genesis,
        node_keys=tuple(node.key for node in street.nodes),
        meter_keys=tuple(load_key(node.home.meter_key) for node in street.nodes),
        chain=chain_id(genesis),
        authority_key=load_key(
            street.directory / AUTHORITY_NAME / ROOT_KEY_NAME,
            passphrase=read_passphrase_file(street.directory / AUTHORITY_KEY_FILE_NAME),
        ),
        issuer_key=load_key(street.directory / ISSUER_KEY_NAME),
        grid_key=load_key(street.directory / GRID_KEY_NAME),
    )


def decide_beforehand(street: Street, make: Callable[[ChainBuilder], None], *, for_nodes: int) -> Height:
    """Gives the first nodes of a testnet that never ran the blocks that `make` appends; returns the tip.

    The members know that they signed up to it, so they sign above it only.
    """
    with scratch() as directory:
        builder = ChainBuilder.create(directory / "ledger", community_of(street))
        make(builder)
        height = builder.ledger.height
        builder.ledger.close()
        for node in street.nodes[:for_nodes]:
            shutil.copytree(directory / "ledger", node.home.ledger)
            node.home.sign_state.unlink()
            SignStateFile.create(node.home.sign_state, encode(fresh_sign_state(Height(height + 1))))
    return height


def append_transfers(builder: ChainBuilder, blocks: int) -> None:
    """Appends blocks of one transfer each, all in one slot."""
    for _ in range(blocks):
        builder.append([builder.transfer(0, 1, 1)], slot=1)
