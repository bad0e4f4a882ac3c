"""Requests that are made to cost much or to get past the limits: each is refused in words, and costs little."""

import asyncio
import json
from collections.abc import AsyncIterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from node.api.context import BODY_SIZE_BYTES_MAX
from tests.support.api import ApiHarness, exchange, running_api
from tests.support.long_chain import make_street
from tests.support.testnet import background, cleaned_up, wait_until

ANSWER_BYTES_MAX = 4_096
"""Longest problem, whatever was sent."""

JSON_TYPE = {"Content-Type": "application/json"}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiHarness]:
    async with running_api(tmp_path) as harness:
        harness.builder.append_trading_hour()
        yield harness


async def problem_of(reply: aiohttp.ClientResponse, status: int, reason: str) -> Any:
    """Returns a problem after checking that it is one, and short."""
    body = await reply.read()
    assert (reply.status, reply.content_type) == (status, "application/problem+json"), body[:500]
    assert len(body) <= ANSWER_BYTES_MAX
    problem = json.loads(body)
    assert problem["reason"] == reason
    return problem


# --- bodies ------------------------------------------------------------------------------------------------


def filled(head: bytes, item: bytes, tail: bytes) -> bytes:
    """Returns the largest body that is `head`, then items with commas in between, then `tail`."""
    room_bytes = BODY_SIZE_BYTES_MAX - len(head) - len(tail)
    return head + b",".join([item] * (room_bytes // (len(item) + 1))) + tail


UNKNOWN_KEYS = b"{" + b",".join(b'"%x":0' % number for number in range(95_000)) + b"}"

LARGE_BODIES = {
    "unknown keys": (UNKNOWN_KEYS, "invalid_parameter"),
    "one long key": (b'{"' + b"k" * (BODY_SIZE_BYTES_MAX - 10) + b'":0}', "invalid_parameter"),
    "nested arrays": (b"[" * BODY_SIZE_BYTES_MAX, "invalid_parameter"),
    "nested objects": (b'{"a":' * (BODY_SIZE_BYTES_MAX // 5), "invalid_parameter"),
    "many nested arrays": (filled(b'{"transactions":[', b"[" * 150 + b"]" * 150, b"]}"), "invalid_parameter"),
    "numbers": (filled(b'{"transactions":[', b"1", b"]}"), "invalid_parameter"),
    "objects": (filled(b'{"transactions":[', b"{}", b"]}"), "invalid_parameter"),
    "empty strings": (filled(b'{"transactions":[', b'""', b"]}"), "invalid_parameter"),
    "long integer": (b'{"transaction":' + b"9" * (BODY_SIZE_BYTES_MAX - 20) + b"}", "invalid_parameter"),
    "long fraction": (b'{"transaction":0.' + b"9" * (BODY_SIZE_BYTES_MAX - 20) + b"}", "invalid_parameter"),
    "long string": (b'{"transaction":"' + b"!" * (BODY_SIZE_BYTES_MAX - 20) + b'"}', "too_large"),
    "one key many times": (filled(b"{", b'"transaction":"!"', b"}"), "invalid_encoding"),
    "both fields": (b'{"transaction":"","transactions":[""]}', "invalid_parameter"),
    "no field": (b"{}", "invalid_parameter"),
    "null": (b'{"transaction":null}', "invalid_parameter"),
    "nothing": (b"", "invalid_json"),
    "no text": (b'{"transaction":"\xff"}', "invalid_json"),
    "half a character": (b'{"transaction":"\\ud800"}', "invalid_json"),
}


@pytest.mark.parametrize("name", LARGE_BODIES)
async def test_large_wrong_body_gets_a_short_answer(api: ApiHarness, name: str) -> None:
    body, reason = LARGE_BODIES[name]
    async with api.client.post("/v1/transactions", data=body, headers=JSON_TYPE) as reply:
        await problem_of(reply, 413 if reason == "too_large" else 400, reason)


async def test_first_fault_of_a_body_is_named(api: ApiHarness) -> None:
    async with api.client.post("/v1/transactions", json={"transactions": ["00", 7], "more": 1}) as reply:
        problem = await problem_of(reply, 400, "invalid_parameter")
    assert problem["errors"] == [{"location": "transactions.1", "detail": "Expected `str`, got `int`"}]


async def test_many_unknown_parameters_are_named_in_part_and_counted(api: ApiHarness) -> None:
    names = [f"{number:x}" for number in range(1_500)]
    async with api.client.get(f"/v1/status?{'=&'.join(names)}=") as reply:
        problem = await problem_of(reply, 400, "invalid_parameter")
    assert [fault["location"] for fault in problem["errors"]] == names[:8]
    assert problem["detail"].endswith(" and 1,492 more")


LONG = "x" * 8_000


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", f"/v1/status?{LONG}=1", 400, "invalid_parameter"),
        ("GET", f"/v1/status?{LONG}=1&{LONG[:100]}=2", 400, "invalid_parameter"),
        ("GET", f"/{LONG}", 404, "unknown_route"),
        (LONG, "/v1/status", 400, "bad_request"),
        ("GET", f"/v1/trades?after={LONG}", 400, "invalid_parameter"),
        ("GET", f"/v1/scores/{LONG}/history", 400, "invalid_parameter"),
        ("GET", f"/v1/state/{LONG}", 400, "invalid_parameter"),
        ("GET", f"/v1/blocks/{'9' * 8_000}", 400, "invalid_parameter"),
    ],
    ids=lambda item: str(item)[:24],
)
async def test_long_request_line_gets_a_short_answer(
    api: ApiHarness, method: str, path: str, status: int, reason: str
) -> None:
    async with api.client.request(method, path) as reply:
        await problem_of(reply, status, reason)


@pytest.mark.parametrize(
    ("header", "status", "reason"),
    [("Content-Type", 415, "unsupported_media_type"), ("Origin", 403, "foreign_origin")],
)
async def test_long_header_is_repeated_in_part(api: ApiHarness, header: str, status: int, reason: str) -> None:
    async with api.client.post("/v1/transactions", data=b"", headers={header: "x/" + LONG}) as reply:
        await problem_of(reply, status, reason)


# --- headers -----------------------------------------------------------------------------------------------


def request_with(*headers: str, path: str = "/v1/status") -> bytes:
    return "".join((f"GET {path} HTTP/1.1\r\n", *(f"{header}\r\n" for header in headers), "\r\n")).encode()


@pytest.mark.parametrize(("fields", "status"), [(64, 200), (65, 431), (10_000, 431)])
async def test_header_fields_are_counted(api: ApiHarness, fields: int, status: int) -> None:
    others = [f"X-{number}: 1" for number in range(fields - 1)]
    answered, _, body = await exchange(api, request_with("Host: localhost", *others))
    assert answered == status, body
    if status == 431:
        assert json.loads(body)["reason"] == "header_too_large"
    await api.get("/v1/status")


FOREIGN_HOSTS = [
    "rebound.example",
    "rebound.example:80",
    "localhost.rebound.example",
    "localhost@rebound.example",
    "127.0.0.1.rebound.example",
    "127.0.0.2",
    "2130706433",
    "[::1",
    "[::1]:x",
    "",
    "localhost, rebound.example",
    "h" * 8_000,
]


@pytest.mark.parametrize("host", FOREIGN_HOSTS, ids=lambda host: host[:32])
@pytest.mark.parametrize("path", ["/v1/statements/home2?month=2016-06", "/nothing"])
async def test_host_that_the_node_does_not_serve_is_refused(api: ApiHarness, host: str, path: str) -> None:
    answered, headers, body = await exchange(api, request_with(f"Host: {host}", path=path))
    problem = json.loads(body)
    assert (answered, problem["reason"]) == (421, "unknown_host")
    assert headers["content-type"].startswith("application/problem+json")
    assert "host_names" in problem["detail"]
    assert len(body) <= ANSWER_BYTES_MAX


async def test_request_that_names_no_host_or_two_is_refused(api: ApiHarness) -> None:
    for headers in ((), ("Host: localhost", "Host: rebound.example")):
        answered, _, body = await exchange(api, request_with(*headers))
        assert answered in {400, 421}, body
        assert json.loads(body)["reason"] in {"bad_request", "unknown_host"}


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.1:49152", "[::1]", "[::1]:8000", "node7:8000"]
)
async def test_own_and_configured_names_are_served_on_any_port(tmp_path: Path, host: str) -> None:
    """The port of a container is published as another."""
    async with running_api(tmp_path, host_names=["Node7"]) as api:
        answered, _, _ = await exchange(api, request_with(f"Host: {host}"))
        assert answered == 200


def test_daemon_serves_the_names_of_its_configuration(tmp_path: Path) -> None:
    with cleaned_up(tmp_path / "testnet"):
        node = make_street(tmp_path / "testnet", nodes=4).node(1)
        names = {"P2PNODE_API__HOST_NAMES": '["meter.lan"]'}
        with background(tmp_path, "start", "--config", node.home.configuration, environment=names):
            wait_until(node.status, "the node answers")
            for host, status in (("meter.lan:80", 200), ("rebound.example", 421)):
                connection = HTTPConnection(urlsplit(node.url).netloc, timeout=30)
                connection.request("GET", "/v1/status", headers={"Host": host})
                assert connection.getresponse().status == status
                connection.close()


async def test_rebound_page_cannot_follow_the_events(api: ApiHarness) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await api.client.ws_connect("/v1/events", headers={"Host": "rebound.example"})
    assert refused.value.status == 421


@pytest.mark.parametrize("origin", ["http://[::1", "http://[", "null", "http://localhost:1", "://", "https://[::1]]"])
async def test_malformed_or_foreign_origin_is_refused(api: ApiHarness, origin: str) -> None:
    async with api.client.get("/v1/status", headers={"Origin": origin}) as reply:
        await problem_of(reply, 403, "foreign_origin")


# --- numbers -----------------------------------------------------------------------------------------------

NO_NUMBERS = ["1_0", "+1", "%201", "1%20", "%0A1", "01", "1.0", "1e2", "0x1", "\u0663", "-0", "", "\uff19"]


@pytest.mark.parametrize("text", NO_NUMBERS)
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/blocks/{}", "height"),
        ("/v1/blocks?from={}", "from"),
        ("/v1/blocks?limit={}", "limit"),
        ("/v1/state/totals?height={}", "height"),
        ("/v1/state/totals/history?after={}", "after"),
        ("/v1/trades?limit={}", "limit"),
        ("/v1/trades?after={}.0", "after"),
        ("/v1/trades?after=1.{}", "after"),
        ("/v1/scores/home1/history?limit={}", "limit"),
        ("/v1/events?from={}", "from"),
    ],
)
async def test_numbers_are_ascii_digits(api: ApiHarness, path: str, name: str, text: str) -> None:
    if path == "/v1/blocks/{}" and not text:
        return  # another path
    async with api.client.get(path.format(text)) as reply:
        problem = await problem_of(reply, 400, "invalid_parameter")
    assert [fault["location"] for fault in problem["errors"]] == [name]


