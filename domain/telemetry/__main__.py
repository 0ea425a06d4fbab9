"""`python -m domain.telemetry [--check]`: writes docs/metrics.md, or says that it is out of date."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from domain.telemetry.metrics import CATALOGUE, Metric

PAGE: Final = Path(__file__).parents[2] / "docs" / "metrics.md"

INTRODUCTION: Final = """\
# Metrics

<!-- Made by `python -m domain.telemetry` from domain/telemetry/metrics.py. -->

In Prometheus' text format, at `/metrics`. Workers and scheduler have a port for it when `WORKER_METRICS_PORT` and
`SCHEDULER_METRICS_PORT` are set. The front has it on its own port, or on `WEB_METRICS_PORT` alone where that is set:
in production it is, so that the public cannot read it. Each page adds up the processes of its program
([decision](decisions/metrics-of-several-processes.md)).

A histogram `x` has the series `x_bucket`, `x_sum` and `x_count`. What the front says of the service as a whole is the
same on every front: take the `max` of several, not the sum. Alerts are in `deploy/prometheus/`, what to do about them
in the [runbook](runbook.md), a dashboard in `deploy/grafana/`.
"""

SECTIONS: Final = (
    ("What processes count", False),
    ("How the service is: read from PostgreSQL and Redis at each scrape", True),
)


def page() -> str:
    """The page, as Markdown."""
    parts = [INTRODUCTION]
    for title, is_of_all in SECTIONS:
        parts.append(
            f"\n## {title}\n\n| metric | type | labels | told by | meaning |\n|---|---|---|---|---|\n"
        )
        parts += [_row(metric) for metric in CATALOGUE if metric.is_of_all is is_of_all]
    return "".join(parts)


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.type} | {labels} | {metric.told_by} | {metric.meaning} |\n"


def main(arguments: Sequence[str]) -> int:
    """Write the page; with `--check`, 1 when it is not what would be written."""
    text = page()
    if "--check" not in arguments:
        PAGE.write_text(text, "utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text("utf-8") == text:
        return 0
    print("docs/metrics.md is out of date: run python -m domain.telemetry", file=sys.stderr)  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
