"""The page that Prometheus reads: of one process, or of all that count together."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest, start_http_server

from domain.telemetry.sharing import shared_registry

CONTENT_TYPE = CONTENT_TYPE_LATEST


def page() -> bytes:
    """What this process counts, and those that count together with it."""
    return generate_latest(shared_registry() or REGISTRY)


def serve(port: int, host: str, *, directory: str | None = None) -> Callable[[], None]:
    """Serve the page on a port of its own, for a program that speaks no HTTP; call what it returns to end it.

    With `directory`, the page of the processes that count there.  A `port` of 0 means no page.
    Raises OSError when the port is taken.
    """
    if port == 0:
        return lambda: None
    server, thread = start_http_server(port, host, shared_registry(directory) or REGISTRY)

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return close
