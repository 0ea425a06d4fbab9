"""docs/production.md names what is there: files, modules, alerts, events, figures."""

from __future__ import annotations

import importlib.util
import json
import re
import statistics
import subprocess

import pytest
import yaml

from devkit.commands import COMMANDS
from domain.database import CONNECTIONS_OVER_MAX
from domain.stripe_events import HANDLED_EVENTS
from tests.architecture.source import ROOT
from tests.production.deployed import DEPLOY, variables
from web.bridge import (
    BATCHES_IN_FLIGHT_MAX,
    CALLERS_BATCHES_IN_FLIGHT_MAX,
    THREADS,
)
from web.inbox import CONNECTIONS as INBOX_CONNECTIONS
from workers.process import CONNECTIONS_BESIDE_THREADS

PAGE = (ROOT / "docs/production.md").read_text("utf-8")
SHELL = re.findall(r"```(?:ba)?sh\n(.*?)```", PAGE, re.DOTALL)


def test_every_file_and_command_that_it_names_is_there() -> None:
    named = set(re.findall(r"\bdeploy/[\w./-]*\w", PAGE))
    assert len(named) > 10
    assert not {name for name in named if not (ROOT / name).exists()}
    modules = set(re.findall(r"\bmana-credits ((?:domain|nudges|migrations)[\w.]*)", PAGE))
    assert {"domain.invariants", "nudges.operators", "domain.packages", "migrations"} <= modules
    for module in modules:
        found = importlib.util.find_spec(module)
        assert found is not None, module
        assert (
            found.submodule_search_locations is None
            or (ROOT / module.replace(".", "/") / "__main__.py").is_file()
        )
    assert set(re.findall(r"`\./dev ([a-z]+)", PAGE)) <= set(COMMANDS)


@pytest.mark.parametrize("script", SHELL, ids=lambda script: script.strip().splitlines()[0][:40])
def test_what_is_to_be_pasted_is_shell(script: str) -> None:
    checked = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_every_variable_that_it_names_is_read() -> None:
    named = set(re.findall(r"`?\b([A-Z]+(?:_[A-Z]+)+)\b", PAGE))
    ours = {
        name
        for name in named
        if name in variables() or name.partition("_")[0] in ("WEB", "WORKER", "SCHEDULER", "DATABASE")
    }
    assert (
        {"WEB_PROCESSES", "WORKER_PROCESSES", "DATABASE_DIRECT_URL", "WEB_METRICS_PORT"}
        <= ours
        <= variables()
    )


def test_every_alert_is_explained_with_how_bad_it_is() -> None:
    alerts = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text("utf-8"))
    rules = [rule for group in alerts["groups"] for rule in group["rules"]]
    wanted = [(rule["alert"], rule["alert"].lower(), rule["labels"]["severity"]) for rule in rules]
    rows = re.findall(r"^\| \[(\w+)\]\(runbook\.md#(\w+)\) \| (\w+) \| .+ \|$", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(wanted)


def test_the_endpoint_at_stripe_is_told_of_every_event_that_has_an_effect() -> None:
    listed = PAGE.partition("an endpoint `")[2].partition("Packages to sell")[0]
    assert set(re.findall(r"`((?:payment_intent|checkout|charge|refund)\.[\w.]+)`", listed)) == set(
        HANDLED_EVENTS
    )


def test_connections_are_counted_as_the_code_opens_them() -> None:
    hot = BATCHES_IN_FLIGHT_MAX + CALLERS_BATCHES_IN_FLIGHT_MAX + 1
    cold = THREADS + CONNECTIONS_OVER_MAX
    direct = hot + INBOX_CONNECTIONS
    said = f"({hot} hot, {INBOX_CONNECTIONS} for webhooks, {cold} cold)"
    assert f"{direct + cold} for a process of the front {said}" in PAGE
    assert f"`WORKER_THREADS` + {CONNECTIONS_BESIDE_THREADS + CONNECTIONS_OVER_MAX} for a worker" in PAGE
    assert f"holds {direct} connections to PostgreSQL instead of {direct + cold}" in PAGE


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        ("deductions", "7,800 a second"),
        ("batch_endpoint", "30,000 deductions a second"),
        ("balance_reads", "14,000 a second"),
        ("renewals", "10,800 a second"),
        ("event_to_credits", "109 ms, p99"),
        ("memory", "front 126 MB a process"),
    ],
)
def test_figures_promise_no_more_than_was_measured(figure: str, said: str) -> None:
    """Newer measurements may be better by any amount, and worse by what machines differ."""
    assert said in PAGE
    promised = float(re.sub(r"[^\d]", "", said.partition(" a second")[0].partition(", p99")[0]))
    result = json.loads((ROOT / f"bench/results/{figure}.json").read_text("utf-8"))
    measured = statistics.median(result["series"][0]["values"])
    assert measured >= 0.75 * promised if "second" in said else measured <= 1.3 * promised
