import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from contracts.state import Totals
from ledger.errors import TransactionRefusal
from node.api.docs_page import DOCS_PAGE
from node.api.openapi import openapi_document
from node.api.problem import ProblemError, problem_type
from node.api.routes import EVERY_ROUTE, ROUTES, Route
from node.chain.mempool import DropReason, MempoolRefusal
from node.replies.node import StatusReply, TotalsStatus
from node.replies.problem import PROBLEMS, ProblemReason

DOCUMENT = openapi_document(ROUTES)
OPERATIONS = [
    (path, method, operation) for path, methods in DOCUMENT["paths"].items() for method, operation in methods.items()
]


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_document_is_json_of_openapi_3_1() -> None:
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT
    assert DOCUMENT["openapi"] == "3.1.0"
    assert {"title", "version"} <= DOCUMENT["info"].keys()
    assert DOCUMENT["paths"]


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    used = set(references(DOCUMENT))
    assert used == {f"#/components/schemas/{name}" for name in schemas}


def test_document_and_table_name_the_same_operations() -> None:
    documented = {(method.upper(), path) for path, method, _ in OPERATIONS}
    assert documented == {(route.method, route.path) for route in ROUTES}
    assert len(ROUTES) == len(documented)


def test_operation_names_are_unique() -> None:
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=lambda item: str(item)[:40])
def test_operation_is_complete(path: str, method: str, operation: dict[str, Any]) -> None:
    parameters = operation.get("parameters", [])
    in_path = {parameter["name"] for parameter in parameters if parameter["in"] == "path"}
    assert in_path == set(re.findall(r"{(\w+)}", path))
    for parameter in parameters:
        assert parameter["description"], f"{path}: {parameter['name']} is not described"
        assert parameter["required"] or parameter["in"] == "query"
        assert {"type", "$ref", "pattern", "enum"} & parameter["schema"].keys()
    assert operation["summary"]
    assert ("requestBody" in operation) is (method == "post")
    assert any(status.startswith(("1", "2")) for status in operation["responses"])
    for status, reply in operation["responses"].items():
        assert re.fullmatch(r"[1-5]\d\d", status)
        assert reply["description"]
        if int(status) >= 400:
            assert list(reply["content"]) == ["application/problem+json"]


def test_parameters_that_must_be_given_are_required() -> None:
    required = {
        (path, parameter["name"])
        for path, _, operation in OPERATIONS
        for parameter in operation.get("parameters", [])
        if parameter["required"] and parameter["in"] == "query"
    }
    assert required == {("/v1/statements/{member}", "month")}


def test_body_has_one_of_its_fields() -> None:
    content = DOCUMENT["paths"]["/v1/transactions"]["post"]["requestBody"]["content"]
    schema = content["application/json"]["schema"]
    assert (schema["minProperties"], schema["maxProperties"]) == (1, 1)
    assert DOCUMENT["components"]["schemas"]["TransactionBody"]["additionalProperties"] is False


def test_parameters_left_out_have_no_null_in_the_document() -> None:
    (start,) = (
        parameter for parameter in DOCUMENT["paths"]["/v1/blocks"]["get"]["parameters"] if parameter["name"] == "from"
    )
    assert start["schema"] == {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
def test_every_problem_of_a_route_is_documented(route: Route) -> None:
    responses = DOCUMENT["paths"][route.path][route.method.lower()]["responses"]
    for reason in (*EVERY_ROUTE, *route.problems):
        assert f"`{reason.value}`" in responses[str(PROBLEMS[reason][0])]["description"]


def test_every_reason_has_a_status_and_a_title() -> None:
    assert set(PROBLEMS) == set(ProblemReason)
    for status, title in PROBLEMS.values():
        assert 400 <= status < 600
        assert title


@pytest.mark.parametrize("refusal", [*TransactionRefusal, *MempoolRefusal, *DropReason])
def test_every_refusal_of_a_transaction_is_a_problem_that_submitting_documents(refusal: Any) -> None:
    if refusal is MempoolRefusal.TRANSACTION_KNOWN:
        return  # not a problem: submitting again is answered with 200
    (submit,) = (route for route in ROUTES if route.operation == "submitTransaction")
    assert ProblemReason(refusal.value) in submit.problems


def test_problem_document_and_headers() -> None:
    problem = ProblemError(ProblemReason.QUOTA, "too fast", retry_after_s=0.01)
    assert problem.document() == {
        "type": "/docs#problem-quota",
        "title": PROBLEMS[ProblemReason.QUOTA][1],
        "status": 429,
        "detail": "too fast",
        "reason": "quota",
        "retry_after_s": 1,
    }
    response = problem.response()
    assert response.headers["Retry-After"] == "1"
    assert response.content_type == "application/problem+json"
    assert ProblemError(ProblemReason.QUOTA, "", retry_after_s=1.2).document()["retry_after_s"] == 2


def test_problem_types_lead_to_the_page_that_explains_them() -> None:
    assert problem_type(ProblemReason.QUOTA) == "/docs#problem-quota"
    assert '"problem-" + reason' in DOCS_PAGE
    assert DOCUMENT["x-problems"]["quota"]["status"] == 429


def test_models_show_every_field_of_their_records() -> None:
    assert set(TotalsStatus.model_fields) == set(Totals.__struct_fields__)


def test_status_has_the_fields_that_testnet_run_reads() -> None:
    assert set(StatusReply.model_fields) >= {
        "name", "address", "chain", "protocol_version", "height", "tip", "state_root", "slot", "phase",
        "undecided_height", "leader", "view_changes", "peers_connected", "members", "mempool_transactions",
        "commit_latency_ms", "meter", "totals", "conserved",
    }  # fmt: skip


def test_page_loads_nothing_from_elsewhere() -> None:
    assert not re.findall(r"(?:https?:)?//\w", DOCS_PAGE)
    assert "innerHTML" not in DOCS_PAGE
