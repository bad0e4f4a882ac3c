"""`python -m bench.api_limits`: how long one request at each limit of the API holds a node's event loop.

An API over a long chain, and one over the largest membership, run in processes of their own; their selectors note the
longest turn of the loop in processor time. Prints a table: what was asked, the longest hold, the reply. Most of the
two minutes is the making of the chains. The bounds themselves (rows, bytes, faults) are tested in
tests/integration/test_api_abuse.py and test_api_bounds.py; the times depend on the machine.
"""

import argparse
import asyncio
import multiprocessing
import selectors
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from rich.table import Table

from consensus.identifiers import Height
from contracts.transactions import transaction_digest
from node.api.context import BODY_SIZE_BYTES_MAX
from node.cli.terminal import error_console, output_console
from node.replies.node import TRANSACTIONS_PER_REQUEST_MAX
from tests.support.api import ApiHarness, running_api
from tests.support.contracts import FIRST_INTERVAL_MS, make_genesis, signed_reading, signed_trade
from tests.support.ledger import HOUR_MS, ChainBuilder
from tests.support.long_chain import scratch

HOLD_MAX_MS: Final = 50.0
"""What no request should hold the event loop longer than, on a machine with nothing else to do."""

REPEATS: Final = 5
MONTH_HOURS: Final = 30 * 24
TRANSFER_BLOCKS: Final = 6_000
FULL_BLOCKS: Final = 8
MEMBERS_MAX: Final = 256
PROCESS_START_S: Final = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request at a limit."""

    what: str
    path: str
    body: bytes | None = None
    content_type: str = "application/json"
    at_once: int = 1


class TimingSelector(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    """Notes the longest turn of the loop, between two waits for events, in processor time of the loop's thread.

    That is what a turn takes on a machine with nothing else to do; on a busy one the clock says more of the others.
    """

    def __init__(self, longest_s: Any) -> None:
        super().__init__()
        self._longest_s = longest_s
        self._woken_s = time.thread_time()

    def select(self, timeout: float | None = None) -> Any:
        self._longest_s.value = max(self._longest_s.value, time.thread_time() - self._woken_s)
        try:
            return super().select(timeout)
        finally:
            self._woken_s = time.thread_time()


# --- the served chains -------------------------------------------------------------------------------------


def make_long_chain(api: ApiHarness) -> None:
    """A month of trading, then thousands of small blocks, then full ones, of transfers and of faults."""
    builder = api.builder
    for hour in range(MONTH_HOURS):
        builder.append_trading_hour(hour)
    for _ in range(TRANSFER_BLOCKS):
        builder.append([builder.transfer(0, 1, 1)])
    for _ in range(FULL_BLOCKS):
        builder.append([builder.transfer(0, 1, 1) for _ in range(1_000)])
        builder.append([faulty_trade(builder) for _ in range(600)])
        builder.append(slot=builder.ledger.tip_slot + 1)


def faulty_trade(builder: ChainBuilder) -> bytes:
    """A contract over more than the seller ever had, by one offer id all the time: declined, the seller at fault."""
    return builder.transaction(1, signed_trade(builder.community, 0, 1, 10**6, offer_counter=10**6))


def make_wide_chain(api: ApiHarness) -> None:
    """Every member of the largest membership publishes a reading, and one sells to another."""
    builder = api.builder
    for hour in range(3):
        start_ms = FIRST_INTERVAL_MS + hour * HOUR_MS
        builder.append(
            [
                builder.transaction(
                    member,
                    signed_reading(api.community, member, 300 if member == 0 else -200, interval_start_ms=start_ms),
                )
                for member in range(MEMBERS_MAX)
            ]
        )
    for _ in range(200):
        builder.append()


def serve(members: int, make: Callable[[ApiHarness], None], longest_s: Any, connection: Any) -> None:
    """Runs in a process of its own: makes a chain, serves it, until the parent says something."""

    async def run() -> None:
        async with running_api(directory / "ledger", community=make_genesis(members)) as api:
            make(api)
            api.surroundings.peers = frozenset(api.community.addresses)
            connection.send((api.url, names_of(api)))
            await asyncio.to_thread(connection.recv)

    loop = asyncio.SelectorEventLoop(TimingSelector(longest_s))
    asyncio.set_event_loop(loop)
    with scratch() as directory:
        loop.run_until_complete(run())


def names_of(api: ApiHarness) -> dict[str, Any]:
    """What the requests name of a chain."""
    ledger = api.ledger
    largest = max(range(1, ledger.height + 1), key=lambda height: len(ledger.receipts_bytes(Height(height))))
    block = ledger.block(Height(largest))
    assert block is not None
    return {
        "height": ledger.height,
        "largest": largest,
        "transaction": transaction_digest(block.transactions[-1]).hex(),
        "reference": (ledger.receipts(Height(largest))[0].reference or b"").hex(),
        "account": api.community.addresses[0].hex(),
        "batch": [api.builder.transfer(2, 1, 1).hex() for _ in range(TRANSACTIONS_PER_REQUEST_MAX)],
    }


@contextmanager
def serving(members: int, make: Callable[[ApiHarness], None]) -> Iterator[tuple[str, Mapping[str, Any], Any]]:
    """Gives the address of a served chain, what its requests name, and the longest hold in seconds."""
    context = multiprocessing.get_context("spawn")
    longest_s = context.Value("d", 0.0, lock=False)
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(members, make, longest_s, theirs))
    process.start()
    try:
        if not ours.poll(PROCESS_START_S):
            raise SystemExit("bench: the chain was not made in time")
        url, names = ours.recv()
        yield url, names, longest_s
        ours.send("stop")
        process.join(30)
    finally:
        process.kill()
        process.join()


# --- the requests ------------------------------------------------------------------------------------------


def body_of(head: bytes, item: bytes, tail: bytes) -> bytes:
    room_bytes = BODY_SIZE_BYTES_MAX - len(head) - len(tail)
    return head + b",".join([item] * (room_bytes // (len(item) + 1))) + tail


def wrong_bodies() -> Iterator[Request]:
    unknown = b"{" + b",".join(b'"%x":0' % number for number in range(111_000)) + b"}"
    bodies = {
        "1 MB of unknown keys": unknown,
        "1 MB of nested arrays": body_of(b'{"transactions":[', b"[" * 150 + b"]" * 150, b"]}"),
        "1 MB of empty strings": body_of(b'{"transactions":[', b'""', b"]}"),
        "1 MB in one string, hexadecimal": b'{"transaction":"' + b"0" * (BODY_SIZE_BYTES_MAX - 20) + b'"}',
        "1 MB in one string, neither": b'{"transaction":"' + b"0" * (BODY_SIZE_BYTES_MAX - 21) + b'!"}',
        "1 MB in one string, base64": b'{"transaction":"' + b"k" * (BODY_SIZE_BYTES_MAX - 20) + b'"}',
        "1,000 transactions that are none": body_of(b'{"transactions":[', b'"' + b"9" * 1_040 + b'"', b"]}"),
    }
    for what, body in bodies.items():
        yield Request(what=what, path="/v1/transactions", body=body)
    yield Request(what="20 x 1 MB of unknown keys at once", path="/v1/transactions", body=unknown, at_once=20)
    raw = bytes(BODY_SIZE_BYTES_MAX)
    yield Request(what="1 MB of MessagePack", path="/v1/transactions", body=raw, content_type="application/msgpack")
    deep = b"\x91" * BODY_SIZE_BYTES_MAX
    yield Request(what="... nested", path="/v1/transactions", body=deep, content_type="application/msgpack")


def long_chain_requests(names: Mapping[str, Any]) -> Iterator[Request]:
    yield from wrong_bodies()
    batch = ",".join(f'"{text}"' for text in names["batch"]).encode()
    yield Request(what="1,000 transactions", path="/v1/transactions", body=b'{"transactions":[' + batch + b"]}")
    forged = b",".join(b'"%s"' % (text[:-2] + "00").encode() for text in names["batch"])
    yield Request(what="... forged", path="/v1/transactions", body=b'{"transactions":[' + forged + b"]}")
    yield Request(what="... again", path="/v1/transactions", body=b'{"transactions":[' + batch + b"]}")
    query = "&".join(f"{number:x}=" for number in range(1_600))
    height, account = names["height"], names["account"]
    paths = {
        "1,600 unknown parameters": f"/v1/status?{query}",
        "200 blocks, full ones among them": "/v1/blocks?limit=200",
        "the largest block": f"/v1/blocks/{names['largest']}",
        "a transaction in it": f"/v1/transactions/{names['transaction']}",
        "a proof of state": f"/v1/state/account:{account}?proof=1",
        "500 versions of an account, the first": f"/v1/state/account:{account}/history?limit=500",
        "... the last": f"/v1/state/account:{account}/history?limit=500&after={height - 40}",
        "500 versions of the totals, the last": f"/v1/state/totals/history?limit=500&after={height - 500}",
        "500 versions of a score, the first": "/v1/scores/home1/history?limit=500",
        "1,000 trades, oldest first": "/v1/trades?limit=1000",
        "1,000 trades, newest first": "/v1/trades?limit=1000&order=newest",
        "a contract that was declined 4,800 times": f"/v1/trades/{names['reference']}",
        "... its receipt": f"/v1/trades/{names['reference']}/receipt",
        "a contract that does not exist": f"/v1/trades/{'ab' * 32}",
        "16 of them at once": f"/v1/trades/{'ab' * 32}",
        "the statement of a full month": "/v1/statements/home1?month=2016-06",
        "metrics": "/metrics",
        "OpenAPI": "/v1/openapi.json",
    }
    for what, path in paths.items():
        yield Request(what=what, path=path, at_once=16 if what.startswith("16") else 1)


def wide_chain_requests(names: Mapping[str, Any]) -> Iterator[Request]:
    paths = {
        "status of 256 members": "/v1/status",
        "256 members": "/v1/members",
        "256 scores": "/v1/scores",
        "why, of 256 members": "/v1/why",
        "200 blocks of 256 members": "/v1/blocks?limit=200",
        "a block with 256 readings": f"/v1/blocks/{names['largest']}",
        "metrics of 256 members": "/metrics",
        "a member's statement, of 256": "/v1/statements/home256?month=2016-06",
    }
    for what, path in paths.items():
        yield Request(what=what, path=path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a request did."""

    request: Request
    status: int
    answer_bytes: int
    hold_ms: float
    """Median over the repeats of the longest hold during the request."""
    duration_ms: float


