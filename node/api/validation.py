"""Turns a request's path and query into its parameter model, and pydantic's errors into problem details."""

from typing import TypeVar

from aiohttp import web
from pydantic import ValidationError

from node.api.problem import FieldFault, ProblemError
from node.replies.parameters import Parameters
from node.replies.problem import ProblemReason

P = TypeVar("P", bound=Parameters)


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
    """Returns one entry per wrong field, without the value that was given."""
    return [
        FieldFault(location=".".join(map(str, fault["loc"])) or "body", detail=fault["msg"])
        for fault in error.errors(include_input=False, include_url=False)
    ]
