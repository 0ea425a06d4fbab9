"""Whom schemathesis plays, what each asks, and the configuration that it is given."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from web.app import operations
from web.openapi.document import operation_ids
from web.routing import Operation

WEBHOOK_SECRET_VARIABLE = "FUZZ_WEBHOOK_SECRET"
CREDENTIALS_VARIABLE = "FUZZ_CREDENTIALS"

NOT_ASKED = ("healthMetrics", "referenceDocs", "referenceOpenapi")
"""No JSON, no business of callers', and the description itself, which is read before anything is asked."""

OPEN = r"^/(health|ready|g/|api/v1/(webhooks|gifts/\{code\}$|credits/packages))"


@dataclass(frozen=True)
class Pass:
    """Somebody who asks: by which headers they are known, which paths they ask, and whom they must not see."""

    name: str
    routes: str
    headers: Mapping[str, str]
    stranger: Mapping[str, str] | None = None


def passes(user: str, stranger: str, admin: str, service_key: str) -> Sequence[Pass]:
    """Each kind of credential with what it is for; the administrator is a user, too, and has the service's key."""
    key = {"X-Service-Key": service_key}
    return (
        Pass("user", rf"^/api/v1/(credits|gifts|sync)|{OPEN}", _bearer(user), _bearer(stranger)),
        Pass("service", rf"^/api/v1/internal/|{OPEN}", key),
        Pass("administrator", r"^/", {**_bearer(admin), **key}),
    )


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@cache
def by_operation_id() -> dict[str, Operation]:
    """The operations by their ids in the description."""
    return dict(zip(operation_ids(operations()), operations(), strict=True))


def asked_by(one: Pass) -> set[str]:
    """The ids of what a pass asks."""
    return {
        name
        for name, operation in by_operation_id().items()
        if name not in NOT_ASKED and re.search(one.routes, operation.path)
    }


def write_configuration(home: Path, url: str, one: Pass) -> Path:
    """Write the configuration of a pass, and who it is; the configuration's file.

    All checks are on.  NUL is left out of texts: the description does not say in each that there may be none, and
    tests/web/test_bad_input.py puts one into each.
    """
    people = [("caller", one.headers)] + ([("stranger", one.stranger)] if one.stranger else [])
    who = home / f"{one.name}.json"
    who.write_text(
        json.dumps(
            {
                "auth": [
                    {
                        "name": name,
                        "fixedHeaders": [{"name": each, "value": value} for each, value in headers.items()],
                    }
                    for name, headers in people
                ]
            }
        )
    )
    peers = 'peers = ["caller", "stranger"]' if one.stranger else ""
    configuration = home / f"{one.name}.toml"
    configuration.write_text(
        f"""
base-url = {json.dumps(url)}
hooks = "tests.fuzz.hooks"
continue-on-failure = true
suppress-health-check = ["all"]
request-timeout = 30
color = false
cache = {{ enabled = false }}

[auth.wfc]
path = {json.dumps(str(who))}
user = "caller"
{peers}

[generation]
allow-x00 = false
database = "none"

[checks]
enabled = true
""",
        encoding="utf-8",
    )
    return configuration
