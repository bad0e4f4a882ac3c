"""Problem details (RFC 9457): the one form of every error that the REST API answers.

A literal table gives each reason its status and title. Members of the reply: `type` (a place in /docs that
explains the reason), `title`, `status`, `detail` (this occurrence, for people), `reason` (for programs), and
where they apply `retry_after_s` and `errors` (one entry per wrong parameter).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from math import ceil
from typing import Final

from aiohttp import web

PROBLEM_CONTENT_TYPE: Final = "application/problem+json"

RETRY_AFTER_MIN_S: Final = 1
"""Retry-After carries whole seconds; 0 would invite a busy loop."""


class ProblemReason(Enum):
    """What went wrong, for programs."""

    # the request itself
    BAD_REQUEST = "bad_request"
    INVALID_PARAMETER = "invalid_parameter"
    INVALID_JSON = "invalid_json"
    INVALID_ENCODING = "invalid_encoding"
    UNKNOWN_ROUTE = "unknown_route"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    FOREIGN_ORIGIN = "foreign_origin"
    REQUEST_TIMEOUT = "request_timeout"
    BODY_TOO_LARGE = "body_too_large"
    HEADER_TOO_LARGE = "header_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    EXPECTATION_FAILED = "expectation_failed"
    WEBSOCKET_EXPECTED = "websocket_expected"
    # what is asked for
    UNKNOWN_BLOCK = "unknown_block"
    UNKNOWN_TRANSACTION = "unknown_transaction"
    UNKNOWN_KEY = "unknown_key"
    UNKNOWN_ACCOUNT = "unknown_account"
    UNKNOWN_TRADE = "unknown_trade"
    UNKNOWN_MEMBER = "unknown_member"
    UNKNOWN_EVIDENCE = "unknown_evidence"
    NOTHING_METERED = "nothing_metered"
    AMBIGUOUS_NAME = "ambiguous_name"
    # transactions refused before any block
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    WRONG_CHAIN = "wrong_chain"
    BAD_SIGNATURE = "bad_signature"
    UNKNOWN_SENDER = "unknown_sender"
    OTHER_KEY = "other_key"
    NONCE_PASSED = "nonce_passed"
    NONCE_TAKEN = "nonce_taken"
    EXPIRED = "expired"
    QUOTA = "quota"
    MEMPOOL_FULL = "mempool_full"
    # the node
    NOT_READY = "not_ready"
    HALTED = "halted"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    TOO_MANY_FOLLOWERS = "too_many_followers"
    INTERNAL = "internal"


PROBLEMS: Final[Mapping[ProblemReason, tuple[int, str]]] = {
    ProblemReason.BAD_REQUEST: (400, "The request is not valid HTTP"),
    ProblemReason.INVALID_PARAMETER: (400, "A parameter or field has a wrong value"),
    ProblemReason.INVALID_JSON: (400, "The body is not JSON"),
    ProblemReason.INVALID_ENCODING: (400, "The transaction is neither hexadecimal nor base64"),
    ProblemReason.FOREIGN_ORIGIN: (403, "A page of another origin may not use this node"),
    ProblemReason.UNKNOWN_ROUTE: (404, "There is nothing at this path"),
    ProblemReason.UNKNOWN_BLOCK: (404, "No block of this height is decided"),
    ProblemReason.UNKNOWN_TRANSACTION: (404, "No decided transaction has this digest"),
    ProblemReason.UNKNOWN_KEY: (404, "The state key has no value at this height"),
    ProblemReason.UNKNOWN_ACCOUNT: (404, "No wallet has this address"),
    ProblemReason.UNKNOWN_TRADE: (404, "The chain holds no contract or transaction of this name"),
    ProblemReason.UNKNOWN_MEMBER: (404, "No member has this name or address"),
    ProblemReason.UNKNOWN_EVIDENCE: (404, "The chain holds no proven misconduct of this name"),
    ProblemReason.NOTHING_METERED: (404, "The meter has no reading in this month"),
    ProblemReason.AMBIGUOUS_NAME: (409, "The beginning of a name fits several things; give more digits"),
    ProblemReason.METHOD_NOT_ALLOWED: (405, "The path does not know this method"),
    ProblemReason.REQUEST_TIMEOUT: (408, "The body did not arrive in time"),
    ProblemReason.NONCE_PASSED: (409, "The sender has used this or a higher nonce; sign again with a higher one"),
    ProblemReason.NONCE_TAKEN: (409, "Another transaction of the sender with this nonce waits for a block"),
    ProblemReason.EXPIRED: (409, "The last height that the transaction is valid for has passed; sign again"),
    ProblemReason.BODY_TOO_LARGE: (413, "The body is too large"),
    ProblemReason.TOO_LARGE: (413, "The transaction is too large"),
    ProblemReason.UNSUPPORTED_MEDIA_TYPE: (415, "The body's media type is not supported"),
    ProblemReason.EXPECTATION_FAILED: (417, "The Expect header is not supported"),
    ProblemReason.MALFORMED: (400, "The bytes are not the canonical encoding of a transaction"),
    ProblemReason.WRONG_CHAIN: (422, "The transaction was signed for another chain"),
    ProblemReason.BAD_SIGNATURE: (422, "The sender's signature does not hold"),
    ProblemReason.UNKNOWN_SENDER: (422, "The sender has no wallet on this chain"),
    ProblemReason.OTHER_KEY: (422, "The key that signed is not the sender's present one"),
    ProblemReason.WEBSOCKET_EXPECTED: (426, "This path speaks WebSocket only"),
    ProblemReason.QUOTA: (429, "The sender submits more than its quota"),
    ProblemReason.HEADER_TOO_LARGE: (431, "The request's header is too large"),
    ProblemReason.INTERNAL: (500, "The node failed to answer; its log says why"),
    ProblemReason.MEMPOOL_FULL: (503, "The node has no room for further transactions"),
    ProblemReason.NOT_READY: (503, "The node is not connected to enough members"),
    ProblemReason.HALTED: (503, "The node has stopped taking part"),
    ProblemReason.TOO_MANY_CONNECTIONS: (503, "The node has too many connections"),
    ProblemReason.TOO_MANY_FOLLOWERS: (503, "Too many clients follow the events"),
}
"""Status and title of every reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldFault:
    """One wrong parameter or field of a request."""

    location: str
    """Its name, or its path in the body, e.g. `transactions.3`."""
    detail: str


