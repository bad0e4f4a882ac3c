"""A home takes the state from real daemons over the mesh and begins a ledger: its daemon goes on from there."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from consensus.codec import encode
from consensus.cryptography import address_of
from consensus.events import fresh_sign_state
from consensus.identifiers import Address, Height
from ledger.ledger import Ledger
from ledger.state_copy import SNAPSHOT_INTERVAL
from ledger.state_intake import StateIntake
from node.admission.endpoint import Endpoint
from node.admission.identity import load_identity
from node.home.configuration import load_configuration
from node.home.genesis_file import load_genesis
from node.home.sign_state import SignStateFile
from node.mesh.endpoints import endpoints_of
from node.mesh.mesh import Mesh
from node.mesh.messages import PeerMessage, SnapshotAnswer
from node.metrics.counters import NodeMetrics
from node.snapshots.intake import IntakeLinks, SnapshotIntake
from tests.support.long_chain import append_transfers, decide_beforehand, make_street
from tests.support.testnet import Node, Street, cleaned_up, daemon, wait_until

TIP = SNAPSHOT_INTERVAL + 6
LAST = 4
"""The home that joins."""

COPIED = re.compile(r"the state is copied for those who join")


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    target = tmp_path / "testnet"
    made = make_street(target, nodes=LAST)
    decide_beforehand(made, lambda builder: append_transfers(builder, TIP), for_nodes=LAST - 1)
    with cleaned_up(target):
        yield Street(target)


def height_of(node: Node) -> int:
    status = node.status()
    return -1 if status is None else int(status["height"])


async def taken_in(node: Node, directory: Path) -> StateIntake:
    """Takes the state in with the keys of a home whose daemon does not run."""
    configuration = load_configuration(node.home.configuration)
    genesis, metrics = load_genesis(node.home), NodeMetrics()
    members = {member.node_key: address_of(member.node_key) for member in genesis.members}
    intake: SnapshotIntake | None = None

    def receive(sender: Address, message: PeerMessage) -> None:
        if isinstance(message, SnapshotAnswer) and intake is not None:
            intake.on_answer(sender, message)

    mesh = Mesh(
        identity=load_identity(node.home),
        peers=endpoints_of(configuration.p2p.peers, ()),
        places_of=lambda peer: (Endpoint(str(peer.host), int(peer.port or 0)),),
        member_of=members.get,
        listen_host=configuration.p2p.host,
        listen_port=configuration.p2p.port,
        handler=receive,
        on_link=lambda _: None,
        metrics=metrics,
    )
    refused: list[str] = []
    links = IntakeLinks(send=mesh.send, connected=mesh.connected, refused=lambda reason, _: refused.append(reason))
    await mesh.start()
    try:
        intake = SnapshotIntake(genesis=genesis, directory=directory, links=links)
        async with asyncio.timeout(120):
            found = await intake.run()
    finally:
        await mesh.stop()
    assert refused == []
    assert isinstance(found, StateIntake), found
    return found


async def test_a_home_takes_the_state_from_daemons_and_goes_on_from_it(street: Street, tmp_path: Path) -> None:
    joining, others = street.node(LAST), street.nodes[: LAST - 1]
    genesis = load_genesis(joining.home)
    with daemon(others[0]) as first, daemon(others[1]) as second, daemon(others[2]) as third:
        running = (first, second, third)
        wait_until(lambda: all(COPIED.search(one.errors()) for one in running), "all have copied the state")
        state = await taken_in(joining, tmp_path / "intake")
        assert state.height == SNAPSHOT_INTERVAL
        ledger = Ledger.create_at(joining.home.ledger, genesis, state.origin, state.entries())
        assert (ledger.height, ledger.state_root) == (SNAPSHOT_INTERVAL, state.root)
        ledger.close()
        state.close()
        joining.home.sign_state.unlink()
        SignStateFile.create(joining.home.sign_state, encode(fresh_sign_state(Height(SNAPSHOT_INTERVAL + 1))))
        with daemon(joining):
            wait_until(lambda: height_of(joining) >= TIP, "it has the blocks above the state")
