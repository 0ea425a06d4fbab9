"""Names of what is passed around here, and of answers that are no JSON objects of ours."""

from __future__ import annotations

from typing import Any

JsonObject = dict[str, Any]
Schema = dict[str, Any]


class Html(str):
    """An answer that is a page."""

    __slots__ = ()
