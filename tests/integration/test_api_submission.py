"""Submitting transactions over real HTTP: every form, every refusal, quotas, waiting, idempotence."""

import asyncio
import base64
from collections import Counter
from collections.abc import AsyncIterator, Callable
from io import BytesIO
from pathlib import Path

import pytest

from consensus.cryptography import SigningKey
from consensus.identifiers import Address
from contracts.transactions import (
    NONCE_STEP_MAX,
    TRANSACTION_SIZE_BYTES_MAX,
    sign_transaction,
    transaction_digest,
)
from node.api.context import BODY_SIZE_BYTES_MAX, ApiLimits
from node.chain.mempool import MempoolLimits
from node.chain.submission import Chain, ChainLinks
from node.replies.node import BatchReply, SubmissionReply
from tests.support.api import ApiHarness, running_api
from tests.support.contracts import make_genesis, raw_transaction, transfer

MESSAGEPACK = {"Content-Type": "application/msgpack"}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiHarness]:
    async with running_api(tmp_path) as harness:
        yield harness


def signed(api: ApiHarness, nonce: int = 0, *, sender: int = 0, amount_micro: int = 5) -> bytes:
    return raw_transaction(api.community, sender, transfer(api.community, 1 - sender, amount_micro), nonce=nonce)


# --- accepted ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["hex", "HEX", "base64", "msgpack"])
async def test_every_form_of_a_transaction_is_taken(api: ApiHarness, form: str) -> None:
    raw = signed(api)
    if form == "msgpack":
        async with api.client.post("/v1/transactions", data=raw, headers=MESSAGEPACK) as reply:
            assert reply.status == 202
            answer = await reply.json()
    else:
        text = {"hex": raw.hex(), "HEX": raw.hex().upper(), "base64": base64.b64encode(raw).decode()}[form]
        answer = await api.post({"transaction": text})
    assert SubmissionReply.model_validate(answer).digest == transaction_digest(raw).hex()
    assert (answer["status"], answer["known"]) == ("pending", False)
    assert api.surroundings.passed_on == [raw]
    assert api.decide().block.transactions == (raw,)


async def test_waiting_transaction_is_shown_and_then_its_outcome(api: ApiHarness) -> None:
    raw = signed(api)
    digest = (await api.post({"transaction": raw.hex()}))["digest"]
    waiting = await api.get(f"/v1/transactions/{digest}")
    assert (waiting["status"], waiting["receipt"], waiting["proof"]) == ("pending", None, None)
    api.decide()
    decided = await api.get(f"/v1/transactions/{digest}")
    assert (decided["status"], decided["height"], decided["receipt"]["reason"]) == ("executed", 1, "none")