class ProblemError(Exception):
    """Ends a request with problem details."""

    def __init__(
        self,
        reason: ProblemReason,
        detail: str,
        *,
        retry_after_s: float | None = None,
        errors: Sequence[FieldFault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Takes what happened, and when trying again may help."""
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail
        self.retry_after_s = None if retry_after_s is None else max(RETRY_AFTER_MIN_S, ceil(retry_after_s))
        self.errors = tuple(errors)
        self.headers = dict(headers or {})

    @property
    def status(self) -> int:
        """HTTP status of the reason."""
        return PROBLEMS[self.reason][0]

    def document(self) -> dict[str, object]:
        """Returns the problem details as JSON's types."""
        status, title = PROBLEMS[self.reason]
        document: dict[str, object] = {
            "type": problem_type(self.reason),
            "title": title,
            "status": status,
            "detail": self.detail,
            "reason": self.reason.value,
        }
        if self.retry_after_s is not None:
            document["retry_after_s"] = self.retry_after_s
        if self.errors:
            document["errors"] = [{"location": fault.location, "detail": fault.detail} for fault in self.errors]
        return document

    def response(self) -> web.Response:
        """Returns the reply."""
        headers = dict(self.headers)
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(self.retry_after_s)
        return web.Response(
            status=self.status,
            body=json.dumps(self.document()).encode(),
            content_type=PROBLEM_CONTENT_TYPE,
            headers=headers,
        )


def problem_type(reason: ProblemReason) -> str:
    """Returns the reference that identifies a kind of problem: its place in the served documentation."""
    return f"/docs#problem-{reason.value}"


HTTP_REASONS: Final[Mapping[int, ProblemReason]] = {
    404: ProblemReason.UNKNOWN_ROUTE,
    405: ProblemReason.METHOD_NOT_ALLOWED,
    413: ProblemReason.BODY_TOO_LARGE,
    415: ProblemReason.UNSUPPORTED_MEDIA_TYPE,
    417: ProblemReason.EXPECTATION_FAILED,
}
"""Reasons of the errors that aiohttp itself raises."""


def from_http_exception(error: web.HTTPException, request: web.BaseRequest) -> ProblemError:
    """Returns the problem details of an error that aiohttp raised for a request."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        detail = f"{request.method} {request.path} is not possible; allowed: {allowed}"
        return ProblemError(ProblemReason.METHOD_NOT_ALLOWED, detail, headers={"Allow": allowed})
    reason = HTTP_REASONS.get(error.status, ProblemReason.BAD_REQUEST)
    if reason is ProblemReason.UNKNOWN_ROUTE:
        return ProblemError(reason, f"{request.method} {request.path} is unknown; /docs lists what there is")
    return ProblemError(reason, error.text or error.reason)
