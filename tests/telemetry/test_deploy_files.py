"""Alerts and dashboard ask for what the service really tells, and each alert has its section in the runbook."""

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
import yaml

from devkit.paths import ROOT
from domain.operators.shell import acting, looking, webhooks
from domain.operators.shell.frame import app
from domain.settings import read_settings
from domain.telemetry.metrics import CATALOGUE
from nudges import operators
from tests.support.jobs import engine_on
from web.routes.ops import PAGES, PREFIX
from workers.actors import all_handlers
from workers.parts import Parts

ALERTS = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text("utf-8"))
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
DASHBOARDS = sorted((ROOT / "deploy/grafana").glob("*.json"))
RUNBOOK = (ROOT / "docs/runbook.md").read_text("utf-8")

SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}
SERIES = {
    metric.name + suffix: {*metric.labels, *({"le"} if suffix == "_bucket" else ())}
    for metric in CATALOGUE
    for suffix in SUFFIXES[metric.type]
}
"""Every series and its labels, as the list has it: test_complete.py holds the list against running processes."""

OF_PROMETHEUS = {"job", "instance"}


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text("utf-8"))["panels"]:
            yield f"{path.name}: {panel['title']}", panel


def expressions() -> list[tuple[str, str]]:
    found = [(rule["alert"], rule["expr"]) for rule in RULES]
    found += [(title, target["expr"]) for title, panel in panels() for target in panel.get("targets", ())]
    return found


def parsed(expression: str) -> Any:
    """Raises ValueError for what is no PromQL; Grafana's own variables are durations."""
    return promql_parser.parse(expression.replace("$__rate_interval", "1m"))


def nodes(expr: Any) -> Iterator[Any]:
    """The expression and all that it is made of."""
    yield expr
    for name in ("expr", "lhs", "rhs", "vector_selector", "param"):
        inner = getattr(expr, name, None)
        if isinstance(inner, promql_parser.Expr):
            yield from nodes(inner)
    for inner in getattr(expr, "args", None) or ():
        yield from nodes(inner)


def selectors(expression: str) -> list[Any]:
    return [one for one in nodes(parsed(expression)) if isinstance(one, promql_parser.VectorSelector)]


def grouped_by(expression: str) -> Iterator[tuple[Any, list[str]]]:
    for node in nodes(parsed(expression)):
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            yield node, list(node.modifier.labels)


def problems_of(expression: str) -> list[str]:
    """What an expression asks for that nobody tells."""
    found = [f"no metric {one.name}" for one in selectors(expression) if one.name not in SERIES]
    for one in selectors(expression):
        has = SERIES.get(one.name or "", set()) | OF_PROMETHEUS
        found += [
            f"{one.name} has no label {each.name}" for each in one.matchers.matchers if each.name not in has
        ]
    for node, labels in grouped_by(expression):
        inside = [one for one in nodes(node) if isinstance(one, promql_parser.VectorSelector)]
        has = set().union(*(SERIES.get(one.name or "", set()) for one in inside)) | OF_PROMETHEUS
        found += [f"grouped by {label}, which nothing inside has" for label in labels if label not in has]
    return found


@pytest.mark.parametrize(("where", "expression"), expressions(), ids=lambda value: value[:40])
def test_every_expression_is_promql_and_asks_for_what_is_told(where: str, expression: str) -> None:
    assert selectors(expression), where
    assert not problems_of(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "max(mana_ledger_violation)",
        'mana_jobs{stat="due"}',
        "sum by (kind) (rate(mana_batch_size_count[5m]))",
        "sum(rate(mana_job_seconds[5m]))",
        "mana_jobs > 0 and mana_jbs > 0",
        "1 - sum by (pools) (mana_connections_in_use)",
        "topk(3, histogram_quantile(0.9, sum by (le) (rate(mana_batch_bucket[5m]))))",
    ],
)
def test_what_nobody_tells_would_be_found(expression: str) -> None:
    assert problems_of(expression)


def test_what_is_no_promql_would_be_found() -> None:
    with pytest.raises(ValueError, match=r"."):
        parsed("sum by (mana_jobs")


def test_values_of_labels_in_alerts_exist() -> None:
    """A label's value is named in its metric's meaning, or is a kind or line of the service."""
    meanings = {
        name: metric.meaning for metric in CATALOGUE for name in (metric.name, f"{metric.name}_count")
    }
    for alert, expression in expressions():
        for one in selectors(expression):
            for matcher in one.matchers.matchers:
                if matcher.name in ("state", "ending", "role", "pool", "batch"):
                    for value in matcher.value.split("|"):
                        assert f"`{value}`" in meanings[one.name], (alert, value)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_says_what_is_wrong_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))


def test_every_alert_has_a_section_of_the_runbook_and_every_section_an_alert() -> None:
    sections = re.findall(r"^### (\w+)$", RUNBOOK, re.MULTILINE)
    assert sorted(sections) == sorted(rule["alert"] for rule in RULES)
    assert len(set(sections)) == len(sections)


def test_every_metric_is_on_the_dashboard() -> None:
    shown = {
        one.name
        for _, panel in panels()
        for target in panel.get("targets", ())
        for one in selectors(target["expr"])
    }
    missing = {
        metric.name
        for metric in CATALOGUE
        if not shown & {metric.name + suffix for suffix in SUFFIXES[metric.type]}
    }
    assert not missing


def test_the_example_of_prometheus_reads_the_alerts() -> None:
    example = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text("utf-8"))
    assert example["rule_files"] == ["alerts.yml"]


def test_the_runbook_names_commands_pages_and_kinds_of_jobs_that_exist(redis_url: str) -> None:
    looking.add_to(app)
    acting.add_to(app)
    webhooks.add_to(app)
    operators.add_to(app)
    commands = {
        command.name or command.callback.__name__ for command in app.registered_commands if command.callback
    }
    assert set(re.findall(r"`\./dev admin ([a-z-]+)", RUNBOOK)) <= commands
    served = {PREFIX + path for _, path, _ in PAGES}
    assert set(re.findall(r"`(/ops[a-z/]*)", RUNBOOK)) <= served
    with engine_on("postgresql://nobody@127.0.0.1:9/nothing", pool_size=1) as engine:
        settings = read_settings({"ENV": "development", "REDIS_URL": redis_url})
        kinds = {handler.kind.kind for handler in all_handlers(Parts(settings, engine))}
    named = re.findall(r"(?:kinds?|Of) ((?:`[a-z_]+`(?: and )?)+)", RUNBOOK)
    assert len(named) >= 5
    assert {kind for group in named for kind in re.findall(r"`([a-z_]+)`", group)} <= kinds
