"""Traces, where TRACES=on: a request, the jobs that follow from it, and what they post to the ledger, in one trace.

Off, a span is a look at one name, and nothing of OpenTelemetry is imported.  On, its packages must be installed (the
extra `traces`); its own variables (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER, …) say where spans go.

A span holds names, ids of jobs and counts.  It holds no words of an error and nothing of people.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Final, TypeVar

from domain.settings import Settings

T = TypeVar("T")

TRACEPARENT: Final = "traceparent"
"""W3C's name for what one process tells the next of the trace."""

_NOTHING: Final[AbstractContextManager[None]] = nullcontext()

_tracer: Any = None


class TracesNotInstalled(Exception):
    """TRACES=on, and the packages are not there."""

    def __init__(self) -> None:
        super().__init__("TRACES=on needs the extra `traces`: install deploy/requirements-traces.lock")


def configure_traces(settings: Settings, process: str) -> Callable[[], None]:
    """Begin to trace if the settings say so; call what it returns at the end, so that no span is lost.

    Raises TracesNotInstalled.
    """
    if not settings.telemetry.traces:
        return lambda: None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise TracesNotInstalled from error
    provider = TracerProvider(resource=Resource.create({"service.name": f"mana-credits-{process}"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace_with(provider)

    def close() -> None:
        trace_with(None)
        provider.shutdown()

    return close


def trace_with(provider: Any | None) -> None:
    """Make spans with this provider of OpenTelemetry's from now on; with None, make none."""
    global _tracer  # noqa: PLW0603 - one for the process, as logging has its handlers
    _tracer = None if provider is None else provider.get_tracer("mana-credits")


def are_on() -> bool:
    """Whether spans are made."""
    return _tracer is not None


def span(name: str, *, parent: str | None = None, **attributes: str | int) -> AbstractContextManager[None]:
    """What happens in the block, as a part of what is under way, or of `parent`, a `traceparent`."""
    return _NOTHING if _tracer is None else _span(name, parent, attributes)


def current() -> str | None:
    """The `traceparent` of what is under way, to hand on; None when nothing is traced."""
    if _tracer is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(TRACEPARENT)


def carried(work: Callable[..., T]) -> Callable[..., T]:
    """The work, for another thread to do as a part of what is under way here."""
    return work if _tracer is None else partial(contextvars.copy_context().run, work)


@contextmanager
def _span(name: str, parent: str | None, attributes: dict[str, str | int]) -> Iterator[None]:
    from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    context = TraceContextTextMapPropagator().extract({TRACEPARENT: parent}) if parent else None
    # Left to itself, OpenTelemetry would keep the words of errors.
    opened = _tracer.start_as_current_span(
        name, context=context, attributes=attributes, record_exception=False, set_status_on_exception=False
    )
    with opened as made:
        try:
            yield
        except BaseException as error:
            made.set_attribute("error.type", type(error).__name__)
            made.set_status(Status(StatusCode.ERROR))
            raise
