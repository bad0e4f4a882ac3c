"""Handlers that take transactions and show what became of them.

Submitting is idempotent: the same bytes again are answered with 200 and what is known of them. A transaction
whose conditions fail is not an error of the request: it is on the chain, declined, and its receipt says why.
"""

import asyncio
import base64
import binascii
import re
from typing import Final

import msgspec
from aiohttp import web

from consensus.codec import DecodeError, Malformed, encode
from consensus.identifiers import Address, Digest
from contracts.transactions import TRANSACTION_SIZE_BYTES_MAX, decode_transaction, transaction_digest
from ledger.errors import TransactionRefusal
from ledger.ledger import Ledger
from node.api.context import ApiContext, answer
from node.api.problem import ProblemError
from node.api.validation import parse_body
from node.chain.verify_ahead import verify_ahead
from node.errors import SubmissionRefused
from node.replies.node import (
    BatchReply,
    BatchResult,
    Problem,
    SubmissionReply,
    TransactionBody,
    TransactionReply,
)
from node.replies.parameters import SubmissionParameters, TransactionParameters
from node.replies.problem import ProblemReason
from node.replies.views import certificate_view, header_view, receipt_proof_view, receipt_view, transaction_view

JSON_TYPE: Final = "application/json"
MESSAGEPACK_TYPES: Final = ("application/msgpack", "application/vnd.msgpack", "application/x-msgpack")

HEXADECIMAL: Final = re.compile(r"(?:[0-9a-fA-F]{2})+")
"""No transaction is both: its first byte, 0x92, is `92` in hexadecimal and `k` in base64."""

SUBMISSIONS_PER_TURN: Final = 128
"""Of a batch, between two turns of the event loop: those whose signature does not hold are verified once more."""

NOT_THE_SENDERS: Final = frozenset(
    {
        TransactionRefusal.MALFORMED.value,
        TransactionRefusal.TOO_LARGE.value,
        TransactionRefusal.WRONG_CHAIN.value,
        TransactionRefusal.BAD_SIGNATURE.value,
        TransactionRefusal.UNKNOWN_SENDER.value,
        TransactionRefusal.OTHER_KEY.value,
    }
)
"""Refusals that do not show that the named sender made the submission; they do not count against its quota."""


async def submit(context: ApiContext, parameters: SubmissionParameters, request: web.Request) -> web.Response:
    """Takes one transaction or a batch and waits for the commit if asked to."""
    body = await context.read_body(request)
    if request.content_type in MESSAGEPACK_TYPES:
        return _answer_one(await _submit_one(context, body, wait_s=parameters.wait))
    if request.content_type != JSON_TYPE:
        detail = f"{request.content_type}; supported are {JSON_TYPE} and {MESSAGEPACK_TYPES[0]}"
        raise ProblemError(ProblemReason.UNSUPPORTED_MEDIA_TYPE, detail)
    parsed = parse_body(body, TransactionBody)
    one, several = parsed.transaction, parsed.transactions
    if isinstance(several, list) and one is msgspec.UNSET:
        return answer(await _submit_batch(context, several, wait_s=parameters.wait))
    if not isinstance(one, str) or several is not msgspec.UNSET:
        raise ProblemError(ProblemReason.INVALID_PARAMETER, "give either `transaction` or `transactions`")
    raw = _raw_bytes(one, "transaction")
    return _answer_one(await _submit_one(context, raw, wait_s=parameters.wait))


def _answer_one(reply: SubmissionReply) -> web.Response:
    return answer(reply, status=202 if reply.status == "pending" and not reply.known else 200)


def _raw_bytes(text: str, location: str) -> bytes:
    if len(text) > 2 * TRANSACTION_SIZE_BYTES_MAX:
        detail = (
            f"`{location}` has {len(text):,} characters, a transaction at most {TRANSACTION_SIZE_BYTES_MAX} bytes"
        )
        raise ProblemError(ProblemReason.TOO_LARGE, detail)
    if HEXADECIMAL.fullmatch(text):
        return bytes.fromhex(text)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        detail = f"`{location}` is neither hexadecimal with two digits per byte nor base64"
        raise ProblemError(ProblemReason.INVALID_ENCODING, detail) from None


async def _submit_batch(context: ApiContext, texts: list[str], *, wait_s: float) -> BatchReply:
    raws = [_raw_or_problem(text, f"transactions.{index}") for index, text in enumerate(texts)]
    await verify_ahead(context.chain.ledger, [raw for raw in raws if isinstance(raw, bytes)])
    accepted: list[SubmissionReply | ProblemError] = []
    for count, raw in enumerate(raws, start=1):
        if count % SUBMISSIONS_PER_TURN == 0:
            await asyncio.sleep(0)
        try:
            if isinstance(raw, ProblemError):
                raise raw
            accepted.append(await _submit_one(context, raw, wait_s=0))
        except ProblemError as problem:
            accepted.append(problem)
    if wait_s > 0:
        accepted = list(await asyncio.gather(*(_settle(context, item, wait_s) for item in accepted)))
    return BatchReply(results=[_batch_result(item) for item in accepted])