async def ask(session: aiohttp.ClientSession, request: Request) -> tuple[int, int]:
    method = "GET" if request.body is None else "POST"
    headers = {} if request.body is None else {"Content-Type": request.content_type}
    async with session.request(method, request.path, data=request.body, headers=headers) as reply:
        return reply.status, len(await reply.read())


async def measure_all(url: str, requests: list[Request], longest_s: Any) -> list[Measured]:
    measured = []
    async with aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(total=300)) as session:
        for request in requests:
            holds_ms, durations_ms = [], []
            for _ in range(REPEATS):
                longest_s.value = 0.0
                started_s = time.perf_counter()
                replies = await asyncio.gather(*(ask(session, request) for _ in range(request.at_once)))
                durations_ms.append(1_000 * (time.perf_counter() - started_s))
                await asyncio.sleep(0.01)  # the turn that sent the reply ends
                holds_ms.append(1_000 * longest_s.value)
            status, answer_bytes = replies[0]
            measured.append(
                Measured(
                    request=request,
                    status=status,
                    answer_bytes=answer_bytes,
                    hold_ms=statistics.median(holds_ms),
                    duration_ms=statistics.median(durations_ms),
                )
            )
    return measured


def show(title: str, measured: list[Measured]) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column("request")
    for heading in ("status", "bytes answered", "longest hold, ms", "whole request, ms"):
        table.add_column(heading, justify="right")
    for item in measured:
        table.add_row(
            item.request.what,
            str(item.status),
            f"{item.answer_bytes:,}",
            f"{item.hold_ms:,.1f}{' !' if item.hold_ms > HOLD_MAX_MS else ''}",
            f"{item.duration_ms:,.0f}",
        )
    output_console().print(table)


def main() -> int:
    """Measures both chains; returns the process's exit code, which says nothing of the figures."""
    argparse.ArgumentParser(prog="python -m bench.api_limits", description=__doc__).parse_args()
    progress = error_console()
    measured = []
    for title, members, make, requests in (
        ("A long chain, 4 members", 4, make_long_chain, long_chain_requests),
        ("256 members", MEMBERS_MAX, make_wide_chain, wide_chain_requests),
    ):
        progress.print(f"bench: {title}: making it ...", markup=False)
        with serving(members, make) as (url, names, longest_s):
            found = asyncio.run(measure_all(url, list(requests(names)), longest_s))
        show(f"{title}, {names['height']:,} blocks", found)
        measured += found
    over = [item.request.what for item in measured if item.hold_ms > HOLD_MAX_MS]
    progress.print(
        f"bench: {len(over)} of {len(measured)} hold the loop longer than {HOLD_MAX_MS:g} ms", markup=False
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
