"""`verifyWebhook` of the TypeScript client, as node runs it, against what the service signs."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from domain.webhooks import signing
from tests.clients.test_typescript_client import NODE, needs_node
from tests.clients.test_webhook_verification import BODY, NEXT, SECONDS, SECRET, STRANGE, signed

VERIFY = Path(__file__).with_name("verify.mjs")
UNFIT = "WebhookNotVerified: no signature fits"


def case(
    headers: Mapping[str, str], *, secrets: Any = SECRET, body: bytes = BODY, now: float = SECONDS
) -> dict[str, Any]:
    return {"secrets": secrets, "headers": headers, "body": base64.b64encode(body).decode(), "now": now}


def at(timestamp: str) -> dict[str, str]:
    """Signed rightly, at a time that may be none."""
    made = signing.signature(SECRET, UUID(int=7), timestamp, BODY)  # type: ignore[arg-type]
    return {"webhook-id": str(UUID(int=7)), "webhook-timestamp": timestamp, "webhook-signature": made}


@needs_node
def test_what_fits_is_read_and_all_else_is_refused_by_its_reason() -> None:
    one, both = signed(), signed(NEXT, SECRET)
    good = one["webhook-signature"]
    far, gone = (
        "WebhookNotVerified: webhook-timestamp is more than five minutes away",
        "WebhookNotVerified: there is no ",
    )
    expected = [
        (case(one), "balance.low"),
        (case({name.title(): value for name, value in one.items()}), "balance.low"),
        (case(both, secrets=NEXT), "balance.low"),
        (case(both, secrets=[STRANGE, SECRET]), "balance.low"),
        (case(one, secrets=[STRANGE, NEXT]), UNFIT),
        (case(one | {"webhook-id": "8"}), UNFIT),
        (case(one | {"webhook-timestamp": str(int(SECONDS) + 1)}), UNFIT),
        (case(one | {"webhook-signature": good.replace("v1,", "v1a,")}), UNFIT),
        (case(one | {"webhook-signature": "v1, v1,%%"}), UNFIT),
        (case(one | {"webhook-signature": " ".join(["v1,AAAA"] * 20 + [good])}), UNFIT),
        (case(one, body=BODY.replace(b"0.1", b"0.2")), UNFIT),
        (case(one | {"webhook-id": ""}), gone + "webhook-id"),
        (case(one | {"webhook-signature": ""}), gone + "webhook-signature"),
        (case(one, now=SECONDS + 300), "balance.low"),
        (case(one, now=SECONDS - 300), "balance.low"),
        (case(one, now=SECONDS + 301), far),
        (case(one, now=SECONDS - 301), far),
        (case(at("soon")), "WebhookNotVerified: webhook-timestamp is no time"),
        (case(signed(body=b"{"), body=b"{"), "WebhookNotVerified: the body is no JSON"),
        (case(signed(body=b"[]"), body=b"[]"), "WebhookNotVerified: the body is no event"),
        (case(one, secrets="whsec_%%"), "TypeError: a secret is whsec_ and base64, as the service told it"),
        (case(one, secrets=[]), "TypeError: no secret was given"),
    ]
    assert NODE is not None
    given = json.dumps([asked for asked, _ in expected])
    ran = subprocess.run([NODE, str(VERIFY)], input=given, capture_output=True, text=True, check=True)
    # Each is tried with headers of both kinds: an object, and those of fetch.
    assert json.loads(ran.stdout) == [says for _, says in expected for _ in range(2)]
