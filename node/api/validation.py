"""Turns a request's path and query into its parameter model, and pydantic's errors into problem details."""

from typing import Final, TypeVar

from aiohttp import web
from pydantic import ValidationError

from node.api.problem import FieldFault, ProblemError
from node.replies.parameters import Parameters
from node.replies.problem import ProblemReason

P = TypeVar("P", bound=Parameters)

FAULTS_MAX: Final = 20
"""Wrong fields that a reply names: a body may hold hundreds of thousands."""

LOCATION_LENGTH_MAX: Final = 100
"""Characters of a place that a reply repeats: a key of the client's own may be as long as its body."""


def parse_parameters(request: web.Request, model: type[P]) -> P:
    """Returns the parameters of a request.

    Raises:
        ProblemError: one is unknown, missing, given twice or has a wrong value.
    """
    values: dict[str, str] = dict(request.match_info)
    for name, value in request.query.items():
        if name in values:
            raise ProblemError(ProblemReason.INVALID_PARAMETER, f"parameter `{name}` is given twice")
        values[name] = value
    try:
        return model.model_validate(values, by_alias=True, by_name=False)
    except ValidationError as error:
        faults = field_faults(error)
        detail = "; ".join(f"{fault.location}: {fault.detail}" for fault in faults)
        raise ProblemError(ProblemReason.INVALID_PARAMETER, detail, errors=faults) from None


def field_faults(error: ValidationError) -> list[FieldFault]:
    """Returns an entry for each of the first wrong fields, without the value that was given."""
    faults = error.errors(include_input=False, include_url=False)[:FAULTS_MAX]
    return [
        FieldFault(location=".".join(map(str, fault["loc"]))[:LOCATION_LENGTH_MAX] or "body", detail=fault["msg"])
        for fault in faults
    ]
