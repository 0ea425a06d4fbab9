"""What schemathesis cannot know of this API, in its own process: how Stripe signs, and when a good request is refused.

All of its checks are on.  What is passed over here is passed over for an operation and a reason.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Mapping
from typing import Any

import requests
import schemathesis
from schemathesis.core.failures import Failure
from schemathesis.openapi.checks import RejectedPositiveData, UnsupportedMethodResponse, UseAfterFree

from simulators.stripe.webhooks import sign
from tests.fuzz.passes import CREDENTIALS_VARIABLE, WEBHOOK_SECRET_VARIABLE, by_operation_id
from web.error_catalogue import TOO_MANY_REQUESTS
from web.openapi.responses import WEBHOOK_PATH

UNSAYABLE: Mapping[str, Mapping[str, str]] = {
    "creditsBuy": {
        "successUrl": "has to be on an origin of this deployment's",
        "cancelUrl": "has to be on an origin of this deployment's",
    },
    "giftsCreate": {
        "totalCredits": "may be called `credits`: one of the two is needed",
        "credits": "and both have to be the same",
        "targetEmail": "is needed for a personalized gift",
        "expiresAt": "has to be in the future, and without `expirationDays`",
    },
    "operatorsAdjustCredits": {"idempotencyKey": "is needed in the body or in the header"},
    "operatorsExportEntries": {"until": "has to be after `since`"},
}
"""Fields of which no schema can say when they are good, by operation: there a good request may be called a bad one."""

METADATA = "metadata"
"""Its size, depth and largest number are said in words, wherever it is a field."""

STAYS: Mapping[str, str] = {
    "/api/v1/admin/packages/{id}": "a package goes off the shelf, and stays for those who bought it",
    "/api/v1/internal/credits/balance/{userId}": "somebody never seen has zeros",
    "/api/v1/admin/people/{userId}": "somebody never seen has nothing, and a page that says so",
}
"""Paths that go on answering after a DELETE."""

OTHER_NAMES: Mapping[tuple[str, str], str] = {
    ("GET", "/api/v1/admin/jobs/retry-failed"): "asks for the job of this id, which is none: 400",
    ("DELETE", "/api/v1/gifts/{code}"): "asks for the gift of this id, which a code is not: 400",
}
"""Paths that mean something else with another method, and so do not answer 405."""

FRAMING = frozenset({"content-length", "transfer-encoding"})
"""Headers that say where a request ends: with any text in them a good request is none."""


@schemathesis.hook
def before_call(_context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Sign what Stripe would have signed; come from another address each time, or nobody would look up gifts."""
    number = random.getrandbits(24)
    case.headers["X-Forwarded-For"] = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
    is_good = case.meta is None or case.meta.generation.mode.is_positive
    if is_good:
        for name in [name for name in case.headers if name.lower() in FRAMING]:
            del case.headers[name]
    if case.operation.path.startswith("/api/v1/admin/packages") and is_good and isinstance(case.body, dict):
        case.body.pop(
            "stripePriceId", None
        )  # a price that Stripe does not have: whoever buys the package gets 502
    if case.operation.path == WEBHOOK_PATH and "Stripe-Signature" in case.headers and is_good:
        kwargs["auth"] = _sign


def _sign(request: requests.PreparedRequest) -> requests.PreparedRequest:
    body = request.body or b""
    assert isinstance(body, bytes | str)
    raw = body.encode() if isinstance(body, str) else body
    secrets = (os.environ[WEBHOOK_SECRET_VARIABLE],)
    request.headers["Stripe-Signature"] = sign(raw, secrets, int(time.time()))
    return request


@schemathesis.check
def refused_for_a_reason_of_its_own(_context: Any, response: Any, case: Any) -> None:
    """A good request is refused with one of its operation's refusals alone: never for being malformed."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code < 400:
        return
    if is_explained(case, response):
        return
    raise AssertionError(f"a good request was refused: {response.status_code} {response.text[:300]}")


@schemathesis.check
def answered_in_the_frame(_context: Any, response: Any, case: Any) -> None:
    """Every answer has the headers of all, and every error its envelope."""
    headers = {name.lower(): values for name, values in response.headers.items()}
    assert headers["vary"] == ["Origin"], headers
    assert headers["access-control-allow-credentials"] == ["true"], headers
    assert headers["x-request-id"], headers
    if response.status_code < 400 or case.method == "HEAD" or response.request.method == "HEAD":
        return
    if case.operation.path.startswith("/g/"):
        return  # a page for people
    body = response.json()
    if response.status_code == 403 or (response.status_code == 400 and "error" in body):
        assert "error" in body, body
        return
    assert body["statusCode"] == response.status_code, body
    assert body["message"], body
    assert body["code"], body


@schemathesis.hook
def filter_failure(_context: Any, failure: Failure, case: Any, response: Any) -> bool:
    """Whether it is one: see the tables above."""
    match failure:
        case RejectedPositiveData():
            return not is_explained(case, response)
        case UseAfterFree():
            return case.operation.path not in STAYS
        case UnsupportedMethodResponse():
            asked = (response.request.method, case.operation.path)
            return not (asked in OTHER_NAMES and response.status_code in (400, 401))
    return True


def is_known(response: Any) -> bool:
    """Whether the request came with the caller's credentials as they are: schemathesis makes some up, too."""
    credentials = json.loads(os.environ[CREDENTIALS_VARIABLE])
    sent = response.request.headers
    return all(sent.get(name) in (value, value.encode()) for name, value in credentials.items())


def is_explained(case: Any, response: Any) -> bool:
    """Whether the refusal of a good request is one that its operation has, or names fields that no schema can say."""
    if response.status_code == 401 and not is_known(response):
        return True
    operation = by_operation_id().get(case.operation.definition.raw["operationId"])
    if operation is None:
        return False
    if response.status_code in operation.further:
        return True
    try:
        told = response.json()
    except ValueError:
        return False
    code = told.get("code")
    if code in {kind.code for kind in operation.refusals}:
        return True
    if operation.is_throttled and code == TOO_MANY_REQUESTS.sample.code:
        return True
    unsayable = UNSAYABLE.get(case.operation.definition.raw["operationId"], {})
    fields = {one["field"].partition("[")[0].partition(".")[0] for one in told.get("details") or ()}
    named = {one["field"].rpartition("].")[2].partition(".")[0] for one in told.get("details") or ()}
    is_metadata = bool(named) and named <= {METADATA}
    return code == "bad_request" and bool(fields) and (fields <= unsayable.keys() or is_metadata)
