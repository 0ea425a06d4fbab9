"""Bad input is 400, names what is bad, and writes nothing: contract, section 8."""

import json
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import pytest

from tests.support.client import INTERNAL, SERVICE_KEY, USER, Reply
from tests.support.service import Service
from tests.web.bad_values import BAD_BODIES, ENDPOINTS, MALFORMED, Endpoint

every_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS, ids=str)

ORDINARY_BODY_BYTES_MAX = 64 * 1024
BATCH_BODY_BYTES_MAX = 1024 * 1024


def means(service: Service) -> dict[str, str]:
    """What opens every door."""
    return {**service.as_user("anna"), "X-Service-Key": SERVICE_KEY}


async def post(service: Service, path: str, raw: Any, **headers: str) -> Reply:
    return await service.call("POST", path, raw=raw, headers={**means(service), **headers})


@pytest.fixture
async def rich(service: Service, workers: None) -> Service:
    """A service where the request would succeed if it were good."""
    (await service.grant("anna", 1000)).ok()
    return service


def what_is_wrong(reply: Reply, field: str) -> str | None:
    """None when the answer is the contract's 400 naming `field`."""
    if reply.status != 400:
        return f"answered {reply.brief}"
    body = reply.json
    if (body["statusCode"], bool(body["message"])) != (400, True):
        return f"no envelope: {reply.brief}"
    named = [detail["field"] for detail in body.get("details", [])]
    if not any(name == field or name.startswith((f"{field}.", f"{field}[")) for name in named):
        return f"names {named}: {reply.brief}"
    return None


@every_endpoint
async def test_a_bad_value_in_any_field_is_400_naming_it_and_writes_nothing(
    rich: Service, endpoint: Endpoint
) -> None:
    books = rich.books.everything()
    faults, count = [], 0
    for field in endpoint.fields:
        cases: list[tuple[str | None, str]] = [
            (bad, endpoint.named + field.name) for bad in field.bad_values()
        ]
        cases += [(bad, "body") for bad in MALFORMED]
        if not field.is_optional:
            cases.append((None, endpoint.named + field.name))
        for bad, named in cases:
            count += 1
            reply = await post(rich, endpoint.path, endpoint.body(field, bad))
            if fault := what_is_wrong(reply, named):
                faults.append(f"{field.name}={bad and bad[:60]}: {fault}")
    assert not faults, f"{len(faults)} of {count}:\n" + "\n".join(faults)
    assert rich.books.everything() == books


@every_endpoint
async def test_a_body_that_is_no_json_object_is_400_and_writes_nothing(
    rich: Service, endpoint: Endpoint
) -> None:
    books = rich.books.everything()
    for name, raw in BAD_BODIES.items():
        reply = await post(rich, endpoint.path, raw)
        assert reply.status == 400, f"{name}: {reply.brief}"
        assert reply.json["statusCode"] == 400
        assert all(detail["field"] and detail["message"] for detail in reply.json["details"]), name
    assert rich.books.everything() == books


@every_endpoint
async def test_every_bad_field_is_named_at_once(rich: Service, endpoint: Endpoint) -> None:
    raw = endpoint.wrapped.replace("{}", json.dumps({field.name: [] for field in endpoint.fields}), 1)
    reply = await post(rich, endpoint.path, raw.encode())
    named = {detail["field"] for detail in reply.refused(400, "Invalid request")["details"]}
    assert named == {endpoint.named + field.name for field in endpoint.fields}


@every_endpoint
async def test_a_body_beyond_the_limit_is_413_whether_its_length_is_told_or_not(
    rich: Service, endpoint: Endpoint
) -> None:
    books = rich.books.everything()
    limit = BATCH_BODY_BYTES_MAX if endpoint.path.endswith("/batch") else ORDINARY_BODY_BYTES_MAX
    padded = endpoint.body()[:-1] + b',"unknown":"%s"}' % (b"x" * limit)

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(padded), 10_000):
            yield padded[start : start + 10_000]

    for raw in (BytesIO(padded), chunks()):
        (await post(rich, endpoint.path, raw)).refused(413, "Request body is too large")
    assert rich.books.everything() == books


