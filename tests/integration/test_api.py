"""Every documented route over real HTTP on a real ledger: good input, bad input, limits."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request
from pydantic import TypeAdapter

from consensus.codec import decode, encode
from consensus.eras import Eras
from consensus.identifiers import Height
from consensus.membership import Membership
from contracts.state import TOTALS_KEY, account_key, applicant_key, trade_key
from contracts.transactions import ReportMisconduct, transaction_digest
from ledger.block import BlockHeader, block_digest
from ledger.proofs import ReceiptProof, StateProof, receipt_proof_holds, state_proof_holds
from node.api.context import ApiLimits
from node.api.node import show_openapi
from node.api.routes import ROUTES, Route
from node.api.server import Api
from node.household.agent import AgentProgress
from node.household.household import Progress
from node.metrics.chain_collector import chain_metric_families
from node.proofs.receipt_check import check_receipt_file
from node.proofs.signed_file import file_text
from node.replies.node import Problem
from node.replies.parameters import NoParameters
from node.stories.misconduct import list_misconduct
from tests.support.api import ApiHarness, exchange, running_api
from tests.support.contracts import make_genesis
from tests.support.joining import newcomer, request_of
from tests.support.names import names_in
from tests.support.stories import two_votes

HOURS = 3


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiHarness]:
    """An API over three hours of trading: six blocks, three trades."""
    async with running_api(tmp_path, limits=ApiLimits(connections_max=20, body_deadline_s=0.2)) as harness:
        for hour in range(HOURS):
            harness.builder.append_trading_hour(hour)
        yield harness


def membership(api: ApiHarness) -> Membership:
    return Membership.of_keys([key.public_key for key in api.community.node_keys])


def reported(api: ApiHarness) -> str:
    """Returns the id of a misconduct that the chain has."""
    known = list_misconduct(api.ledger, names_in(api.ledger)).misconducts
    if not known:
        report = ReportMisconduct(evidence=two_votes(api.community, 3))
        api.builder.append([api.builder.transaction(1, report)])
        known = list_misconduct(api.ledger, names_in(api.ledger)).misconducts
    return known[0].misconduct


def asked_to_join(api: ApiHarness) -> str:
    """Returns the address of a home whose application is open."""
    home = newcomer(1)
    if api.ledger.get(applicant_key(home.address)) is None:
        api.builder.append([api.builder.transaction(1, request_of(api.community, home))])
    return home.address.hex()


def good_paths(api: ApiHarness) -> dict[str, str]:
    """One request that succeeds for every GET route of the table."""
    transaction = transaction_digest(api.builder.ledger.block(Height(2)).transactions[0]).hex()  # type: ignore[union-attr]
    account = api.community.addresses[1].hex()
    return {
        "showStatus": "/v1/status",
        "showWhy": "/v1/why",
        "listBlocks": "/v1/blocks?from=2&limit=3",
        "showBlock": "/v1/blocks/2",
        "showCheckpoint": "/v1/checkpoint",
        "showTransaction": f"/v1/transactions/{transaction}",
        "showState": f"/v1/state/account:{account}?proof=1",
        "showHistory": f"/v1/state/account:{account}/history?limit=2",
        "listMembers": "/v1/members",
        "showMember": "/v1/members/home2",
        "listOffices": "/v1/offices",
        "showRules": "/v1/rules",
        "listMemberChanges": "/v1/members/changes",
        "listApplications": "/v1/applications",
        "showPanel": f"/v1/applications/{asked_to_join(api)}/panel",
        "listIdentities": "/v1/identities",
        "showAccount": f"/v1/accounts/{account}",
        "listOwnTransactions": f"/v1/accounts/{account}/transactions",
        "listTrades": "/v1/trades?limit=2&order=newest",
        "listScores": "/v1/scores",
        "showTrade": f"/v1/trades/{transaction[:8]}",
        "showReceipt": f"/v1/trades/{transaction}/receipt",
        "showScoreHistory": "/v1/scores/home2/history?limit=2",
        "showStatement": f"/v1/statements/{account}?month=2016-06",
        "listEvidence": "/v1/evidence",
        "showEvidence": f"/v1/evidence/{reported(api)}",
        "showOpenapi": "/v1/openapi.json",
        "showDocs": "/docs",
        "showHealth": "/healthz",
        "showReadiness": "/readyz",
        "showMetrics": "/metrics",
    }


@pytest.mark.parametrize(
    "route",
    [route for route in ROUTES if route.method == "GET" and 101 not in route.replies],
    ids=lambda r: r.operation,
)
async def test_every_documented_get_answers_as_documented(api: ApiHarness, route: Route) -> None:
    api.surroundings.peers = frozenset(api.community.addresses)
    async with api.client.get(good_paths(api)[route.operation]) as reply:
        assert reply.status == 200, await reply.text()
        documented = route.replies[200]
        assert reply.content_type == documented.media_type
        if documented.models:
            (model,) = documented.models
            TypeAdapter(model).validate_json(await reply.read())


HASH = "ab" * 32
BAD_REQUESTS = [
    ("GET", "/", 404, "unknown_route"),
    ("GET", "/v1/nothing", 404, "unknown_route"),
    ("GET", "/v1/blocks/", 404, "unknown_route"),
    ("DELETE", "/v1/blocks/1", 405, "method_not_allowed"),
    ("POST", "/v1/status", 405, "method_not_allowed"),
    ("GET", "/v1/transactions", 405, "method_not_allowed"),
    ("GET", "/v1/blocks/-1", 400, "invalid_parameter"),
    ("GET", "/v1/blocks/0", 400, "invalid_parameter"),
    ("GET", "/v1/blocks/one", 400, "invalid_parameter"),
    ("GET", "/v1/blocks/1.5", 400, "invalid_parameter"),
    ("GET", f"/v1/blocks/{2**63}", 400, "invalid_parameter"),
    ("GET", f"/v1/blocks/{2**63 - 1}", 404, "unknown_block"),
    ("GET", "/v1/blocks/7", 404, "unknown_block"),
    ("GET", "/v1/blocks?limit=0", 400, "invalid_parameter"),
    ("GET", "/v1/blocks?limit=201", 400, "invalid_parameter"),
    ("GET", "/v1/blocks?from=-1", 400, "invalid_parameter"),
    ("GET", "/v1/blocks?form=1", 400, "invalid_parameter"),
    ("GET", "/v1/blocks?from=1&from=2", 400, "invalid_parameter"),
    ("GET", "/v1/blocks?from_height=1", 400, "invalid_parameter"),
    ("GET", f"/v1/transactions/{HASH[:-2]}", 400, "invalid_parameter"),
    ("GET", f"/v1/transactions/{HASH}00", 400, "invalid_parameter"),
    ("GET", f"/v1/transactions/{'zz' * 32}", 400, "invalid_parameter"),
    ("GET", f"/v1/transactions/{HASH}", 404, "unknown_transaction"),
    ("GET", f"/v1/accounts/{HASH}", 404, "unknown_account"),
    ("GET", "/v1/accounts/home1", 400, "invalid_parameter"),
    ("GET", f"/v1/state/account:{HASH}", 404, "unknown_key"),
    ("GET", f"/v1/state/account:{HASH}/history", 404, "unknown_key"),
    ("GET", "/v1/state/account:12", 400, "invalid_parameter"),
    ("GET", "/v1/state/treasure:12", 400, "invalid_parameter"),
    ("GET", f"/v1/state/{'x' * 301}", 400, "invalid_parameter"),
    ("GET", "/v1/state/interval:2016-06-01", 400, "invalid_parameter"),
    ("GET", "/v1/state/totals?height=-1", 400, "invalid_parameter"),
    ("GET", "/v1/state/totals?height=7", 404, "unknown_block"),
    ("GET", "/v1/state/totals?height=1&proof=1", 400, "invalid_parameter"),
    ("GET", "/v1/state/totals?proof=perhaps", 400, "invalid_parameter"),
    ("GET", "/v1/state/totals/history?limit=501", 400, "invalid_parameter"),
    ("GET", "/v1/trades?limit=1001", 400, "invalid_parameter"),
    ("GET", "/v1/trades?after=3", 400, "invalid_parameter"),
    ("GET", "/v1/trades?order=sideways", 400, "invalid_parameter"),
    ("GET", f"/v1/trades/{HASH}", 404, "unknown_trade"),
    ("GET", f"/v1/trades/{HASH[:8]}", 404, "unknown_trade"),
    ("GET", f"/v1/trades/{HASH[:7]}", 400, "invalid_parameter"),
    ("GET", f"/v1/trades/{HASH}0", 400, "invalid_parameter"),
    ("GET", f"/v1/trades/{HASH}/receipt", 404, "unknown_trade"),
    ("GET", "/v1/scores/nobody/history", 404, "unknown_member"),
    ("GET", "/v1/scores/home1/history?limit=501", 400, "invalid_parameter"),
    ("GET", f"/v1/evidence/{HASH}", 404, "unknown_evidence"),
    ("GET", "/v1/evidence/home1", 400, "invalid_parameter"),
    ("GET", "/v1/statements/home1", 400, "invalid_parameter"),
    ("GET", "/v1/statements/home1?month=2016-13", 400, "invalid_parameter"),
    ("GET", "/v1/statements/home1?month=2016-07", 404, "nothing_metered"),
    ("GET", "/v1/statements/home9?month=2016-06", 404, "unknown_member"),
    ("GET", "/v1/members?x=1", 400, "invalid_parameter"),
    ("GET", "/v1/members/home9", 404, "unknown_member"),
    ("GET", "/v1/events", 426, "websocket_expected"),
    ("GET", "/v1/events?from=0", 400, "invalid_parameter"),
    ("GET", "/readyz", 503, "not_ready"),
]


@pytest.mark.parametrize(("method", "path", "status", "reason"), BAD_REQUESTS, ids=lambda item: str(item)[:48])
async def test_bad_requests_get_a_documented_problem(
    api: ApiHarness, method: str, path: str, status: int, reason: str
) -> None:
    async with api.client.request(method, path) as reply:
        assert reply.content_type == "application/problem+json"
        problem = Problem.model_validate_json(await reply.read())
        assert (reply.status, problem.status, problem.reason) == (status, status, reason)
        if status == 405:
            assert set(reply.headers["Allow"].split(", ")) <= {"GET", "HEAD", "POST"}
        if status == 503:
            assert int(reply.headers["Retry-After"]) >= 1
    assert api.ledger.height == 2 * HOURS


async def test_problem_names_each_wrong_parameter(api: ApiHarness) -> None:
    problem = await api.get("/v1/blocks", expect=400, limit=0, **{"from": -3})
    assert {fault["location"] for fault in problem["errors"]} == {"from", "limit"}


async def test_expectation_that_is_not_supported(api: ApiHarness) -> None:
    async with api.client.get("/v1/status", headers={"Expect": "miracles"}) as reply:
        assert (reply.status, (await reply.json(content_type=None))["reason"]) == (417, "expectation_failed")


async def test_page_of_another_origin_is_refused_and_the_own_is_not(api: ApiHarness) -> None:
    async with api.client.get("/v1/status", headers={"Origin": "https://elsewhere.example"}) as reply:
        assert (reply.status, (await reply.json(content_type=None))["reason"]) == (403, "foreign_origin")
    async with api.client.get("/v1/status", headers={"Origin": api.url}) as reply:
        assert reply.status == 200


# --- contents ----------------------------------------------------------------------------------------------


async def test_status(api: ApiHarness) -> None:
    api.surroundings.meter = AgentProgress(household_id="a", hours=Progress(total=3, published=2, settled=1))
    status = await api.get("/v1/status")
    assert status["height"] == 6
    assert status["chain"] == api.community.chain.hex()
    assert status["tip"] == api.ledger.tip.hex()
    assert status["state_root"] == api.ledger.state_root.hex()
    assert status["members"] == 4
    assert status["meter"] == {
        "household_id": "a",
        "intervals_total": 3,
        "intervals_published": 2,
        "intervals_settled": 1,
        "finished": False,
    }
    assert status["totals"]["trades_completed"] == HOURS
    assert status["totals"]["bought_wh"] == 100 * HOURS
    assert status["conserved"] is True
    assert status["commit_latency_ms"] == {"p50": None, "p95": None, "count": 0}


async def test_blocks_page_through_the_chain(api: ApiHarness) -> None:
    first = await api.get("/v1/blocks", limit=4, **{"from": 1})
    rest = await api.get("/v1/blocks", limit=4, **{"from": first["next_from"]})
    assert [block["height"] for block in first["blocks"] + rest["blocks"]] == [1, 2, 3, 4, 5, 6]
    assert (first["next_from"], rest["next_from"]) == (5, None)
    newest = await api.get("/v1/blocks", limit=2)
    assert [block["height"] for block in newest["blocks"]] == [5, 6]
    assert await api.get("/v1/blocks", **{"from": 7}) == {"blocks": [], "next_from": None, "first_height": 1}


async def test_block_shows_its_leader_transactions_and_certificate(api: ApiHarness) -> None:
    block = await api.get("/v1/blocks/2")
    addresses = [address.hex() for address in api.community.addresses]
    assert block["leader"] == block["expected_leader"] == addresses[block["slot"] % 4]
    (transaction,) = block["transactions"]
    assert transaction["transaction"]["action"]["kind"] == "submit-trade"
    assert transaction["transaction"]["action"]["terms"]["energy_wh"] == 100
    assert transaction["receipt"]["status"] == "executed"
    assert len(block["postings"]) == 8
    header = decode(bytes.fromhex(block["header_encoded"]), BlockHeader)
    assert block_digest(header).hex() == block["digest"] == block["certificate"]["block"]
    assert len(block["certificate"]["endorsements"]) == membership(api).quorum


async def test_large_block_is_rendered_as_a_small_one_is(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        api.builder.append([api.builder.transfer(0, 1, amount) for amount in range(1, 101)])
        block = await api.get("/v1/blocks/1")
        amounts = [entry["transaction"]["action"]["amount_micro"] for entry in block["transactions"]]
        assert amounts == list(range(1, 101))


async def test_wallet_checks_a_receipt_alone(api: ApiHarness) -> None:
    raw = api.ledger.block(Height(4)).transactions[0]  # type: ignore[union-attr]
    reply = await api.get(f"/v1/transactions/{transaction_digest(raw).hex()}")
    assert bytes.fromhex(reply["transaction_encoded"]) == raw
    proof = decode(bytes.fromhex(reply["proof"]["encoded"]), ReceiptProof)
    assert receipt_proof_holds(proof, membership=membership(api), eras=Eras(api.community.chain))
    assert proof.receipt.transaction == transaction_digest(raw)
    assert reply["header_encoded"] == encode(proof.header).hex()
    assert reply["certificate_encoded"] == encode(proof.certificate).hex()
    assert reply["proof"]["receipt_encoded"] == encode(proof.receipt).hex()
    assert (reply["status"], reply["height"], reply["index"]) == ("executed", 4, 0)


async def test_receipt_is_a_file_that_proves_itself(api: ApiHarness) -> None:
    story = await api.get(f"/v1/trades/{(await api.get('/v1/trades'))['trades'][0]['trade']}")
    receipt = await api.get(f"/v1/trades/{story['trade'][:8]}/receipt")
    lines = check_receipt_file(file_text(receipt).encode(), api.community.genesis)
    assert lines[-1] == f"record: the contract is {story['status']} after block {api.ledger.height}"
    assert receipt["about"]["exported_by"] == api.community.addresses[0].hex()


async def test_state_now_then_and_with_proof(api: ApiHarness) -> None:
    key = account_key(api.community.addresses[1])
    text = f"account:{api.community.addresses[1].hex()}"
    now = await api.get(f"/v1/state/{text}", proof=1)
    assert now["record"]["kind"] == "account"
    assert now["record"]["encoded"] == api.ledger.get(key).hex()  # type: ignore[union-attr]
    proof = decode(bytes.fromhex(now["proof"]["proof_encoded"]), StateProof)
    assert state_proof_holds(proof, membership=membership(api), eras=Eras(api.community.chain))
    assert now["proof"]["state_root"] == api.ledger.state_root.hex()
    genesis = await api.get(f"/v1/state/{text}", height=0)
    assert genesis["record"]["fields"] == {"available_micro": 10_000_000_000, "held_micro": 0, "nonce": -1}


async def test_absence_is_proven(api: ApiHarness) -> None:
    reply = await api.get(f"/v1/state/trade:{HASH}", proof="true")
    assert reply["record"] is None
    proof = decode(bytes.fromhex(reply["proof"]["proof_encoded"]), StateProof)
    assert proof.value is None
    assert state_proof_holds(proof, membership=membership(api), eras=Eras(api.community.chain))


async def test_nothing_is_proven_before_the_first_block(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        assert (await api.get("/v1/state/totals", expect=404, proof=1))["reason"] == "unknown_block"
        assert (await api.get("/v1/state/totals"))["height"] == 0
        assert await api.get("/v1/blocks") == {"blocks": [], "next_from": None, "first_height": 1}
        assert await api.get("/v1/trades") == {"trades": [], "next_after": None, "first_height": 1}


async def test_history_pages_through_all_versions(api: ApiHarness) -> None:
    expected = [(height, value.hex()) for height, value in api.ledger.history(TOTALS_KEY)]
    assert len(expected) > 4
    found: list[tuple[int, str]] = []
    page: dict[str, Any] = await api.get("/v1/state/totals/history", limit=2)
    while True:
        found += [(version["height"], version["record"]["encoded"]) for version in page["versions"]]
        if page["next_after"] is None:
            break
        page = await api.get("/v1/state/totals/history", limit=2, after=page["next_after"])
    assert found == expected


@pytest.mark.parametrize("order", ["oldest", "newest"])
@pytest.mark.parametrize("limit", [1, 2, 3, 10])
async def test_trades_page_through_the_chain(api: ApiHarness, order: str, limit: int) -> None:
    heights: list[int] = []
    page: dict[str, Any] = await api.get("/v1/trades", limit=limit, order=order)
    for _ in range(HOURS + 1):
        heights += [trade["height"] for trade in page["trades"]]
        assert len(page["trades"]) <= limit
        if page["next_after"] is None:
            break
        page = await api.get("/v1/trades", limit=limit, order=order, after=page["next_after"])
    assert page["next_after"] is None
    assert heights == ([2, 4, 6] if order == "oldest" else [6, 4, 2])


async def test_trade_names_its_contract_and_transaction(api: ApiHarness) -> None:
    trade = (await api.get("/v1/trades", limit=1))["trades"][0]
    assert api.ledger.get(trade_key(bytes.fromhex(trade["trade"]))) is not None  # type: ignore[arg-type]
    transaction = await api.get(f"/v1/transactions/{trade['transaction']}")
    assert (transaction["height"], transaction["index"]) == (trade["height"], trade["index"])
    assert (trade["energy_wh"], trade["amount_micro"]) == (100, 20_000)
    assert trade["seller"] == api.community.addresses[0].hex()


async def test_members_accounts_and_scores(api: ApiHarness) -> None:
    api.surroundings.peers = frozenset(api.community.addresses[1:3])
    members = await api.get("/v1/members")
    assert [member["name"] for member in members["members"]] == ["home1", "home2", "home3", "home4"]
    assert [member["connected"] for member in members["members"]] == [True, True, True, False]
    buyer = await api.get(f"/v1/accounts/{api.community.addresses[1].hex().upper()}")
    assert buyer["available_micro"] == 10_000_000_000 - HOURS * 20_000
    assert buyer["nonce"] == api.builder.nonces[1]
    scores = {score["name"]: score for score in (await api.get("/v1/scores"))["scores"]}
    assert scores["home1"]["score_millionths"] > 1_000_000
    assert scores["home4"]["cause"]


async def test_ready_with_a_quorum_and_not_with_one_less(api: ApiHarness) -> None:
    api.surroundings.peers = frozenset(api.community.addresses[1:2])
    await api.get("/readyz", expect=503)
    api.surroundings.peers = frozenset(api.community.addresses[1:3])
    assert (await api.get("/readyz"))["members_reachable"] == membership(api).quorum == 3


async def test_strangers_do_not_make_a_node_ready(api: ApiHarness) -> None:
    api.surroundings.peers = frozenset(make_genesis(9).addresses[4:])
    await api.get("/readyz", expect=503)


async def test_halted_node_is_neither_healthy_nor_ready_but_answers(api: ApiHarness) -> None:
    api.surroundings.peers = frozenset(api.community.addresses)
    api.surroundings.halted = "state root differs from the quorum's"
    for path in ("/healthz", "/readyz"):
        problem = await api.get(path, expect=503)
        assert (problem["reason"], problem["detail"]) == ("halted", api.surroundings.halted)
    await api.get("/v1/status")


async def test_metrics_show_the_chain(api: ApiHarness) -> None:
    await api.get("/v1/status")
    async with api.client.get("/metrics") as reply:
        lines = (await reply.text()).splitlines()
    described = {family.name for family in chain_metric_families()}
    assert described <= {line.split()[2].removesuffix("_total") for line in lines if line.startswith("# TYPE ")}
    assert "p2pnode_height 6.0" in lines
    assert "p2pnode_trades_completed_total 3.0" in lines
    assert 'p2pnode_energy_wh{state="credited"} 900.0' in lines
    assert 'p2pnode_deficit_wh{state="bought"} 300.0' in lines
    assert 'p2pnode_tokens{state="issued"} 40000.0' in lines
    assert 'p2pnode_tokens{state="traded"} 0.06' in lines
    assert f'p2pnode_q_score{{member="{api.community.addresses[3].hex()[:16]}"}}' in "\n".join(lines)
    assert 'p2pnode_http_requests_total{method="GET",route="/v1/status",status="200"} 1.0' in lines


async def test_unknown_paths_share_one_label(api: ApiHarness) -> None:
    for number in range(3):
        await api.get(f"/v1/{number}", expect=404)
    async with api.client.get("/metrics") as reply:
        text = await reply.text()
    assert 'p2pnode_http_requests_total{method="GET",route="unknown",status="404"} 3.0' in text


async def test_served_openapi_is_the_table(api: ApiHarness) -> None:
    document = await api.get("/v1/openapi.json")
    assert set(document["paths"]) == {route.path for route in ROUTES}


async def test_openapi_is_made_once_for_all_that_ask_first(api: ApiHarness) -> None:
    context = api.api.context
    makers = []
    make = context.make_openapi

    async def counted() -> bytes:
        makers.append(asyncio.current_task())
        return await make()

    context.make_openapi = counted
    first, *others = await asyncio.gather(*(api.get("/v1/openapi.json") for _ in range(8)))
    assert all(document == first for document in others)
    assert len(makers) == 1


async def test_who_goes_away_while_openapi_is_made_ends_it_for_nobody(api: ApiHarness) -> None:
    request = make_mocked_request("GET", "/v1/openapi.json")
    leaving = asyncio.ensure_future(show_openapi(api.api.context, NoParameters(), request))
    await asyncio.sleep(0)  # until it waits
    leaving.cancel()
    assert set((await api.get("/v1/openapi.json"))["paths"]) == {route.path for route in ROUTES}


# --- limits and broken clients -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "status", "reason"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not http at all\r\n\r\n", 400, "bad_request"),
        (b"GET /v1/status HTTP/9.9\r\n\r\n", 400, "bad_request"),
        (b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 10_000 + b"\r\n\r\n", 431, "header_too_large"),
        (b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431, "header_too_large"),
        (b"POST /v1/transactions HTTP/1.1\r\nHost: localhost\r\nContent-Length: ten\r\n\r\n", 400, "bad_request"),
    ],
    ids=["tls", "version", "header", "path", "length"],
)  # fmt: skip
async def test_broken_http_is_answered_with_a_problem(api: ApiHarness, sent: bytes, status: int, reason: str) -> None:
    answered, headers, body = await exchange(api, sent)
    assert (answered, json.loads(body)["reason"]) == (status, reason)
    assert headers["content-type"].startswith("application/problem+json")
    assert b"Traceback" not in body
    await api.get("/v1/status")


async def test_body_that_does_not_arrive_ends_at_the_deadline(api: ApiHarness) -> None:
    head = b"POST /v1/transactions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    status, _, body = await exchange(api, head + b'Content-Length: 100\r\n\r\n{"tra')
    assert (status, json.loads(body)["reason"]) == (408, "request_timeout")


async def test_connections_beyond_the_limit_get_a_problem_and_room_comes_back(api: ApiHarness) -> None:
    await api.get("/v1/status")  # the client keeps this connection
    opened = [await asyncio.open_connection("127.0.0.1", api.api.port) for _ in range(19)]
    request = b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n"
    status, headers, body = await exchange(api, request)
    assert (status, json.loads(body)["reason"]) == (503, "too_many_connections")
    assert int(headers["retry-after"]) >= 1
    for _, writer in opened:
        writer.close()
        await writer.wait_closed()
    async with asyncio.timeout(10):
        while True:
            status, _, _ = await exchange(api, request)
            if status == 200:
                break


async def test_unexpected_error_is_a_problem_without_a_trace(
    api: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(height: Height) -> None:
        raise RuntimeError(f"secret of {height}")

    monkeypatch.setattr(api.ledger, "receipts", explode)
    async with api.client.get("/v1/blocks/1") as reply:
        text = await reply.text()
        assert (reply.status, reply.content_type) == (500, "application/problem+json")
    assert json.loads(text)["reason"] == "internal"
    assert "secret" not in text
    assert "Traceback" not in text


async def test_stopped_api_gives_its_port_back(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        port = api.api.port
        await api.get("/healthz")
    with pytest.raises(aiohttp.ClientConnectionError):
        async with aiohttp.ClientSession() as session:
            await session.get(f"http://127.0.0.1:{port}/healthz")


async def test_port_in_use_is_an_error_and_stopping_afterwards_is_harmless(api: ApiHarness) -> None:
    second = Api(node=api.api.node, host="127.0.0.1", port=api.api.port)
    with pytest.raises(OSError, match="in use"):
        await second.start()
    await second.stop()
    await api.get("/healthz")
