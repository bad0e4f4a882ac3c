"""The OpenAPI 3.1 document, made from the route table and the pydantic models alone."""

import asyncio
import json
import re
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any, Final

import msgspec
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from node.api.problem import PROBLEM_CONTENT_TYPE
from node.api.routes import EVERY_ROUTE, JSON, ROUTES, Reply, Route
from node.replies.node import Problem
from node.replies.parameters import parameter_fields, required_parameters
from node.replies.problem import PROBLEMS, ProblemReason

OPENAPI_VERSION: Final = "3.1.0"
REFERENCE: Final = "#/components/schemas/"
PLACEHOLDER: Final = re.compile(r"{(\w+)}")

DESCRIPTION: Final = """The REST API of one p2pnode daemon. Energy is in Wh, money in micro-tokens (millionths of a
token), prices in micro-tokens per kWh, scores in millionths, time in milliseconds since the epoch or in slots; bytes
are hexadecimal. Every error is `application/problem+json` with a `reason` for programs."""


def openapi_document(routes: Sequence[Route]) -> dict[str, Any]:
    """Returns the OpenAPI document of a route table."""
    schemas, definitions = _schemas(routes)
    bodies, body_definitions = _bodies(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas, bodies)
    return {
        "openapi": OPENAPI_VERSION,
        "info": {"title": "p2pnode", "version": version("p2pnode"), "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(route.tag for route in routes)],
        "paths": paths,
        "components": {"schemas": definitions | body_definitions},
        "x-problems": {
            reason.value: {"status": status, "title": title} for reason, (status, title) in PROBLEMS.items()
        },
    }


async def openapi_text() -> bytes:
    """Returns the document of this API. That takes a fifth of a second: on a thread, as blocks wait for nobody."""
    return await asyncio.to_thread(lambda: json.dumps(openapi_document(ROUTES)).encode())


Schemas = dict[int, dict[str, Any]]
"""The schema of each reply in the table by its model's identity."""

Bodies = dict[str, dict[str, Any]]
"""The schema of each operation's JSON body."""


def _schemas(routes: Iterable[Route]) -> tuple[Schemas, dict[Any, Any]]:
    models = [Problem, *(model for route in routes for reply in route.replies.values() for model in reply.models)]
    inputs: list[tuple[int, JsonSchemaMode, Any]] = [
        (key, "serialization", TypeAdapter(model).core_schema)
        for key, model in {id(model): model for model in models}.items()
    ]
    found, definitions = GenerateJsonSchema(ref_template=REFERENCE + "{model}").generate_definitions(inputs)
    return {key: schema for (key, _), schema in found.items()}, dict(definitions)


def _bodies(routes: Iterable[Route]) -> tuple[Bodies, dict[str, Any]]:
    taking = [route for route in routes if route.body is not None]
    found, definitions = msgspec.json.schema_components(
        [route.body for route in taking], ref_template=REFERENCE + "{name}"
    )
    return {route.operation: schema for route, schema in zip(taking, found, strict=True)}, definitions


def _operation(route: Route, schemas: Schemas, bodies: Bodies) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.operation,
        "tags": [route.tag],
        "summary": route.summary,
        "responses": {
            **{str(status): _reply(reply, schemas) for status, reply in route.replies.items()},
            **_problems((*EVERY_ROUTE, *route.problems), schemas),
        },
    }
    if route.description:
        operation["description"] = route.description
    if parameters := _parameters(route):
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = _body(route, bodies[route.operation])
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    placeholders, required = PLACEHOLDER.findall(route.path), required_parameters(route.parameters)
    return [
        {
            "name": name,
            "in": "path" if name in placeholders else "query",
            "required": name in required,
            "description": schema.get("description", ""),
            "schema": _parameter_schema(schema),
        }
        for name, schema in parameter_fields(route.parameters).items()
    ]


def _parameter_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Returns a parameter's own schema: `null` says in Python that it was left out, a request cannot send it."""
    kept = {member: value for member, value in schema.items() if member not in {"title", "description"}}
    if "anyOf" in kept:
        (present,) = (choice for choice in kept.pop("anyOf") if choice != {"type": "null"})
        kept.update(present)
    if kept.get("default", ...) is None:
        del kept["default"]
    return kept


def _body(route: Route, schema: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {JSON: {"schema": schema}}
    for media_type in route.raw_media_types:
        content[media_type] = {"schema": {"type": "string", "format": "binary"}}
    return {"required": True, "content": content}


def _reply(reply: Reply, schemas: Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {"description": reply.description}
    if reply.media_type is None:
        return described
    alternatives = [schemas[id(model)] for model in reply.models]
    if len(alternatives) > 1:
        schema: dict[str, Any] = {"oneOf": alternatives}
    elif alternatives:
        schema = alternatives[0]
    else:
        schema = {"type": "object" if reply.media_type == JSON else "string"}
    described["content"] = {reply.media_type: {"schema": schema}}
    return described


def _problems(reasons: Iterable[ProblemReason], schemas: Schemas) -> dict[str, Any]:
    by_status: dict[int, list[ProblemReason]] = {}
    for reason in dict.fromkeys(reasons):
        by_status.setdefault(PROBLEMS[reason][0], []).append(reason)
    schema = schemas[id(Problem)]
    return {
        str(status): {
            "description": "; ".join(f"`{reason.value}`: {PROBLEMS[reason][1]}" for reason in found) + ".",
            "content": {PROBLEM_CONTENT_TYPE: {"schema": schema}},
        }
        for status, found in sorted(by_status.items())
    }
