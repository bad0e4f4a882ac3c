"""Problem details (RFC 9457): the one form of every error that the REST API answers.

A literal table gives each reason its status and title. Members of the reply: `type` (a place in /docs that
explains the reason), `title`, `status`, `detail` (this occurrence, for people), `reason` (for programs), and
where they apply `retry_after_s` and `errors` (one entry per wrong parameter).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from aiohttp import web

from node.replies.problem import PROBLEMS, ProblemReason

PROBLEM_CONTENT_TYPE: Final = "application/problem+json"

DETAIL_CHARACTERS_MAX: Final = 1_000
"""Longest detail: it may repeat what the request said, which may be as long as a header line or a body."""

SHOWN_CHARACTERS_MAX: Final = 80
"""Longest part of a request that a detail repeats."""

RETRY_AFTER_MIN_S: Final = 1
"""Retry-After carries whole seconds; 0 would invite a busy loop."""


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
        self.reason = reason
        self.detail = shortened(detail, DETAIL_CHARACTERS_MAX)
        super().__init__(f"{reason.value}: {self.detail}")
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


def shortened(text: str, characters_max: int = SHOWN_CHARACTERS_MAX) -> str:
    """Returns a text that a request brought, cut off behind `characters_max` with its true length."""
    return text if len(text) <= characters_max else f"{text[:characters_max]}... ({len(text):,} characters)"


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
        detail = f"{shortened(request.method)} {shortened(request.path)} is not possible; allowed: {allowed}"
        return ProblemError(ProblemReason.METHOD_NOT_ALLOWED, detail, headers={"Allow": allowed})
    reason = HTTP_REASONS.get(error.status, ProblemReason.BAD_REQUEST)
    if reason is ProblemReason.UNKNOWN_ROUTE:
        asked = f"{shortened(request.method)} {shortened(request.path)}"
        return ProblemError(reason, f"{asked} is unknown; /docs lists what there is")
    return ProblemError(reason, error.text or error.reason)
