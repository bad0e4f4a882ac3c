"""What `testnet run` and `testnet status` hear of a home that left: a real API, on a chain that the test decides."""

import socket
from pathlib import Path

from contracts.transactions import SetLeaving
from node.client import open_client
from node.testnet.folder import Testnet
from node.testnet.init import TestnetPlan, initialise_testnet
from node.testnet.run import ask_nodes, take_snapshot
from tests.support.api import running_api
from tests.support.testnet import community_of, write_readings


def asked_at(testnet: Testnet, port: int) -> Testnet:
    """Returns a testnet whose first node answers at a port, and the others nowhere."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nowhere = taken.getsockname()[1]
    ports = [port, *[nowhere] * (len(testnet.nodes) - 1)]
    nodes = [node.model_copy(update={"api_port": at}) for node, at in zip(testnet.nodes, ports, strict=True)]
    return Testnet(testnet.directory, testnet.manifest.model_copy(update={"nodes": tuple(nodes)}))


async def test_who_left_is_not_waited_for_and_no_link_to_it_counts(tmp_path: Path) -> None:
    readings = write_readings(tmp_path / "readings.csv", households=5, hours=1)
    made, _ = initialise_testnet(tmp_path / "testnet", TestnetPlan(readings=readings.path))
    community = community_of(made)
    async with running_api(tmp_path / "ledger", community=community) as api, open_client() as client:
        testnet = asked_at(made, api.api.port)
        api.surroundings.peers = frozenset(community.addresses[1:])
        before = await take_snapshot(testnet, client)
        assert (before.left, before.away) == ((), ("node2", "node3", "node4", "node5"))
        assert before.statuses["node1"].peers_connected == 4
        await api.chain.submit(api.builder.transaction(4, SetLeaving(leaving=True)))
        for _ in range(2):
            api.decide()
        after = await take_snapshot(testnet, client)
        assert (after.left, after.away) == (("node5",), ("node2", "node3", "node4"))
        assert [node.name for node in after.nodes] == ["node1", "node2", "node3", "node4"]
        status = after.statuses["node1"]
        assert (status.peers_connected, status.members) == (3, 4)
        assert (await ask_nodes(testnet, client))[1] == {"node5"}
