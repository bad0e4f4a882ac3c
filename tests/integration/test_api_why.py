"""`GET /v1/why` and the figures of the same explanation at `/metrics`."""

from pathlib import Path

import aiohttp

from consensus.identifiers import Height
from node.replies.why import WhyReply
from tests.support.api import running_api
from tests.support.explaining import explained, stalled_view_change


async def test_a_quiet_node_has_nothing_to_do(tmp_path: Path) -> None:
    async with running_api(tmp_path) as harness:
        harness.surroundings.peers = frozenset(harness.community.addresses[1:])
        found = WhyReply.model_validate(await harness.get("/v1/why"))
        assert (found.name, found.verdict.value) == ("home1", "nothing_to_do")
        assert found.sentence == "Nothing waits for a decision at height 1."
        assert [member.name for member in found.members] == ["home1", "home2", "home3", "home4"]
        harness.decide()
        assert (await harness.get("/v1/why"))["height"] == Height(2)


async def test_missing_members_are_named_as_in_genesis(tmp_path: Path) -> None:
    async with running_api(tmp_path) as harness:
        harness.surroundings.peers = frozenset(harness.community.addresses[1:2])
        found = await harness.get("/v1/why")
        assert found["verdict"] == "too_few_members"
        assert (found["members_total"], found["fault_bound"], found["quorum"]) == (4, 1, 3)
        assert "home3 (not connected, never heard) and home4 (not connected, never heard)" in found["sentence"]
        assert found["leader"] == harness.community.addresses[0].hex()


async def test_what_is_wrong_with_the_links_is_told(tmp_path: Path) -> None:
    async with running_api(tmp_path) as harness:
        assert (await harness.get("/v1/why"))["notices"] == []
        harness.surroundings.notices = ("Two processes use the key of home3: one of them must stop.",)
        assert (await harness.get("/v1/why"))["notices"] == list(harness.surroundings.notices)


async def test_metrics_tell_the_same(tmp_path: Path) -> None:
    async with running_api(tmp_path) as harness:
        quiet = await metrics_of(harness.url, harness.client)
        assert (quiet["p2pnode_undecided_seconds"], quiet["p2pnode_missing_votes"]) == (0, 0)
        harness.surroundings.explanation = explained(stalled_view_change(), silent=(3,))
        stalled = await metrics_of(harness.url, harness.client)
        assert stalled["p2pnode_undecided_seconds"] == 3
        assert stalled["p2pnode_missing_votes"] == 2
        assert (stalled["p2pnode_members_reachable"], stalled["p2pnode_quorum"]) == (3, 3)


async def metrics_of(url: str, client: aiohttp.ClientSession) -> dict[str, float]:
    async with client.get(f"{url}/metrics") as reply:
        lines = (await reply.text()).splitlines()
    pairs = [line.split() for line in lines if not line.startswith("#") and "{" not in line]
    return {name: float(value) for name, value in pairs}


async def test_a_parameter_is_refused(tmp_path: Path) -> None:
    async with running_api(tmp_path) as harness:
        assert (await harness.get("/v1/why", expect=400, since="1"))["reason"] == "invalid_parameter"
