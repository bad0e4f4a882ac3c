"""The API of a node whose ledger began at a block: one problem for all that lies below, and the rest as ever."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from consensus.identifiers import Height
from contracts.state import score_key
from ledger.state_keys import state_key_text
from tests.support.api import ApiHarness, running_api
from tests.support.ledger import ChainBuilder
from tests.support.origins import begun_at, follow
from tests.support.stories import StoryChain

FIRST = 6


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[tuple[ApiHarness, StoryChain]]:
    whole = StoryChain(tmp_path / "whole")
    ledger = begun_at(whole.ledger, FIRST, tmp_path / "ledger")
    follow(ledger, whole.ledger)
    builder = ChainBuilder(ledger, whole.community)
    async with running_api(tmp_path / "unused", builder=builder) as harness:
        yield harness, whole
    whole.ledger.close()


async def test_what_lies_below_is_one_problem_with_words_and_no_missing_thing(
    api: tuple[ApiHarness, StoryChain],
) -> None:
    harness, whole = api
    member = whole.community.addresses[1]
    key = state_key_text(score_key(member))
    asked = [
        ("/v1/blocks", {"from": FIRST - 1}),
        (f"/v1/blocks/{FIRST - 1}", {}),
        ("/v1/blocks/1", {}),
        (f"/v1/transactions/{whole.names.spot_transaction.hex()}", {}),
        (f"/v1/transactions/{'00' * 32}", {}),
        (f"/v1/state/{key}", {"height": FIRST - 1}),
        (f"/v1/state/{key}", {"height": 0}),
        (f"/v1/trades/{whole.names.spot.hex()}", {}),
        (f"/v1/trades/{'00' * 32}", {}),
        (f"/v1/trades/{whole.names.spot.hex()}/receipt", {}),
        (f"/v1/statements/{member.hex()}", {"month": "2016-06"}),
    ]
    for path, parameters in asked:
        problem = await harness.get(path, expect=503, **parameters)
        assert problem["reason"] == "blocks_not_here", path
        assert f"blocks below {FIRST} are not here" in problem["detail"]
        assert "A node that has the whole chain can tell the rest" in problem["detail"]


async def test_events_from_below_are_refused_before_the_socket_opens(api: tuple[ApiHarness, StoryChain]) -> None:
    harness, _ = api
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await harness.client.ws_connect("/v1/events", params={"from": FIRST - 1})
    assert refused.value.status == 503
    async with harness.client.ws_connect("/v1/events", params={"from": FIRST}) as socket:
        assert (await socket.receive_json())["height"] == FIRST


async def test_the_rest_is_as_ever_and_says_from_where(api: tuple[ApiHarness, StoryChain]) -> None:
    harness, whole = api
    tip = whole.ledger.height
    status = await harness.get("/v1/status")
    assert (status["first_height"], status["height"], status["conserved"]) == (FIRST, tip, True)
    blocks = await harness.get("/v1/blocks")
    assert [block["height"] for block in blocks["blocks"]] == list(range(FIRST, tip + 1))
    assert blocks["first_height"] == FIRST
    assert (await harness.get(f"/v1/blocks/{FIRST}"))["header"]["height"] == FIRST
    shown = await harness.get(f"/v1/transactions/{whole.names.transfer.hex()}")
    assert shown["status"] == "executed"
    key = state_key_text(score_key(whole.community.addresses[1]))
    history = await harness.get(f"/v1/state/{key}/history")
    right = [
        height for height, _ in whole.ledger.history(score_key(whole.community.addresses[1]), above=Height(FIRST))
    ]
    assert [version["height"] for version in history["versions"]] == [FIRST, *right]
    assert history["first_height"] == FIRST
    for path in ("/v1/members", "/v1/members/changes", "/v1/scores", "/v1/evidence", "/v1/offices", "/v1/rules"):
        await harness.get(path)
    async with harness.client.get("/metrics") as reply:
        assert f"p2pnode_first_height {FIRST}.0" in (await reply.text()).splitlines()


async def test_it_takes_transactions_and_goes_on(api: tuple[ApiHarness, StoryChain]) -> None:
    harness, whole = api
    last = whole.ledger.last_nonce(whole.community.addresses[0])
    assert last is not None
    harness.builder.nonces = [last + 10] * 4
    raw = harness.builder.transfer(0, 1, 7)
    await harness.post({"transaction": raw.hex()})
    harness.decide()
    assert (await harness.get("/v1/status"))["height"] == whole.ledger.height + 1
