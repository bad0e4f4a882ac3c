"""The OpenAPI 3.1 document, made from the route table and the pydantic models alone."""

import re
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from node.api.problem import PROBLEM_CONTENT_TYPE
from node.api.routes import EVERY_ROUTE, JSON, Reply, Route
from node.replies.node import Problem
from node.replies.parameters import parameter_fields
from node.replies.problem import PROBLEMS, ProblemReason

OPENAPI_VERSION: Final = "3.1.0"
REFERENCE: Final = "#/components/schemas/{model}"
PLACEHOLDER: Final = re.compile(r"{(\w+)}")

DESCRIPTION: Final = """The REST API of one p2pnode daemon. Energy is in Wh, money in micro-tokens (millionths of a
token), prices in micro-tokens per kWh, scores in millionths, time in milliseconds since the epoch or in slots; bytes
are hexadecimal. Every error is `application/problem+json` with a `reason` for programs."""


def openapi_document(routes: Sequence[Route]) -> dict[str, Any]:
    """Returns the OpenAPI document of a route table."""
    schemas, definitions = _schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": OPENAPI_VERSION,
        "info": {"title": "p2pnode", "version": version("p2pnode"), "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(route.tag for route in routes)],
        "paths": paths,
        "components": {"schemas": definitions},
        "x-problems": {
            reason.value: {"status": status, "title": title} for reason, (status, title) in PROBLEMS.items()
        },
    }


Schemas = dict[tuple[int, JsonSchemaMode], dict[str, Any]]
"""The schema of each model in the table by the model's identity and direction."""


def _schemas(routes: Iterable[Route]) -> tuple[Schemas, dict[Any, Any]]:
    models: list[tuple[Any, JsonSchemaMode]] = [(Problem, "serialization")]
    for route in routes:
        models += [(model, "serialization") for reply in route.replies.values() for model in reply.models]
        if route.body is not None:
            models.append((route.body, "validation"))
    unique = {(id(model), mode): (model, mode) for model, mode in models}
    inputs = [(key, mode, TypeAdapter(model).core_schema) for key, (model, mode) in unique.items()]
    found, definitions = GenerateJsonSchema(ref_template=REFERENCE).generate_definitions(inputs)
    return {key: schema for (key, _), schema in found.items()}, dict(definitions)


def _operation(route: Route, schemas: Schemas) -> dict[str, Any]:
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
        operation["requestBody"] = _body(route, schemas)
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    placeholders = PLACEHOLDER.findall(route.path)
    return [
        {
            "name": name,
            "in": "path" if name in placeholders else "query",
            "required": name in placeholders,
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


def _body(route: Route, schemas: Schemas) -> dict[str, Any]:
    content: dict[str, Any] = {JSON: {"schema": schemas[id(route.body), "validation"]}}
    for media_type in route.raw_media_types:
        content[media_type] = {"schema": {"type": "string", "format": "binary"}}
    return {"required": True, "content": content}


def _reply(reply: Reply, schemas: Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {"description": reply.description}
    if reply.media_type is None:
        return described
    alternatives = [schemas[id(model), "serialization"] for model in reply.models]
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
    schema = schemas[id(Problem), "serialization"]
    return {
        str(status): {
            "description": "; ".join(f"`{reason.value}`: {PROBLEMS[reason][1]}" for reason in found) + ".",
            "content": {PROBLEM_CONTENT_TYPE: {"schema": schema}},
        }
        for status, found in sorted(by_status.items())
    }
