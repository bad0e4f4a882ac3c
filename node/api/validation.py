"""Turns a request's path, query and body into typed values, and what is wrong with them into problem details.

What a wrong request costs is bounded before its faults are told: a few unknown parameters are named and the rest
counted, a body is read up to its first fault, and long names are shortened.
"""

from functools import cache
from typing import Final, TypeVar

import msgspec
from aiohttp import web
from pydantic import ValidationError

from node.api.problem import FieldFault, ProblemError, shortened
from node.replies.parameters import Parameters, parameter_fields
from node.replies.problem import ProblemReason

P = TypeVar("P", bound=Parameters)
S = TypeVar("S", bound=msgspec.Struct)

UNKNOWN_NAMED_MAX: Final = 8
"""Unknown parameters that are named; more are counted."""

PLACE_IN_BODY: Final = " - at `$."
"""What msgspec's messages have between the fault and its place."""


def parse_parameters(request: web.Request, model: type[P]) -> P:
    """Returns the parameters of a request.

    Raises:
        ProblemError: one is unknown, missing, given twice or has a wrong value.
    """
    values: dict[str, str] = dict(request.match_info)
    for name, value in request.query.items():
        if name in values:
            raise ProblemError(ProblemReason.INVALID_PARAMETER, f"parameter `{shortened(name)}` is given twice")
        values[name] = value
    unknown = [name for name in values if name not in _parameter_names(model)]
    if unknown:
        raise _unknown_parameters(unknown)
    try:
        return model.model_validate(values, by_alias=True, by_name=False)
    except ValidationError as error:
        faults = _faults(error)
        detail = "; ".join(f"{fault.location}: {fault.detail}" for fault in faults)
        raise ProblemError(ProblemReason.INVALID_PARAMETER, detail, errors=faults) from None


@cache
def _parameter_names(model: type[Parameters]) -> frozenset[str]:
    return frozenset(parameter_fields(model))


def _unknown_parameters(names: list[str]) -> ProblemError:
    named = [shortened(name) for name in names[:UNKNOWN_NAMED_MAX]]
    rest = f" and {len(names) - len(named):,} more" if len(names) > len(named) else ""
    return ProblemError(
        ProblemReason.INVALID_PARAMETER,
        f"this route does not know the parameters {', '.join(f'`{name}`' for name in named)}{rest}",
        errors=[FieldFault(location=name, detail="unknown parameter") for name in named],
    )


def _faults(error: ValidationError) -> list[FieldFault]:
    """Returns one entry per wrong parameter, without the value that was given; all are known, hence few."""
    return [
        FieldFault(location=".".join(map(str, fault["loc"])), detail=fault["msg"])
        for fault in error.errors(include_input=False, include_url=False)
    ]


def parse_body(body: bytes, model: type[S]) -> S:
    """Returns a JSON body as its model.

    Raises:
        ProblemError: it is not JSON, or not of this form; names the first fault.
    """
    try:
        return msgspec.json.decode(body, type=model)
    except msgspec.ValidationError as error:
        message, _, place = str(error).rpartition(PLACE_IN_BODY)
        fault = FieldFault(
            location=place.rstrip("`").replace("[", ".").replace("]", "") if message else "body",
            detail=shortened(message or place),
        )
        detail = f"the body is not what this route takes: {fault.location}: {fault.detail}"
        raise ProblemError(ProblemReason.INVALID_PARAMETER, detail, errors=[fault]) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProblemError(ProblemReason.INVALID_JSON, str(error)) from None
