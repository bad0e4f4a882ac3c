"""What a running testnet refuses, and that its chain goes on: altered, stale, foreign, oversized, too many."""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from consensus.identifiers import Digest
from node.api.quota import BURST_MAX, RATE_PER_S
from tests.support.testnet import MESSAGEPACK_TYPE, STACK_TRACE, Node, Street, cleaned_up, init_testnet, p2pnode

pytestmark = pytest.mark.alone("five daemons, and ten thousand requests at once")


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    """Five daemons that traded an hour and go on running; its tests leave them running."""
    directory = tmp_path_factory.mktemp("market") / "testnet"
    with cleaned_up(directory):
        init_testnet(directory, nodes=5)
        arguments = ("testnet", "run", "--dir", directory, "--hours", "1", "--keep", "--json")
        ended = p2pnode(directory.parent, *arguments)
        assert json.loads(ended.output)["hours"] == 1
        street = Street(directory)
        yield street
        stopped = p2pnode(directory.parent, "testnet", "stop", "--dir", directory)
        assert stopped.output == "stopped: node1, node2, node3, node4, node5\n"
        assert STACK_TRACE not in street.logs()


def executes(sender: Node, recipient: Node, *, via: Node) -> dict[str, Any]:
    """Transfers one micro-token, which must be decided; returns its receipt's place."""
    raw = sender.transfer(recipient, 1, nonce=sender.next_nonce())
    reply = via.submit(raw, wait_s=30)
    assert (reply.status, reply.document["status"]) == (200, "executed"), reply
    document: dict[str, Any] = reply.document
    return document


def test_a_flipped_bit_anywhere_is_refused(market: Street) -> None:
    """One bit in every byte, another one from byte to byte."""
    first, sender, recipient = market.node(1), market.node(4), market.node(5)
    before = market.at_one_tip()[0]
    raw = sender.transfer(recipient, 5, nonce=sender.next_nonce())
    refusals = []
    for position in range(len(raw)):
        bad = bytearray(raw)
        bad[position] ^= 1 << position % 8
        reply = first.submit(bytes(bad))
        assert reply.status in {400, 422}, (position, reply)
        assert reply.headers["Content-Type"].startswith("application/problem+json")
        refusals.append(reply.reason)
    assert set(refusals) == {"malformed", "wrong_chain", "bad_signature"}
    chain_at = raw.index(market.chain)
    assert set(refusals[chain_at : chain_at + 32]) == {"wrong_chain"}
    assert set(refusals[-64:]) == {"bad_signature"}
    after = market.at_one_tip()[0]
    assert (after["height"], after["state_root"]) == (before["height"], before["state_root"])
    reply = first.submit(raw, wait_s=30)
    assert reply.document["status"] == "executed", "the unaltered transaction is good"


def test_an_old_nonce_is_refused_by_every_node(market: Street) -> None:
    sender, recipient = market.node(3), market.node(4)
    nonce = sender.next_nonce()
    executes(sender, recipient, via=market.node(1))
    market.at_one_tip()
    for node in market.nodes:
        reply = node.submit(sender.transfer(recipient, 2, nonce=nonce))
        assert (reply.status, reply.reason) == (409, "nonce_passed")


def test_a_transaction_for_another_chain_is_refused(market: Street) -> None:
    sender = market.node(3)
    foreign = sender.transfer(market.node(4), 2, nonce=sender.next_nonce(), chain=Digest(bytes(32)))
    reply = market.node(2).submit(foreign)
    assert (reply.status, reply.reason) == (422, "wrong_chain")


def test_spending_what_is_not_there_is_declined_with_the_values(market: Street) -> None:
    sender, recipient = market.node(3), market.node(4)
    before = sender.account()
    amount = before["available_micro"] + 1
    reply = market.node(5).submit(sender.transfer(recipient, amount, nonce=sender.next_nonce()), wait_s=30)
    assert (reply.status, reply.document["status"]) == (200, "declined")
    receipt = reply.document["receipt"]
    assert receipt["reason"] == "transfer_insufficient_tokens"
    detail = re.sub(r"[_,]", "", receipt["detail"])
    assert str(amount) in detail
    assert str(before["available_micro"]) in detail
    market.at_one_tip()
    assert {node.account(sender.address)["available_micro"] for node in market.nodes} == {before["available_micro"]}


def test_ten_megabytes_and_garbage_are_refused(market: Street) -> None:
    node = market.node(2)
    reply = node.request("/v1/transactions", body=b"[" * 10 * 1024 * 1024)
    assert (reply.status, reply.reason) == (413, "body_too_large")
    for body in (b"{", b'{"transaction": }', bytes(range(256))):
        reply = node.request("/v1/transactions", body=body)
        assert (reply.status, reply.reason) == (400, "invalid_json")
    reply = node.request("/v1/transactions", body=b"[" * 100_000)
    assert (reply.status, reply.reason) == (400, "invalid_parameter"), "the first fault: no object"
    executes(market.node(2), market.node(3), via=node)


REQUESTS = 10_000
CONNECTIONS = 100


async def test_of_ten_thousand_requests_at_once_those_above_the_quota_get_429(market: Street) -> None:
    first, sender, recipient = market.node(1), market.node(5), market.node(3)
    tokens = sender.account()["available_micro"]
    nonce = sender.next_nonce()
    raws = [sender.transfer(recipient, 1, nonce=nonce + number) for number in range(REQUESTS)]
    started_s = time.monotonic()
    replies = Counter(await flood(first, raws))
    elapsed_s = time.monotonic() - started_s
    # Requests overtake each other, so some find that a later nonce of their sender was decided already.
    assert set(replies) <= {(202, None), (409, "nonce_passed"), (429, "quota")}, replies
    taken = REQUESTS - replies[429, "quota"]
    assert BURST_MAX <= taken <= BURST_MAX + RATE_PER_S * elapsed_s + 1
    assert replies[202, None] >= BURST_MAX / 2
    assert taken < REQUESTS
    statuses = await asyncio.to_thread(market.at_one_tip)
    assert len(statuses) == 5
    spent = tokens - sender.account()["available_micro"]
    assert BURST_MAX / 2 <= spent <= replies[202, None]
    executes(market.node(4), recipient, via=market.node(2))
    executes(sender, recipient, via=first)  # the quota refills
    await asyncio.to_thread(market.at_one_tip)


async def flood(node: Node, raws: list[bytes]) -> list[tuple[int, str | None]]:
    """Submits all at once over a bounded number of connections; returns each status and refusal."""
    timeout = aiohttp.ClientTimeout(total=120)  # a request also waits for its connection
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    headers = {"Content-Type": MESSAGEPACK_TYPE}

    async with aiohttp.ClientSession(node.url, connector=connector, timeout=timeout, headers=headers) as client:

        async def submit(raw: bytes) -> tuple[int, str | None]:
            async with client.post("/v1/transactions", data=raw) as reply:
                text = await reply.text()
                assert STACK_TRACE not in text
                if reply.status == 429:
                    assert int(reply.headers["Retry-After"]) >= 1
                return reply.status, json.loads(text).get("reason")

        return await asyncio.gather(*(submit(raw) for raw in raws))
