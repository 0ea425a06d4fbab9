"""Templates to answers: everything escaped, a strict policy for the browser, nothing kept."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.util
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import jinja2
import structlog
from aiohttp import hdrs, web
from jinja2.bccache import Bucket

from web.operators import assets, charts, words
from web.operators.words import FILTERS

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Our own files and nothing else: no inline script, no inline style, no other host, in nobody's frame."""

HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

FRAGMENT_HEADER: Final = "X-Ops-Fragment"
"""A page's script asks with it for the live part alone."""

LIVE_BLOCK: Final = "live"

READ_AND_WRITE: Final = 0o666

log: Final = structlog.get_logger(__name__)


class _Compiled(jinja2.FileSystemBytecodeCache):
    """Compiled templates, kept where Python keeps compiled modules, and as it does: if it can and may write there, for
    those who may read the source.

    One is used for the same text alone, compiled by the same Jinja and Python, with the options and filters of now.
    """

    def __init__(self) -> None:
        sources = (Path(module).read_text("utf-8") for module in (__file__, words.__file__))
        self._made_by = " ".join((version("jinja2"), *sources))
        directory = Path(importlib.util.cache_from_source(__file__)).parent
        super().__init__(str(directory), f"template-%s.{sys.implementation.cache_tag}")

    def get_source_checksum(self, source: str) -> str:
        """Of all that makes a compiled template what it is."""
        return super().get_source_checksum(f"{self._made_by} {source}")

    def load_bytecode(self, bucket: Bucket) -> None:
        """Use what is kept.  What cannot be read, or is damaged, is compiled and written again."""
        try:
            super().load_bytecode(bucket)
        except OSError:
            bucket.reset()
        except Exception as error:  # noqa: BLE001 - Jinja unpickles it, and damage can raise anything there
            log.warning("compiled_template_damaged", error=type(error).__name__)
            bucket.reset()

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep one, unless that is not possible: it is compiled again then, when the next process starts."""
        if sys.dont_write_bytecode:
            return
        with contextlib.suppress(OSError):
            Path(self.directory).mkdir(parents=True, exist_ok=True)
            super().dump_bytecode(bucket)
            # It was written as a temporary file, which is its owner's alone.
            kept = Path(self._get_cache_filename(bucket))
            kept.chmod(Path(__file__).stat().st_mode & READ_AND_WRITE)


_environment: Final = jinja2.Environment(
    bytecode_cache=_Compiled(),
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters.update(FILTERS)
_environment.globals.update(style_url=assets.STYLE.url, script_url=assets.SCRIPT.url, charts=charts)


async def compiling(_app: web.Application) -> AsyncIterator[None]:
    """Compile every template beside the application's start, so that nobody's first look waits for it."""
    compiled = asyncio.get_running_loop().run_in_executor(None, compile_all)
    yield
    await compiled


def compile_all() -> None:
    """Have every template ready."""
    for name in _environment.list_templates():
        _environment.get_template(name)


def page(template: str, facts: dict[str, Any], *, status: int = 200) -> web.Response:
    """A whole page."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    text = _environment.get_template(template).render({"page_now": now, **facts})
    return web.Response(
        text=text, status=status, content_type="text/html", charset="utf-8", headers=dict(HEADERS)
    )


def fragment(template: str, facts: dict[str, Any], request: web.Request) -> web.Response:
    """The live part of a page: 304 for a reader who has just this."""
    loaded = _environment.get_template(template)
    context = loaded.new_context(facts)
    text = "".join(loaded.blocks[LIVE_BLOCK](context))
    etag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
    headers = {**HEADERS, hdrs.ETAG: etag}
    if request.headers.get(hdrs.IF_NONE_MATCH) == etag:
        return web.Response(status=304, headers=headers)
    return web.Response(text=text, content_type="text/html", charset="utf-8", headers=headers)


def is_fragment(request: web.Request) -> bool:
    """Whether the live part alone was asked for."""
    return FRAGMENT_HEADER in request.headers


if __name__ == "__main__":  # for an installation whose processes may not write
    compile_all()