@every_endpoint
async def test_json_is_read_whatever_the_content_type_says(rich: Service, endpoint: Endpoint) -> None:
    for content_type in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "image/png",
        "?",
    ):
        reply = await post(rich, endpoint.path, endpoint.body(), **{"Content-Type": content_type})
        assert reply.status in (200, 404), reply.brief
        if reply.status == 404:  # the reservation of the good body
            reply.refused(404, "Reservation not found")


@every_endpoint
async def test_unknown_fields_are_ignored_and_optional_ones_may_be_null(
    rich: Service, endpoint: Endpoint
) -> None:
    given: dict[str, Any] = {field.name: json.loads(field.good) for field in endpoint.fields}
    given |= {field.name: None for field in endpoint.fields if field.is_optional}
    given |= {"unknown": {"a": [1, "\0"]}, "USERID": 5, "": None}
    raw = endpoint.wrapped.replace("{}", json.dumps(given), 1)
    reply = await post(rich, endpoint.path, raw.encode())
    assert reply.status in (200, 404), reply.brief
    if reply.status == 404:
        reply.refused(404, "Reservation not found")


@every_endpoint
async def test_a_body_that_says_it_is_compressed_and_is_not_is_400(rich: Service, endpoint: Endpoint) -> None:
    books = rich.books.everything()
    for coding in ("gzip", "deflate"):
        reply = await post(rich, endpoint.path, endpoint.body(), **{"Content-Encoding": coding})
        assert what_is_wrong(reply, "body") is None, f"{coding}: {reply.brief}"
    assert rich.books.everything() == books


async def test_the_longest_and_largest_good_values_are_accepted(rich: Service) -> None:
    wanted: dict[str, Any] = {
        "appId": "a" * 128,
        "description": "ü" * 2000,
        "idempotencyKey": "🎁" * 255,
        "metadata": {"a": "x" * 16_000},
    }
    (await rich.use("anna", 0.001, **wanted)).ok()
    big = await rich.grant("bert", 1_000_000_000)
    assert big.ok()["newBalance"] == 1_000_000_000


async def test_metadata_comes_back_as_it_was_sent(rich: Service) -> None:
    metadata = {
        "whole": 5,
        "fraction": 0.1,
        "negative": -2.5,
        "big": 2**70,
        "text": "ü🎁\\u0000 \"'",
        "nothing": None,
        "yes": True,
        "list": [1, [2, {"deep": []}]],
        "": {},
    }
    spent = (await rich.use("anna", 1, metadata=metadata, idempotencyKey="k")).ok()["transaction"]
    assert json.dumps(spent["metadata"], default=float, sort_keys=True) == json.dumps(
        metadata, sort_keys=True
    )
    listed = (await rich.user("anna", "GET", "/transactions?limit=1")).ok()[0]
    assert listed["metadata"] == spent["metadata"]
    assert (await rich.use("anna", 1, metadata=metadata, idempotencyKey="k")).ok()["transaction"] == spent


BAD_NUMBERS = (
    "abc",
    "-1",
    "1.5",
    "1e3",
    "0x10",
    "%D9%A3",
    "%00",
    "5%00",
    "1" * 30,
    "null",
    "true",
    "--1",
    "%2b1",
    "1,2",
)


@pytest.mark.parametrize("name", ["limit", "offset", "cursor"])
async def test_a_bad_number_in_the_query_is_400_naming_it(rich: Service, name: str) -> None:
    for bad in BAD_NUMBERS:
        if (name, bad) == ("cursor", "-1"):
            continue  # entries of the old service have versions below zero
        reply = await rich.user("anna", "GET", f"/transactions?{name}={bad}")
        assert what_is_wrong(reply, name) is None, f"{bad}: {reply.brief}"


