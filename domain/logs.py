"""Structured logs: JSON lines in production, readable lines in development.  No personal data, no secrets."""

from __future__ import annotations

import logging
import sys
import threading
from types import TracebackType

import structlog

from domain.scrubbing import scrubber_of
from domain.settings import Settings

log = structlog.get_logger(__name__)


def configure_logging(settings: Settings, process: str) -> None:
    """Send structlog's and the standard library's records to standard output, one line each, scrubbed.

    So are warnings, and errors that nobody caught, of the main thread and of others.
    """

    def add_process(
        _logger: object, _method: str, line: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        line["process"] = process  # no context variable: threads have contexts of their own
        return line

    shared: list[structlog.typing.Processor] = [
        add_process,
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    scrub = scrubber_of(settings)
    handler = _Handler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, scrub, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level)
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_on_a_thread


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]
    """A line that cannot be written is told of without its words, which nobody has scrubbed."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        error = sys.exc_info()[0]
        where = f"{record.name}:{record.lineno}"
        sys.stderr.write(f"a log line was lost: {'' if error is None else error.__name__} at {where}\n")


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    log.critical("uncaught", exc_info=(kind, error, trace))


def _uncaught_on_a_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None or issubclass(args.exc_type, SystemExit):
        return
    thread = args.thread.name if args.thread is not None else None
    log.critical("uncaught", thread=thread, exc_info=(args.exc_type, args.exc_value, args.exc_traceback))