async def until(condition: Callable[[], bool]) -> None:
    """Lets the server work until a condition holds, 10 s at most."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the parts under test announce nothing
            await asyncio.sleep(0)


async def submit_and_decide(api: ApiHarness, raw: bytes, expect: int = 200) -> dict[str, object]:
    """Submits with `wait` and decides a block as soon as the transaction waits for one."""
    waiting = asyncio.create_task(api.post({"transaction": raw.hex()}, expect=expect, wait=30))
    await until(lambda: api.chain.mempool.contains(transaction_digest(raw)))
    api.decide()
    return await waiting  # type: ignore[no-any-return]


async def test_wait_answers_with_the_receipt(api: ApiHarness) -> None:
    reply = SubmissionReply.model_validate(await submit_and_decide(api, signed(api)))
    assert (reply.status, reply.height, reply.index) == ("executed", 1, 0)
    assert (await api.get("/v1/status"))["commit_latency_ms"]["count"] == 1


async def test_overspending_is_declined_with_the_values_and_moves_nothing(api: ApiHarness) -> None:
    reply = SubmissionReply.model_validate(await submit_and_decide(api, signed(api, amount_micro=10_000_000_001)))
    assert reply.status == "declined"
    assert reply.receipt is not None
    assert reply.receipt.reason == "transfer_insufficient_tokens"
    assert "10000000001" in reply.receipt.detail.replace("_", "").replace(",", "")
    account = await api.get(f"/v1/accounts/{api.community.addresses[0].hex()}")
    assert (account["available_micro"], account["nonce"]) == (10_000_000_000, 0)


async def test_wait_that_ends_before_the_commit_says_pending(api: ApiHarness) -> None:
    reply = await api.post({"transaction": signed(api).hex()}, wait=0.05)
    assert (reply["status"], reply["receipt"]) == ("pending", None)


async def test_wait_tells_when_another_transaction_took_the_nonce(api: ApiHarness) -> None:
    """A leader may decide a higher nonce of the sender that this node never saw."""
    raw = signed(api, 4)
    waiting = asyncio.create_task(api.post({"transaction": raw.hex()}, expect=409, wait=30))
    await until(lambda: api.chain.mempool.contains(transaction_digest(raw)))
    api.decide([signed(api, 5)])
    assert (await waiting)["reason"] == "nonce_passed"
    await api.get(f"/v1/transactions/{transaction_digest(raw).hex()}", expect=404)


async def test_same_bytes_again_are_harmless(api: ApiHarness) -> None:
    raw = signed(api)
    await api.post({"transaction": raw.hex()})
    again = await api.post({"transaction": raw.hex()}, expect=200)
    assert (again["status"], again["known"]) == ("pending", True)
    api.decide()
    decided = await api.post({"transaction": raw.hex()}, expect=200)
    assert (decided["status"], decided["known"], decided["height"]) == ("executed", True, 1)
    assert api.surroundings.passed_on == [raw]


async def test_one_transaction_a_thousand_times_at_once_executes_once(api: ApiHarness) -> None:
    raw = signed(api)
    async with asyncio.timeout(60):
        replies = await asyncio.gather(*(_post(api, raw) for _ in range(1_000)))
    assert Counter(replies) == {(202, "pending"): 1, (200, "pending"): 999}
    assert len(api.decide().block.transactions) == 1
    account = await api.get(f"/v1/accounts/{api.community.addresses[1].hex()}")
    assert account["available_micro"] == 10_000_000_005


# --- refused -----------------------------------------------------------------------------------------------


def flipped(raw: bytes) -> bytes:
    """The last bit of the signature, which ends the encoding, is another."""
    return raw[:-1] + bytes([raw[-1] ^ 1])


def refused_transactions(api: ApiHarness) -> dict[str, tuple[bytes, int, str]]:
    community = api.community
    stranger = SigningKey(bytes(31) + b"\x07")
    action = transfer(community, 1, 5)
    foreign = make_genesis(4, network="elsewhere").chain
    unknown = sign_transaction(
        stranger,
        chain=community.chain,
        nonce=0,
        valid_until_height=1_000,
        action=action,  # type: ignore[arg-type]
    )
    raw = signed(api, 7)
    return {
        "bit": (flipped(raw), 422, "bad_signature"),
        "chain": (raw_transaction(community, 0, action, nonce=7, chain=foreign), 422, "wrong_chain"),
        "sender": (unknown, 422, "unknown_sender"),
        "nonce": (signed(api, 0), 409, "nonce_passed"),
        "high": (signed(api, NONCE_STEP_MAX + 1), 422, "nonce_too_high"),
        "expired": (raw_transaction(community, 0, action, nonce=7, valid_until_height=1), 409, "expired"),
        "short": (raw[:-1], 400, "malformed"),
        "trailing": (raw + b"\x00", 400, "malformed"),
        "garbage": (b"\xc1" * 100, 400, "malformed"),
        "long": (b"\x92" * (TRANSACTION_SIZE_BYTES_MAX + 1), 413, "too_large"),
    }


@pytest.mark.parametrize(
    "case", ["bit", "chain", "sender", "nonce", "high", "expired", "short", "trailing", "garbage", "long"]
)
async def test_bad_transaction_is_refused_with_its_reason(api: ApiHarness, case: str) -> None:
    api.builder.append([signed(api, 0, amount_micro=9)])
    raw, status, reason = refused_transactions(api)[case]
    problem = await api.post({"transaction": raw.hex()}, expect=status)
    assert problem["reason"] == reason
    assert len(api.chain.mempool) == 0
    assert api.surroundings.passed_on == []


async def test_nonce_that_waits_already_is_taken(api: ApiHarness) -> None:
    await api.post({"transaction": signed(api, 0).hex()})
    problem = await api.post({"transaction": signed(api, 0, amount_micro=6).hex()}, expect=409)
    assert problem["reason"] == "nonce_taken"


@pytest.mark.parametrize(
    ("content_type", "body", "status", "reason"),
    [
        ("application/json", b"{", 400, "invalid_json"),
        ("application/json", b"", 400, "invalid_json"),
        ("application/json", b"\xff\xfe", 400, "invalid_json"),
        ("application/json", b"[" * 100_000, 400, "invalid_parameter"),
        ("application/json", b"[]", 400, "invalid_parameter"),
        ("application/json", b"{}", 400, "invalid_parameter"),
        ("application/json", b'{"transaction": 7}', 400, "invalid_parameter"),
        ("application/json", b'{"transaction": "00", "transactions": ["00"]}', 400, "invalid_parameter"),
        ("application/json", b'{"transactions": []}', 400, "invalid_parameter"),
        ("application/json", b'{"transaction": "00", "sign": true}', 400, "invalid_parameter"),
        ("application/json", b'{"transaction": "0"}', 400, "invalid_encoding"),
        ("application/json", b'{"transaction": "!?"}', 400, "invalid_encoding"),
        ("application/json", b'{"transaction": "k\\u00e9=="}', 400, "invalid_encoding"),
        ("application/json", b'{"transaction": ""}', 400, "malformed"),
        ("application/json", b'{"transaction": "00"}', 400, "malformed"),
        ("application/msgpack", b"", 400, "malformed"),
        ("text/plain", b"00", 415, "unsupported_media_type"),
        ("application/x-www-form-urlencoded", b"transaction=00", 415, "unsupported_media_type"),
    ],
)
async def test_bad_body_is_refused_with_its_reason(
    api: ApiHarness, content_type: str, body: bytes, status: int, reason: str
) -> None:
    headers = {"Content-Type": content_type}
    async with api.client.post("/v1/transactions", data=body, headers=headers) as reply:
        problem = await reply.json(content_type="application/problem+json")
    assert (reply.status, problem["reason"]) == (status, reason)


@pytest.mark.parametrize("wait", ["-1", "61", "soon", "nan", "inf"])
async def test_bad_wait_is_refused(api: ApiHarness, wait: str) -> None:
    problem = await api.post({"transaction": signed(api).hex()}, expect=400, wait=wait)
    assert problem["reason"] == "invalid_parameter"
    assert len(api.chain.mempool) == 0


async def test_compressed_body_is_refused(api: ApiHarness) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    async with api.client.post("/v1/transactions", data=b"\x1f\x8b", headers=headers) as reply:
        assert reply.status == 415


@pytest.mark.parametrize("chunked", [False, True])
async def test_ten_megabytes_are_refused(api: ApiHarness, chunked: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(160):
            yield bytes(65_536)

    body = chunks() if chunked else BytesIO(bytes(10 * 1024 * 1024))
    headers = {"Content-Type": "application/json"}
    async with api.client.post("/v1/transactions", data=body, headers=headers) as reply:
        problem = await reply.json(content_type="application/problem+json")
    assert (reply.status, problem["reason"]) == (413, "body_too_large")
    await api.get("/v1/status")


@pytest.mark.parametrize(("over_bytes", "status"), [(0, 400), (1, 413)])
async def test_body_at_the_limit_and_one_past_it(api: ApiHarness, over_bytes: int, status: int) -> None:
    body = BytesIO(b" " * (BODY_SIZE_BYTES_MAX + over_bytes))
    headers = {"Content-Type": "application/json"}
    async with api.client.post("/v1/transactions", data=body, headers=headers) as reply:
        assert reply.status == status


# --- batches -----------------------------------------------------------------------------------------------


async def test_batch_gets_one_result_per_transaction(api: ApiHarness) -> None:
    raws = [signed(api, nonce) for nonce in range(40)]
    texts = [raw.hex() for raw in raws]
    texts[3] = flipped(raws[3]).hex()
    texts[4] = "!"
    results = BatchReply.model_validate(await api.post({"transactions": texts}, expect=200)).results
    assert [index for index, result in enumerate(results) if result.problem is not None] == [3, 4]
    assert [result.problem.reason for result in results if result.problem] == ["bad_signature", "invalid_encoding"]
    assert all((result.submission is None) is (result.problem is not None) for result in results)
    assert len(api.decide().receipts) == 38


async def test_batch_waits_for_all(api: ApiHarness) -> None:
    texts = [signed(api, nonce).hex() for nonce in range(3)]
    waiting = asyncio.create_task(api.post({"transactions": texts}, expect=200, wait=30))
    await until(lambda: len(api.chain.mempool) == 3)
    api.decide()
    results = BatchReply.model_validate(await waiting).results
    assert [result.submission.status for result in results if result.submission] == ["executed"] * 3


async def test_batch_is_bounded(api: ApiHarness) -> None:
    assert (await api.post({"transactions": ["00"] * 1_001}, expect=400))["reason"] == "invalid_parameter"
    assert len((await api.post({"transactions": ["00"] * 1_000}, expect=200))["results"]) == 1_000


# --- quotas ------------------------------------------------------------------------------------------------


async def _post(api: ApiHarness, raw: bytes) -> tuple[int, str]:
    async with api.client.post("/v1/transactions", data=raw, headers=MESSAGEPACK) as reply:
        answer = await reply.json(content_type=None)
        if reply.status in {429, 503}:
            assert int(reply.headers["Retry-After"]) >= 1
            assert answer["retry_after_s"] >= 1
        return reply.status, answer["reason"] if "reason" in answer else answer["status"]


async def test_requests_above_a_senders_quota_get_429_and_others_go_on(tmp_path: Path) -> None:
    limits = ApiLimits(sender_burst_max=50, sender_rate_per_s=0.001)
    async with running_api(tmp_path, limits=limits) as api:
        replies = await asyncio.gather(*(_post(api, signed(api, nonce)) for nonce in range(200)))
        assert Counter(replies) == {(202, "pending"): 50, (429, "quota"): 150}
        assert await _post(api, signed(api, 0, sender=1)) == (202, "pending")
        assert len(api.decide().receipts) == 51
        async with api.client.get("/metrics") as reply:
            assert 'p2pnode_transactions_refused_total{reason="quota"} 150.0' in await reply.text()


async def test_forged_transactions_do_not_use_up_a_senders_quota(tmp_path: Path) -> None:
    limits = ApiLimits(sender_burst_max=5, sender_rate_per_s=0.001)
    async with running_api(tmp_path, limits=limits) as api:
        for nonce in range(20):
            assert await _post(api, flipped(signed(api, nonce))) == (422, "bad_signature")
        assert await _post(api, signed(api, 0)) == (202, "pending")


async def test_full_mempool_is_503_and_a_sender_in_it_429(tmp_path: Path) -> None:
    limits = MempoolLimits(transactions_max=3, sender_transactions_max=2)
    async with running_api(tmp_path, mempool_limits=limits) as api:
        first = [await _post(api, signed(api, nonce)) for nonce in range(3)]
        assert first == [(202, "pending"), (202, "pending"), (429, "quota")]
        other = [await _post(api, signed(api, nonce, sender=1)) for nonce in range(2)]
        assert other == [(202, "pending"), (503, "mempool_full")]
        api.decide()
        assert await _post(api, signed(api, 1, sender=1)) == (202, "pending")


# --- of peers ------------------------------------------------------------------------------------------------


async def test_what_a_peer_sent_may_go_on_once_and_nothing_that_is_refused(api: ApiHarness) -> None:
    peer, passed, is_taken = Address(bytes(32)), [], asyncio.Event()
    links = ChainLinks(
        work_changed=is_taken.set,
        pass_on=lambda _: None,
        pass_on_of=lambda *told: passed.append(told),
        submitted=lambda _: None,
        peer_refused=lambda _: None,
    )
    chain = Chain(ledger=api.ledger, pool=api.pool, applied=api.applied, links=links)
    first, second = signed(api), signed(api, nonce=1)
    running = asyncio.create_task(chain.run())
    for raws in ((first, b"no transaction"), (first,), (second, first)):
        chain.take_from_peer(peer, raws)
        await is_taken.wait()
        is_taken.clear()
    running.cancel()
    assert passed == [(peer, (first,)), (peer, (second,))]