@pytest.mark.parametrize("count", [0, 501])
async def test_a_batch_has_from_one_to_five_hundred_items(rich: Service, count: int) -> None:
    item = {"userId": "anna", "amount": 1, "appId": "a", "description": "x"}
    reply = await rich.internal("POST", "/use/batch", {"items": [item] * count})
    assert what_is_wrong(reply, "items") is None, reply.brief


@pytest.mark.parametrize("items", ["null", "{}", '"x"', "5", "[null]", "[5]", "[[]]", '["x"]'])
async def test_a_batch_that_is_no_list_of_objects_is_400(rich: Service, items: str) -> None:
    reply = await post(rich, f"{INTERNAL}/use/batch", b'{"items":%s}' % items.encode())
    assert what_is_wrong(reply, "items") is None, reply.brief


async def test_a_malformed_item_of_a_batch_is_named_by_its_place_and_nothing_is_written(
    rich: Service,
) -> None:
    books = rich.books.everything()
    item = {"userId": "anna", "amount": 1, "appId": "a", "description": "x"}
    bad_ones: list[dict[str, Any]] = [
        {"amount": "5"},
        {"userId": ""},
        {"metadata": []},
        {"description": "\0"},
    ]
    for bad in bad_ones:
        reply = await rich.internal("POST", "/use/batch", {"items": [item, item, {**item, **bad}]})
        assert what_is_wrong(reply, f"items[2].{next(iter(bad))}") is None, reply.brief
    assert rich.books.everything() == books


BAD_PATHS = ("%00", "a%00b", "%", "%zz", "a%4", "%ff", "%c3", "%ed%a0%80", "x" * 256, "%C3%BC" * 256)


async def test_a_user_id_that_cannot_be_one_is_400(service: Service) -> None:
    books = service.books.everything()
    for bad in BAD_PATHS:
        reply = await service.internal("GET", f"/balance/{bad}")
        assert what_is_wrong(reply, "userId") is None, f"{bad[:20]}: {reply.brief}"
    assert service.books.everything() == books


async def test_an_idempotency_key_that_is_no_text_is_400(rich: Service) -> None:
    books = rich.books.everything()
    body = b'{"amount":1,"appId":"a","description":"x"}'
    reply = await post(rich, f"{USER}/use", body, **{"Idempotency-Key": "x" * 256})
    assert what_is_wrong(reply, "idempotencyKey") is None, reply.brief
    assert rich.books.everything() == books


async def test_a_whole_number_may_be_written_with_a_fraction_that_is_none(service: Service) -> None:
    raw = b'{"name": "x", "credits": 5.0, "priceEuroCents": 1e2, "sortOrder": -1.0, "metadata": {"a": 2.50}}'
    headers = {"Authorization": f"Bearer {service.auth.mint('root', role='admin')}"}
    made = await service.call("POST", "/api/v1/admin/packages", raw=raw, headers=headers)
    assert made.status == 201, made.brief
    assert (made.json["credits"], made.json["priceEuroCents"], made.json["sortOrder"]) == (5, 100, -1)
    for wrong in (b"5.5", b"1e999999", b"1e-999999", b"NaN", b'"5"'):
        bad = raw.replace(b"5.0", wrong)
        assert (await service.call("POST", "/api/v1/admin/packages", raw=bad, headers=headers)).status == 400


async def test_what_is_wrong_in_a_field_that_nobody_asks_for_is_no_matter(service: Service) -> None:
    raw = (
        b'{"userId": "anna", "amount": 5, "reason": "x", "referenceId": "r", "more": "\\ud800", "amount": 5}'
    )
    headers = {"X-Service-Key": SERVICE_KEY}
    reply = await service.call("POST", f"{INTERNAL}/grant", raw=raw, headers=headers)
    assert reply.ok()["newBalance"] == 5


async def test_a_bad_key_in_the_header_is_400_though_the_one_in_the_body_is_good(rich: Service) -> None:
    headers = {"Idempotency-Key": "x" * 256}
    reply = await rich.use("anna", 1, idempotencyKey="k", headers=headers)
    assert [one["field"] for one in reply.refused(400, "Invalid request")["details"]] == ["idempotencyKey"]
