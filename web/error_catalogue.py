"""Every error as a reader of the documentation meets it: how it looks, when it comes, what to do then.

The looks are those of web.errors itself, made from samples; /openapi.json, /docs and docs/errors.md show them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, get_type_hints

from aiohttp import web

from domain.errors import Refusal
from web.auth import KeysUnavailable, NotAuthenticated
from web.batches import Overloaded
from web.bodies import bad_field
from web.deductions import Outage
from web.errors import (
    DEFECT,
    PAYMENT_REFUSED,
    PAYMENT_UNKNOWN,
    REFUSALS,
    Wrong,
    WrongServiceKey,
    wrong_of,
    wrong_of_refusal,
)
from web.throttle import TooManyRequests

FACTS: Final[Mapping[str, Any]] = {
    "action": "commit",
    "status": "committed",
    "state": "done",
    "required": Decimal(5),
    "available": Decimal("2.5"),
}
"""Values for the facts of a sample refusal, by name; others get one by their type."""

FACTS_BY_TYPE: Final[Mapping[Any, Any]] = {str: "text", int: 1, Decimal: Decimal(1)}

POINTER_INTO_THE_CODE: Final = re.compile(r" \(domain\.[^)]*\)")

FINAL: Final = "Final: the same request will be refused again."
SEND_AGAIN: Final = "Try again, with the same key, after the seconds in `Retry-After`; wait longer each time."
MEND: Final = "Final: mend the request."

ADVICE: Final[Mapping[str, str]] = {
    "insufficient_credits": "Final until credits are added. The key stayed free: the same request may be sent "
    "again then.",
    "balance_not_found": "Final until the balance is opened: `credits/init`, a first read, or a first credit.",
    "payments_not_configured": "Final until the service is given a key of Stripe's.",
    "purchase_lapsed": "Final: begin a new purchase.",
    "job_busy": "Try again when the worker is done with it.",
    "answer_forgotten": "Final: what the key's first request did stands. Read how things are instead of asking again.",
    "idempotency_key_reused": "Final: a key names one request. Take a new key for a new request.",
}
"""What a caller should do about a refusal, by its code, where it is more than that it is final."""


@dataclass(frozen=True)
class Documented:
    """One error: `message` has `<fact>` where the answer has a fact; `sample` is an answer as it is sent."""

    sample: Wrong
    message: str
    when: str
    advice: str


def sample_refusal(kind: type[Refusal], facts: Mapping[str, Any] = FACTS) -> Refusal:
    """A refusal of that class with plausible facts."""
    parameters = [] if kind.__init__ is Exception.__init__ else list(inspect.signature(kind).parameters)
    hints = get_type_hints(kind.__init__)
    return kind(*(facts.get(name, FACTS_BY_TYPE.get(hints.get(name), "text")) for name in parameters))


def sample_of_refusal(kind: type[Refusal], facts: Mapping[str, Any] = FACTS) -> Wrong:
    """How such a refusal looks."""
    return wrong_of_refusal(sample_refusal(kind, facts))


def _refusal(kind: type[Refusal]) -> Documented:
    sample = sample_of_refusal(kind)
    names = {name: f"<{name}>" for name in vars(sample_refusal(kind))}
    return Documented(
        sample=sample,
        message=REFUSALS[kind].message.format_map(names),
        when=plain(kind.__doc__),
        advice=ADVICE.get(kind.code, FINAL),
    )


def refusals() -> list[Documented]:
    """Every refusal, in the order of web.errors."""
    return [_refusal(kind) for kind in REFUSALS]


def _known(error: Exception, when: str, advice: str) -> Documented:
    wrong = wrong_of(error)
    if wrong is None:
        raise RuntimeError(f"{error!r} has no look")
    return Documented(sample=wrong, message=wrong.message, when=when, advice=advice)


BAD_REQUEST: Final = _known(
    bad_field("amount", "must be greater than 0"),
    "The body, the path or the query is malformed. `details` names each bad field and what is wrong with it; "
    "nothing was written.",
    MEND,
)
NO_TOKEN: Final = _known(
    NotAuthenticated("missing_header"),
    "There is no `Authorization: Bearer <token>`.",
    "Final: sign in, and send the token.",
)
BAD_TOKEN: Final = _known(
    NotAuthenticated("expired"),
    "The token is expired, not for this service, or not signed by the sign-in service.",
    "Get a new token, then send the request again.",
)
WRONG_SERVICE_KEY: Final = _known(
    WrongServiceKey(), "`X-Service-Key` is missing, or is no accepted key.", "Final: set the service key."
)
BODY_TOO_LARGE: Final = _known(
    web.HTTPRequestEntityTooLarge(max_size=1, actual_size=2),
    "The body is over the operation's limit.",
    "Final: send less.",
)
NO_ROUTE: Final = _known(web.HTTPNotFound(), "There is no such path.", MEND)
WRONG_METHOD: Final = _known(
    web.HTTPMethodNotAllowed("PUT", ["GET"]),
    "The path has no such method; `Allow` names those it has.",
    MEND,
)
TOO_MANY_REQUESTS: Final = _known(
    TooManyRequests(42),
    "Gifts were asked for too often, or too many unknown codes were tried, by the caller or from the caller's "
    "address.",
    "Ask again after the seconds in `Retry-After`.",
)
OVERLOADED: Final = _known(
    Overloaded(), "More requests wait than may wait. This one was not begun.", SEND_AGAIN
)
DATABASE_UNAVAILABLE: Final = _known(
    Outage(),
    "The database did not answer. The request was not done, as far as is known: a key makes sure.",
    SEND_AGAIN,
)
AUTH_UNAVAILABLE: Final = _known(
    KeysUnavailable(2),
    "The token may be good, but the sign-in service's keys could not be fetched to check it.",
    SEND_AGAIN,
)
PROVIDER_SILENT: Final = Documented(
    sample=PAYMENT_UNKNOWN,
    message=PAYMENT_UNKNOWN.message,
    when="Stripe did not answer when something was bought. The purchase is kept.",
    advice="Try again with the same key: it goes on with the same purchase.",
)
PROVIDER_REFUSED: Final = Documented(
    sample=PAYMENT_REFUSED,
    message=PAYMENT_REFUSED.message,
    when="Stripe did not take what it was asked when something was bought.",
    advice="Final: this service or its Stripe account has to be mended. Tell us.",
)
INTERNAL_ERROR: Final = Documented(
    sample=DEFECT,
    message=DEFECT.message,
    when="A defect of this service. What was asked may or may not have been done.",
    advice="Try again once, with the same key; then tell us, with the answer's `X-Request-Id`.",
)

MALFORMED: Final = (
    BAD_REQUEST,
    NO_TOKEN,
    BAD_TOKEN,
    WRONG_SERVICE_KEY,
    NO_ROUTE,
    WRONG_METHOD,
    BODY_TOO_LARGE,
    TOO_MANY_REQUESTS,
)
OUTAGES: Final = (
    OVERLOADED,
    DATABASE_UNAVAILABLE,
    AUTH_UNAVAILABLE,
    PROVIDER_SILENT,
    PROVIDER_REFUSED,
    INTERNAL_ERROR,
)


def plain(docstring: str | None) -> str:
    """A docstring as one paragraph, without its pointers into the code."""
    return POINTER_INTO_THE_CODE.sub("", " ".join((docstring or "").split()))
