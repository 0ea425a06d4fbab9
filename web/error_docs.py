"""`python -m web.error_docs [--check]`: writes docs/errors.md, or says that it is out of date."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from web import error_catalogue
from web.error_catalogue import Documented
from web.errors import ADMIN_ONLY

PAGE: Final = Path(__file__).parents[1] / "docs" / "errors.md"

INTRODUCTION: Final = """\
# Errors

<!-- Made by `python -m web.error_docs` from the tables in web/errors.py and web/error_catalogue.py. -->

Every error is a status and an envelope:

```json
{"statusCode":402,"message":"Insufficient credits","code":"insufficient_credits",
 "details":{"required":5,"available":2.5}}
```

`message` is for people and may have facts in it, written `<fact>` below. `code` is for programs and never
changes. `details` is there when there is something to say. `X-Request-Id` names the request in this service's log.

A **4xx** is final unless its row says otherwise: what was asked was not done, and an idempotency key stayed free.
A **503** is an outage: wait the seconds in `Retry-After` and send the same request with the same key again,
which takes effect once however often it is sent.
"""

OWN_SHAPES: Final = f"""
## With a shape of its own

An administrators' route answers a caller who is no administrator with 403 and
`{{"error":"{ADMIN_ONLY["error"]}","message":"{ADMIN_ONLY["message"]}"}}`. Final.

The webhook answers an event that Stripe did not sign with 400 and `{{"error":"Missing signature"}}` or
`{{"error":"Invalid signature"}}`. Final: the endpoint's secret is not the one that signed.
"""


def page() -> str:
    """The page, as Markdown."""
    return "".join(
        [
            INTRODUCTION,
            _section("Refusals: what was asked may not be done", error_catalogue.refusals()),
            _section("Requests that cannot be taken", error_catalogue.MALFORMED),
            _section("Outages and defects: ours, not yours", error_catalogue.OUTAGES),
            OWN_SHAPES,
        ]
    )


def _section(title: str, errors: Sequence[Documented]) -> str:
    rows = [f"\n## {title}\n\n| code | status | message | when | then |\n|---|---|---|---|---|\n"]
    rows += [
        f"| `{error.sample.code}` | {error.sample.status} | {_cell(error.message)} | {_cell(error.when)} "
        f"| {_cell(error.advice)} |\n"
        for error in errors
    ]
    return "".join(rows)


def _cell(text: str) -> str:
    """Text for a cell of a Markdown table; `<fact>` stays a fact outside of code."""
    parts = text.replace("|", "\\|").split("`")
    parts[::2] = [part.replace("<", "&lt;") for part in parts[::2]]
    return "`".join(parts)


def main(arguments: Sequence[str]) -> int:
    """Write the page; with `--check`, 1 when it is not what would be written."""
    text = page()
    if "--check" not in arguments:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(text, "utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text("utf-8") == text:
        return 0
    print("docs/errors.md is out of date: run python -m web.error_docs", file=sys.stderr)  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
