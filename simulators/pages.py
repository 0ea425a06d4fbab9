"""The simulators' pages: Jinja templates that escape what they show."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from aiohttp import web


def _moment(epoch_seconds: float) -> str:
    return datetime.fromtimestamp(epoch_seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _money(cents: int, currency: str = "eur") -> str:
    return f"{cents / 100:,.2f} {currency.upper()}"


_environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters.update(moment=_moment, money=_money)


def page(template: str, status: int = 200, /, **values: Any) -> web.Response:
    """Render `templates/<template>.html` as an answer."""
    text = _environment.get_template(f"{template}.html").render(**values)
    return web.Response(text=text, content_type="text/html", status=status)
