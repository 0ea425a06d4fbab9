"""An operation as a command to paste: `$TOKEN` and `$SERVICE_KEY` are set once, at the top of the page."""

from __future__ import annotations

import json
import shlex
from typing import Final
from urllib.parse import quote

from web.openapi import JsonObject

BODY_CHARACTERS_MAX: Final = 44
"""The longest body that stays in one line: what the page's panel shows without scrolling."""

AUTHORIZATION: Final = {
    "user": '-H "Authorization: Bearer $TOKEN"',
    "service": '-H "X-Service-Key: $SERVICE_KEY"',
}


def curl_of(method: str, path: str, operation: JsonObject, base_url: str) -> str:
    """The command, a line a part."""
    parts = ["curl -sS"]
    if method not in ("GET", "POST") or (method == "POST" and "requestBody" not in operation):
        parts[0] += f" -X {method}"
    for parameter in operation["parameters"]:
        if parameter["in"] == "path":
            value = quote(str(parameter["schema"]["examples"][0]), safe="")
            path = path.replace("{" + parameter["name"] + "}", value)
    parts[0] += f" {base_url}{path}"
    parts += [AUTHORIZATION[name] for requirement in operation["security"] for name in requirement]
    if "requestBody" in operation:
        media = operation["requestBody"]["content"]["application/json"]
        value = media["examples"]["example"]["value"]
        body = json.dumps(value, ensure_ascii=False)
        if len(body) > BODY_CHARACTERS_MAX:
            body = json.dumps(value, indent=2, ensure_ascii=False)
        parts += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(body)}"]
    return " \\\n  ".join(parts)
