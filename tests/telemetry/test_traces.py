"""One trace from an HTTP request through its job to the ledger; off, nothing is made and nothing is imported."""

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from devkit.paths import ROOT
from domain.settings import read_settings
from domain.telemetry import traces
from tests.support.process import process_environment
from tests.support.service import Service, environment
from workers.__main__ import DRAIN_SECONDS
from workers.actors import all_handlers
from workers.process import run_process

CALLERS_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """What is traced while the test runs."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    traces.trace_with(provider)
    yield exporter
    traces.trace_with(None)


@pytest.fixture
def real_workers(database_url: str, redis_url: str) -> Iterator[None]:
    """Dramatiq's workers, in this process."""
    stop = threading.Event()
    variables = environment(database_url=database_url, redis_url=redis_url, auth_url="")
    settings = read_settings({**variables, "WORKER_THREADS": "2"})
    thread = threading.Thread(
        target=run_process,
        args=(settings, stop),
        kwargs={"handlers_of": all_handlers, "drain_seconds": DRAIN_SECONDS},
    )
    thread.start()
    yield
    stop.set()
    thread.join()


def of_trace(spans: InMemorySpanExporter, trace: str) -> dict[str, ReadableSpan]:
    return {
        span.name: span
        for span in spans.get_finished_spans()
        if span.context is not None and f"{span.context.trace_id:032x}" == trace
    }


def is_under(inner: ReadableSpan, outer: ReadableSpan) -> bool:
    return (
        inner.parent is not None
        and outer.context is not None
        and inner.parent.span_id == outer.context.span_id
    )


async def test_a_request_its_job_and_what_it_posts_are_one_trace(
    spans: InMemorySpanExporter, real_workers: None, service: Service
) -> None:
    (await service.grant("anna", 10)).ok()
    spans.clear()
    body = {"userId": "anna", "amount": 2, "description": "private words"}
    headers = {"traceparent": f"00-{CALLERS_TRACE}-00f067aa0ba902b7-01"}
    (await service.internal("POST", "/refund", body, headers=headers)).ok()
    found = of_trace(spans, CALLERS_TRACE)
    route = "POST /api/v1/internal/credits/refund"
    # the job's span ends after its commit, which the request sees
    for _ in range(200):
        if "job refund_credits" in found:
            break
        await service.call("GET", "/health")
        found = of_trace(spans, CALLERS_TRACE)
    assert set(found) == {route, "job refund_credits", "ledger.post"}
    assert is_under(found["job refund_credits"], found[route])
    assert is_under(found["ledger.post"], found["job refund_credits"])
    told = repr([(span.attributes, span.events) for span in spans.get_finished_spans()])
    assert "private words" not in told
    assert "anna" not in told


async def test_deductions_of_one_batch_have_a_trace_each(
    spans: InMemorySpanExporter, service: Service
) -> None:
    (await service.grant("anna", 10)).ok()
    spans.clear()
    (await service.use("anna", 1)).ok()
    assert (await service.use("anna", 100)).status == 402
    posts = [span for span in spans.get_finished_spans() if span.name == "ledger.post"]
    assert len({span.context.trace_id for span in posts if span.context}) == 2


def test_an_error_is_named_without_its_words(spans: InMemorySpanExporter) -> None:
    with pytest.raises(RuntimeError), traces.span("work"):
        raise RuntimeError("private words")
    [span] = spans.get_finished_spans()
    assert not span.status.is_ok
    assert "private" not in span.to_json()
    assert span.attributes is not None
    assert span.attributes["error.type"] == "RuntimeError"


def test_off_a_span_is_nothing_and_work_is_carried_as_it_is() -> None:
    assert traces.span("one") is traces.span("two", parent="x", job_id="y")
    assert traces.carried(print) is print
    assert traces.current() is None


def test_off_nothing_of_opentelemetry_is_imported_or_needed() -> None:
    # Redis' client imports it by itself where it is installed.
    code = (
        "import sys, domain.ledger, domain.jobs, domain.telemetry.traces\n"
        "assert 'opentelemetry' not in sys.modules\n"
        "sys.modules['opentelemetry'] = None\n"
        "import web.app, workers.process, scheduler.clock"
    )
    subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=process_environment({}), check=True, timeout=60
    )


@pytest.mark.parametrize("program", ["web", "workers", "scheduler"])
def test_on_without_the_packages_a_program_says_what_to_install(program: str) -> None:
    code = (
        "import sys, runpy; sys.modules['opentelemetry'] = None; "
        f"sys.argv = [{program!r}]; runpy.run_module({program!r}, run_name='__main__')"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=process_environment({"ENV": "development", "TRACES": "on"}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 2
    assert "requirements-traces.lock" in ran.stderr
