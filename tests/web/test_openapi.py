"""The OpenAPI document: valid, complete, and its examples what the service really says."""

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from domain.errors import ReservationNotOpen
from domain.operators.exporting import ExportFormat
from domain.settings import read_settings
from tests.support.service import Service
from web.answers import PendingAnswer
from web.app import make_app, operations
from web.bodies import parse
from web.errors import REFUSALS
from web.openapi import make_document
from web.openapi.document import operation_ids, path_of
from web.openapi.examples import PLACEHOLDER
from web.openapi.fields import FIELDS
from web.openapi.links import LINKS

BASE_URL = "https://credits.example.com"

IDS_IN_USE = {
    "GET /api/v1/credits/balance": "creditsBalance",
    "POST /api/v1/credits/use": "creditsUse",
    "GET /api/v1/credits/transactions": "creditsTransactions",
    "GET /api/v1/credits/packages": "creditsPackagesForSale",
    "GET /api/v1/internal/credits/balance/{userId}": "internalBalance",
    "POST /api/v1/internal/credits/use": "internalUse",
    "POST /api/v1/internal/credits/use/batch": "internalUseBatch",
    "POST /api/v1/internal/credits/refund": "internalRefund",
    "POST /api/v1/internal/credits/grant": "internalGrant",
    "POST /api/v1/internal/credits/init": "internalInit",
    "POST /api/v1/internal/credits/reserve": "internalReserve",
    "POST /api/v1/internal/credits/commit": "internalCommit",
    "POST /api/v1/internal/credits/refund-reservation": "internalRefundReservation",
}
"""Generated clients call these names: whoever renames a handler breaks them, and this test says so."""


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return make_document(operations(), BASE_URL)


def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    validate(document)
    assert document["openapi"].startswith("3.1")
    assert document["servers"] == [{"url": BASE_URL}]


def test_every_route_that_the_application_serves_is_in_the_document(document: dict[str, Any]) -> None:
    app = make_app(read_settings({"ENV": "development"}))
    served = {
        (route.method, re.sub(r":[^{}]*\}", "}", route.resource.canonical))
        for route in app.router.routes()
        if route.resource is not None
        and route.method not in ("HEAD", "*")  # what nothing else answers
        # Pages for people; programs have the same under /api/v1/admin.
        and not route.resource.canonical.startswith("/ops")
    }
    said = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    said_once = {(one.method, one.alias) for one in operations() if one.alias is not None}
    assert served == said | said_once


def test_operation_ids_are_unique_and_those_in_use_stay() -> None:
    names = operation_ids(operations())
    assert len(set(names)) == len(names)
    ids = {f"{one.method} {path_of(one)}": name for one, name in zip(operations(), names, strict=True)}
    assert {route: ids.get(route) for route in IDS_IN_USE} == IDS_IN_USE


def test_every_example_is_valid_against_its_schema(document: dict[str, Any]) -> None:
    checked = 0
    for place, schema, value in _examples(document):
        validator = Draft202012Validator(
            {**schema, "components": document["components"]},
            format_checker=Draft202012Validator.FORMAT_CHECKER,
        )
        wrong = [error.message for error in validator.iter_errors(value)]
        assert not wrong, f"{place}: {value} {wrong}"
        checked += 1
    assert checked > 100


def test_every_example_of_a_body_is_a_body_that_the_service_takes(document: dict[str, Any]) -> None:
    for one in operations():
        if one.body is None:
            continue
        media = document["paths"][path_of(one)][one.method.lower()]["requestBody"]["content"][
            "application/json"
        ]
        for example in media["examples"].values():
            assert isinstance(parse(json.dumps(example["value"]).encode(), one.body), one.body)


def test_every_operation_with_a_json_answer_has_an_example_of_it(document: dict[str, Any]) -> None:
    for path, method, operation in _operations(document):
        for status, response in operation["responses"].items():
            for media_type, media in response.get("content", {}).items():
                is_ours = media_type == "application/json" and media["schema"] != {"type": "object"}
                assert not is_ours or media["examples"], f"{method} {path} {status}"


def test_every_text_has_an_example_of_its_own(document: dict[str, Any]) -> None:
    bare = [place for place, _, value in _examples(document) if f'"{PLACEHOLDER}"' in json.dumps(value)]
    assert not bare, f"give these examples in web/openapi/fields.py or examples.py: {bare}"


def test_every_field_says_what_it_means_and_a_name_is_explained_once(document: dict[str, Any]) -> None:
    silent = {
        f"{component}.{name}"
        for component, schema in document["components"]["schemas"].items()
        for name, part in schema.get("properties", {}).items()
        if not _meaning(part)
    }
    assert not silent, f"say what these mean in web/openapi/fields.py: {sorted(silent)}"
    assert all(field.meaning for field in FIELDS.values())


def test_every_refusal_of_an_operation_is_an_example_with_the_contracts_message(
    document: dict[str, Any],
) -> None:
    for one in operations():
        responses = document["paths"][path_of(one)][one.method.lower()]["responses"]
        for kind in one.refusals:
            response = responses[str(REFUSALS[kind].status)]
            example = response["content"]["application/json"]["examples"][kind.code]["value"]
            assert example["statusCode"] == REFUSALS[kind].status
            assert example["code"] == kind.code
            pattern = re.sub(r"\\\{\w+\\\}", r"\\w+", re.escape(REFUSALS[kind].message))
            assert re.fullmatch(pattern, example["message"]), example["message"]