def _raw_or_problem(text: str, location: str) -> bytes | ProblemError:
    try:
        return _raw_bytes(text, location)
    except ProblemError as problem:
        return problem


async def _settle(
    context: ApiContext, item: SubmissionReply | ProblemError, wait_s: float
) -> SubmissionReply | ProblemError:
    if isinstance(item, ProblemError) or item.status != "pending":
        return item
    try:
        return await _wait(context, Digest(bytes.fromhex(item.digest)), known=item.known, wait_s=wait_s)
    except ProblemError as problem:
        return problem


def _batch_result(item: SubmissionReply | ProblemError) -> BatchResult:
    if isinstance(item, ProblemError):
        return BatchResult(problem=Problem.model_validate(item.document()))
    return BatchResult(submission=item)


async def _submit_one(context: ApiContext, raw: bytes, *, wait_s: float) -> SubmissionReply:
    digest = transaction_digest(raw)
    decided = _decided(context.chain.ledger, digest, known=True)
    if decided is not None:
        return decided
    known = context.chain.mempool.contains(digest)
    if not known:
        await _submit_new(context, raw)
    return await _wait(context, digest, known=known, wait_s=wait_s)


async def _submit_new(context: ApiContext, raw: bytes) -> None:
    sender = _claimed_sender(raw)
    _charge(context, sender)
    try:
        await context.chain.submit(raw)
    except SubmissionRefused as refused:
        if refused.reason in NOT_THE_SENDERS:
            context.quota.refund(sender)
        context.node.metrics.on_submission_refused(refused.reason)
        raise _problem(refused) from None


def _claimed_sender(raw: bytes) -> Address:
    try:
        return decode_transaction(raw).envelope.sender
    except DecodeError as error:
        too_large = error.reason is Malformed.TOO_LARGE
        reason = ProblemReason.TOO_LARGE if too_large else ProblemReason.MALFORMED
        raise ProblemError(reason, str(error)) from None


def _charge(context: ApiContext, sender: Address) -> None:
    retry_after_s = context.quota.charge(sender)
    if retry_after_s is not None:
        context.node.metrics.on_submission_refused(ProblemReason.QUOTA.value)
        detail = f"sender {sender.hex()} submits faster than its quota"
        raise ProblemError(ProblemReason.QUOTA, detail, retry_after_s=retry_after_s)


async def _wait(context: ApiContext, digest: Digest, *, known: bool, wait_s: float) -> SubmissionReply:
    if wait_s > 0:
        try:
            await context.chain.wait_for(digest, wait_s)
        except SubmissionRefused as refused:
            raise _problem(refused) from None
    decided = _decided(context.chain.ledger, digest, known=known)
    return decided or SubmissionReply(digest=digest.hex(), status="pending", known=known)


def _decided(ledger: Ledger, digest: Digest, *, known: bool) -> SubmissionReply | None:
    location = ledger.find_transaction(digest)
    if location is None:
        return None
    receipt = ledger.receipts(location.height)[location.index]
    return SubmissionReply(
        digest=digest.hex(),
        status=receipt.status.value,
        known=known,
        height=location.height,
        index=location.index,
        receipt=receipt_view(receipt),
    )


def _problem(refused: SubmissionRefused) -> ProblemError:
    reason = ProblemReason(refused.reason)
    return ProblemError(reason, refused.detail, retry_after_s=refused.retry_after_s)


async def show_transaction(context: ApiContext, parameters: TransactionParameters, _: web.Request) -> web.Response:
    """Answers with a transaction and what proves its outcome; with the transaction alone while it waits."""
    digest = Digest(bytes.fromhex(parameters.digest))
    ledger = context.chain.ledger
    location = ledger.find_transaction(digest)
    if location is None:
        return answer(_waiting(context, digest))
    proof = ledger.prove_receipt(digest)
    raw = ledger.decided_block(location.height).transactions[location.index]
    return answer(
        TransactionReply(
            digest=digest.hex(),
            status=proof.receipt.status.value,
            transaction=transaction_view(decode_transaction(raw)),
            transaction_encoded=raw.hex(),
            height=location.height,
            index=location.index,
            receipt=receipt_view(proof.receipt),
            proof=receipt_proof_view(proof),
            header=header_view(proof.header),
            header_encoded=encode(proof.header).hex(),
            certificate=certificate_view(proof.certificate),
            certificate_encoded=encode(proof.certificate).hex(),
        )
    )


def _waiting(context: ApiContext, digest: Digest) -> TransactionReply:
    raw = context.chain.mempool.raw(digest)
    if raw is None:
        context.chain.ledger.require_whole()
        raise ProblemError(ProblemReason.UNKNOWN_TRANSACTION, f"{digest.hex()} is neither decided nor waiting")
    return TransactionReply(
        digest=digest.hex(),
        status="pending",
        transaction=transaction_view(decode_transaction(raw)),
        transaction_encoded=raw.hex(),
    )
