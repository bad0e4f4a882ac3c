"""What one request reads and answers is bounded, however long the chain is and whatever stands on it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from consensus.identifiers import Height
from contracts.transactions import trade_id
from ledger import store
from node.api.context import ApiLimits
from node.stories import slices
from node.stories.slices import Progress, Slices, between_turns
from node.stories.trade_search import DECLINED_KEPT_MAX
from tests.support.api import ApiHarness, running_api
from tests.support.contracts import resign, seeded_key, signed_trade

REPEATS = 10
BLOCKS = 5


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiHarness]:
    async with running_api(tmp_path, limits=ApiLimits(long_reads_waiting_max=2)) as harness:
        harness.builder.append_trading_hour()
        yield harness


async def test_contract_that_is_declined_again_and_again_fills_no_reply(api: ApiHarness) -> None:
    contract = signed_trade(api.community, 0, 2, 50, offer_counter=7)
    forged = resign(contract, seller=seeded_key("stranger", 0))
    for _ in range(BLOCKS):
        api.builder.append([api.builder.transaction(3, forged) for _ in range(REPEATS)])
    api.builder.append([api.builder.transaction(2, contract)])
    api.builder.append([api.builder.transaction(3, forged) for _ in range(REPEATS)])
    story = await api.get(f"/v1/trades/{trade_id(contract.terms).hex()}")
    outcomes = [attempt["status"] for attempt in story["attempts"]]
    assert (story["status"], outcomes.count("executed"), len(outcomes)) == ("completed", 1, DECLINED_KEPT_MAX + 1)
    assert story["attempts_left_out"] == (BLOCKS + 1) * REPEATS - DECLINED_KEPT_MAX
    places = [(attempt["height"], attempt["index"]) for attempt in story["attempts"]]
    assert places == sorted(places)
    assert places[-1] == (api.ledger.height, REPEATS - 1)
    assert len(story["blocks"]) <= DECLINED_KEPT_MAX + 2


@pytest.mark.parametrize("path", ["/v1/state/totals/history", "/v1/scores/home1/history"])
async def test_page_of_a_history_reads_only_its_versions(
    api: ApiHarness, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    for hour in range(1, 30):
        api.builder.append_trading_hour(hour)
    read: list[bytes] = []
    height_from = store.height_from

    def noting(stored: bytes) -> Height:
        read.append(stored)
        return height_from(stored)

    monkeypatch.setattr(store, "height_from", noting)
    first = await api.get(path, limit=1)
    first_cost = len(read)
    read.clear()
    page = await api.get(path, limit=1, after=api.ledger.height - 8)
    assert [version["height"] > api.ledger.height - 8 for version in page["versions"]] == [True]
    assert first["versions"][0]["height"] == 0
    assert len(read) <= first_cost + 20


async def test_long_reads_are_made_one_at_a_time_and_few_wait(api: ApiHarness) -> None:
    context = api.api.context
    paths = ["/v1/scores/home1/history", "/v1/trades"]
    async with context.long_reads:
        waiting = [asyncio.create_task(api.get(path)) for path in paths]
        async with asyncio.timeout(10):
            while context.long_reads_waiting < len(paths):  # noqa: ASYNC110 - waiting announces nothing
                await asyncio.sleep(0)
        async with api.client.get("/v1/statements/home1?month=2016-06") as reply:
            problem = await reply.json(content_type=None)
            assert (reply.status, problem["reason"]) == (503, "too_many_reads")
            assert int(reply.headers["Retry-After"]) >= 1
        await api.get("/v1/status")
    await asyncio.gather(*waiting)
    assert context.long_reads_waiting == 0
    await api.get("/v1/statements/home1", month="2016-06")


async def test_long_read_gives_way_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []

    def work() -> Slices[str]:
        for step in range(3):
            turns.append("read")
            yield Progress(step, 3)
        return "found"

    async def other() -> None:
        for _ in range(2):
            turns.append("other")
            await asyncio.sleep(0)

    monkeypatch.setattr(slices, "SLICE_S", 0.0)
    found, _ = await asyncio.gather(between_turns(work()), other())
    assert (found, turns) == ("found", ["read", "other", "read", "other", "read"])


@pytest.mark.parametrize("field", ["transaction", "transactions"])
async def test_text_longer_than_any_transaction_is_not_decoded(api: ApiHarness, field: str) -> None:
    text = "0" * 8_193
    if field == "transaction":
        problem = await api.post({field: text}, expect=413)
    else:
        problem = (await api.post({field: [text]}, expect=200))["results"][0]["problem"]
    assert problem["reason"] == "too_large"
    assert field in problem["detail"]