def test_a_refused_refund_of_a_reservation_says_refund(document: dict[str, Any]) -> None:
    path = "/api/v1/internal/credits/refund-reservation"
    examples = document["paths"][path]["post"]["responses"]["400"]["content"]["application/json"]["examples"]
    assert (
        examples[ReservationNotOpen.code]["value"]["message"]
        == "Cannot refund reservation in status: committed"
    )


def test_who_may_call_decides_which_errors_are_documented(document: dict[str, Any]) -> None:
    for path, method, operation in _operations(document):
        statuses = set(operation["responses"])
        assert ("401" in statuses) == bool(operation["security"]), f"{method} {path}"
        assert ("413" in statuses) == ("requestBody" in operation), f"{method} {path}"
        assert ("403" in statuses) == any(
            "admin" in scheme.get("user", ()) for scheme in operation["security"]
        )
        if path.startswith("/api/"):
            assert "Retry-After" in operation["responses"]["503"]["headers"], f"{method} {path}"


def test_posts_with_a_key_take_it_in_the_header_too(document: dict[str, Any]) -> None:
    for one in operations():
        fields = () if one.body is None else msgspec.structs.fields(one.body)
        is_a_job = PendingAnswer in one.further.values()
        has_key = is_a_job or one.takes_key or "idempotency_key" in {field.name for field in fields}
        parameters = document["paths"][path_of(one)][one.method.lower()]["parameters"]
        assert ("Idempotency-Key" in {parameter["name"] for parameter in parameters}) == has_key


def test_an_export_is_described_as_the_files_that_it_is(document: dict[str, Any]) -> None:
    content = document["paths"]["/api/v1/admin/export/entries"]["get"]["responses"]["200"]["content"]
    assert set(content) == {one.content_type.partition(";")[0] for one in ExportFormat}


def test_what_takes_a_key_may_refuse_the_key(document: dict[str, Any]) -> None:
    for path, method, operation in _operations(document):
        if "Idempotency-Key" in {parameter["name"] for parameter in operation["parameters"]}:
            assert "400" in operation["responses"], f"{method} {path}"


def test_a_time_of_a_body_is_described_as_one(document: dict[str, Any]) -> None:
    """One without a zone is refused: a description that takes any text would send it."""
    times = {"since", "until", "expiresAt"}
    found = [
        (name, field)
        for schema in document["components"]["schemas"].values()
        for name, field in schema.get("properties", {}).items()
        if name in times
    ]
    assert {"since", "expiresAt"} <= {name for name, _ in found}
    for name, field in found:
        kinds = [kind for kind in field.get("anyOf", [field]) if kind.get("type") == "string"]
        assert [kind.get("format") for kind in kinds] == ["date-time"], (name, field)


def test_amounts_are_numbers(document: dict[str, Any]) -> None:
    assert '"decimal"' not in json.dumps(document)
    schemas = document["components"]["schemas"]
    assert schemas["BalanceAnswer"]["properties"]["balance"]["type"] == "number"


def test_every_link_leads_from_a_field_that_is_answered_to_one_that_is_asked_for(
    document: dict[str, Any],
) -> None:
    by_id = {operation["operationId"]: operation for _, _, operation in _operations(document)}
    for link in LINKS:
        response = by_id[link.origin]["responses"][str(link.status)]
        assert response["links"][link.to]["operationId"] == link.to
        asked = {parameter["name"] for parameter in by_id[link.to]["parameters"]}
        if "requestBody" in by_id[link.to]:
            asked |= _fields(document, _schema(by_id[link.to]["requestBody"]))
        assert link.given.keys() <= asked, link
        for value in link.given.values():
            origin, _, pointer = value.partition("#/")
            if origin == "$response.body":
                assert pointer.removeprefix("0/") in _fields(document, _schema(response)), link
            elif origin == "$request.body":
                assert pointer in _fields(document, _schema(by_id[link.origin]["requestBody"])), link
            else:
                assert value.removeprefix("$request.path.") in {
                    parameter["name"] for parameter in by_id[link.origin]["parameters"]
                }


def _schema(described: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = described["content"]["application/json"]["schema"]
    return schema


def _fields(document: dict[str, Any], schema: dict[str, Any]) -> set[str]:
    """The fields of an object, or of the objects of a list."""
    schema = schema.get("items", schema)
    name = schema["$ref"].rpartition("/")[2]
    return set(document["components"]["schemas"][name]["properties"])


async def test_the_document_is_served_with_a_tag_and_not_sent_twice(service: Service) -> None:
    first = await service.call("GET", "/openapi.json")
    assert first.ok()["paths"].keys() == {path_of(one) for one in operations()}
    assert first.headers["Content-Type"].startswith("application/json")
    again = await service.call("GET", "/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.raw) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    other = await service.call("GET", "/openapi.json", headers={"If-None-Match": '"older"'})
    assert other.raw == first.raw


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _meaning(schema: dict[str, Any]) -> bool:
    # A field that is an object of ours says it there.
    return (
        "description" in schema or "$ref" in schema or any(_meaning(one) for one in schema.get("anyOf", ()))
    )


def _examples(node: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Every example, of media types as of schemas, with its schema and where it stands."""
    if isinstance(node, list):
        for at, part in enumerate(node):
            yield from _examples(part, f"{place}/{at}")
    if not isinstance(node, dict):
        return
    examples = node.get("examples")
    if "schema" in node and isinstance(examples, dict):
        yield from ((place, node["schema"], example["value"]) for example in examples.values())
    if isinstance(examples, list):
        yield from ((place, node, value) for value in examples)
    for name, part in node.items():
        if name != "examples":
            yield from _examples(part, f"{place}/{name}")