@pytest.mark.parametrize("text", ["1_0", "+1", "%201", "\u0663", "nan", "inf", "-1", ".5", "5.", "61", "1e999"])
async def test_seconds_to_wait_are_a_number_of_json(api: ApiHarness, text: str) -> None:
    async with api.client.post(f"/v1/transactions?wait={text}", data=b"") as reply:
        problem = await problem_of(reply, 400, "invalid_parameter")
    assert [fault["location"] for fault in problem["errors"]] == ["wait"]


@pytest.mark.parametrize("text", ["2", "yes", "on", "t", "TRUE", " 1", ""])
async def test_truth_has_two_words_and_two_digits(api: ApiHarness, text: str) -> None:
    async with api.client.get("/v1/state/totals", params={"proof": text}) as reply:
        problem = await problem_of(reply, 400, "invalid_parameter")
    assert [fault["location"] for fault in problem["errors"]] == ["proof"]


async def test_server_goes_on_after_all_of_it_at_once(api: ApiHarness) -> None:
    async def send(body: bytes) -> int:
        async with api.client.post("/v1/transactions", data=body, headers=JSON_TYPE) as reply:
            await reply.read()
            return reply.status

    replies = await asyncio.gather(*(send(body) for body, _ in LARGE_BODIES.values()))
    assert set(replies) == {400, 413}
    await api.get("/v1/status")
