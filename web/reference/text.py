"""Text as HTML: code between backticks, and JSON and commands with a little colour."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from markupsafe import Markup, escape

_JSON_TOKEN: Final = re.compile(
    r'(?P<key>"(?:[^"\\]|\\.)*")(?=\s*:)|(?P<text>"(?:[^"\\]|\\.)*")'
    r"|(?P<word>\b(?:true|false|null)\b|-?\b\d+(?:\.\d+)?\b)"
)
_SHELL_TOKEN: Final = re.compile(
    r'(?P<text>"[^"]*"|\'[^\']*\')|(?P<word>(?<=\s)-{1,2}[a-zA-Z]+)|(?P<key>\bcurl\b)'
)


def inline_html(text: str) -> Markup:
    """A sentence; what stands between backticks is code."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if at % 2 else escape(part) for at, part in enumerate(parts)
    )


def breaks_html(name: str) -> Markup:
    """A path or a code, which may be broken where its parts meet."""
    return Markup(re.sub(r"([/_.])", r"\1<wbr>", str(escape(name))))  # noqa: S704 - escaped within  # nosec B704


def json_html(value: Any) -> Markup:
    """A value as indented JSON."""
    return _coloured(_JSON_TOKEN, json.dumps(value, indent=2, ensure_ascii=False))


def code_html(command: str) -> Markup:
    """A command for a shell."""
    return _coloured(_SHELL_TOKEN, command)


def _coloured(token: re.Pattern[str], text: str) -> Markup:
    made, end = [], 0
    for found in token.finditer(text):
        made.append(escape(text[end : found.start()]))
        made.append(Markup('<span class="{}">{}</span>').format(found.lastgroup, found[0]))
        end = found.end()
    return Markup("").join([*made, escape(text[end:])])
