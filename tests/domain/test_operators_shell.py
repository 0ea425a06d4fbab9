"""`python -m domain.operators`: the same as the API, as tables and as JSON, on DATABASE_URL."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from devkit.paths import ROOT
from domain.operators.shell import acting, looking, webhooks
from domain.operators.shell.frame import app, run
from tests.support.ledger import balance, give, post, scalar, take
from tests.support.process import process_environment
from tests.support.webhooks import fill
from tests.support.world import NOW, World, job_in_state, make_world

looking.add_to(app)
acting.add_to(app)
webhooks.add_to(app)


@pytest.fixture
def world(engine: Engine) -> World:
    return make_world(engine)


@dataclass
class Ran:
    returncode: int
    stdout: str
    stderr: str


@dataclass
class Admin:
    """A shell with DATABASE_URL; its commands run here, each as a process of its own would."""

    capture: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch
    commands: int = 0

    def run(self, *arguments: str, typed: str = "") -> Ran:
        self.monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        self.capture.readouterr()
        self.commands += 1
        now = NOW + timedelta(milliseconds=self.commands)  # a moment later each time, as for whoever types
        code = run(lambda: now, arguments)
        said = self.capture.readouterr()
        return Ran(code, said.out, said.err)

    def json(self, *arguments: str) -> Any:
        ran = self.run("--json", *arguments)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)


@pytest.fixture
def admin(database_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Admin:
    for name, value in {"DATABASE_URL": database_url, "ENV": "development", "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)
    return Admin(capsys, monkeypatch)


def test_what_there_is_to_see_is_printed_as_json_and_as_tables(world: World, admin: Admin) -> None:
    assert admin.json("overview")["now"]["in_gifts"] == 60
    assert [one["user_id"] for one in admin.json("find", world.open_gift.code)] == ["anna"]
    assert {one["id"] for one in admin.json("jobs", "--state", "failed")} == {str(world.failed_id)}
    assert admin.json("person", "anna")["emails"] == ["Anna@Example.org"]
    assert [one["id"] for one in admin.json("purchases")] == [str(world.purchase_id)]
    shown = admin.run("person", "anna")
    assert shown.returncode == 0, shown.stderr
    assert world.open_gift.code in shown.stdout


def test_an_adjustment_is_shown_asked_about_done_once_and_audited(world: World, admin: Admin) -> None:
    before = balance(world.engine, "ben").balance
    assert admin.run("adjust", "ben", "5", "-r", "ticket 1", typed="n\n").returncode == 0
    assert admin.run("adjust", "ben", "5", "-r", "ticket 1", "--dry-run").returncode == 0
    assert balance(world.engine, "ben").balance == before
    for _ in range(2):
        admin.json("adjust", "ben", "5", "-r", "ticket 1", "--yes", "--key", "k")
    assert balance(world.engine, "ben").balance == before + 5
    admin.json("adjust", "-r", "ticket 2", "--yes", "--", "ben", "-2.5")
    [taken, given] = admin.json("audit", "--action", "adjust_credits")
    assert (given["reason"], taken["reason"]) == ("ticket 1", "ticket 2")
    assert given["actor"].startswith("shell:")


def test_what_is_refused_says_why_and_ends_with_1(world: World, admin: Admin) -> None:
    for arguments in (
        ("adjust", "nobody", "5", "-r", "x", "--yes"),
        ("adjust", "ben", "10001", "-r", "x", "--yes"),
        ("adjust", "-r", "x", "--yes", "--", "ben", "-51"),
        ("adjust", "ben", "NaN", "-r", "x", "--yes"),
        ("cancel", str(world.failed_id), "-r", "x", "--yes"),
        ("adjust", "ben", "5", "-r", " ", "--yes"),
    ):
        ran = admin.run(*arguments)
        assert ran.returncode == 1, arguments
        assert ran.stderr.startswith("admin: ")
        assert "Traceback" not in ran.stderr
    assert admin.run("adjust", "ben", "5").returncode == 2  # no reason at all
    assert admin.run("no-such-command").returncode == 2
    assert scalar(world.engine, "SELECT count(*) FROM ops.audit") == 0


def test_all_failed_jobs_run_again(world: World, admin: Admin) -> None:
    with world.engine.begin() as connection:
        for _ in range(20):
            job_in_state(connection, "failed")
    admin.json("retry-failed", "test_chore", "-r", "mended", "--yes")
    assert scalar(world.engine, "SELECT count(*) FROM ops.jobs WHERE state = 'failed'") == 0


def test_the_check_tells_by_its_exit_code_whether_the_ledger_holds(engine: Engine, admin: Admin) -> None:
    post(engine, give("anna", 10))
    assert all(fact["violation_count"] == 0 for fact in admin.json("check")["findings"])
    assert scalar(engine, "SELECT count(*) FROM ops.ledger_checks") == 1


def test_an_export_goes_to_a_file(world: World, admin: Admin, tmp_path: Path) -> None:
    file = tmp_path / "entries.jsonl"
    ran = admin.run("export", str(file), "--user", "anna", "--format", "jsonl")
    assert ran.returncode == 0, ran.stderr
    assert len(file.read_text().splitlines()) == 7
    assert admin.run("export").returncode == 1  # neither whose nor when


def test_a_text_of_a_user_is_no_markup_and_no_control_character(engine: Engine, admin: Admin) -> None:
    post(engine, give("anna", 10))
    post(engine, take("anna", 1, description="[red]x[/red] \x1b[31m [/nope]"))
    ran = admin.run("person", "anna")
    assert ran.returncode == 0, ran.stderr
    assert "[red]x[/red]" in ran.stdout
    assert "\x1b" not in ran.stdout


def test_a_password_is_hashed_for_the_environment_by_a_process_of_its_own() -> None:
    for typed, code, printed in (("correct horse battery", 0, "$argon2id$"), ("short", 1, "")):
        ran = subprocess.run(
            [sys.executable, "-m", "domain.operators", "hash-password"],
            cwd=ROOT,
            env={**process_environment({}), "ENV": "development"},
            input=f"{typed}\n{typed}\n",
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (ran.returncode, ran.stdout[:10]) == (code, printed), ran.stderr


def test_without_a_database_it_says_so(admin: Admin) -> None:
    admin.monkeypatch.setenv("DATABASE_URL", "postgresql://postgres@127.0.0.1:1/nothing")
    ran = admin.run("overview")
    assert ran.returncode == 1
    assert "the database does not answer" in ran.stderr


def test_a_list_of_a_persons_days_revenue_and_checks_are_told(world: World, admin: Admin) -> None:
    every = admin.json("person", "anna", "--only", "entries")
    assert len(every) == 7
    assert admin.json("person", "anna", "--only", "entries", "--limit", "2", "--offset", "3") == every[3:5]
    assert len(admin.json("person", "anna", "--only", "gifts-made")) == 2
    for which in ("entries", "reservations", "gifts-made", "gifts-received"):
        assert admin.run("person", "anna", "--only", which).returncode == 0
    assert [one["entries"] for one in admin.json("days", "2")] == [5, 7]
    assert sum(one["renewals"] for one in admin.json("revenue", "31")) == 2
    assert len(admin.json("checks")) == 1
    for command in ("days", "revenue", "checks"):
        assert admin.run(command).returncode == 0


def test_an_endpoint_that_took_nothing_is_seen_and_is_sent_again_what_was_given_up(
    engine: Engine, admin: Admin
) -> None:
    rows = fill(engine)
    works, given_up = str(rows.works), str(rows.deliveries["failed"])
    seen = {one["app_id"]: one for one in admin.json("webhooks")}
    assert {app: one["state"] for app, one in seen.items()} == {
        "chat": "active",
        "dream": "active",
        "mail": "paused",
        "research": "disabled",
    }
    failed = admin.json("deliveries", works, "--state", "failed")
    assert [one["id"] for one in failed] == [given_up]
    assert seen["chat"]["deliveries_failed"] == 1
    assert admin.json("deliveries", works, "--user", "nobody") == []
    assert admin.json("deliveries", works, "--until", "2020-01-01") == []
    assert admin.json("delivery", given_up)["tried"][-1]["status"] == 503
    for looks in (["webhooks"], ["deliveries", works], ["delivery", given_up]):
        assert admin.run(*looks).returncode == 0
    assert "out of <b>order</b>" in admin.run("delivery", given_up).stdout

    because = ("-r", "mended", "--yes")
    assert admin.run("redeliver-failed", works, *because).returncode == 2  # of what time?
    done = admin.json("redeliver-failed", works, "--since", "2020-01-01", *because)
    assert (done["facts"]["redelivered"], done["facts"]["left"]) == (1, 0)
    admin.json("redeliver", str(rows.deliveries["delivered"]), *because)
    assert admin.json("deliveries", works, "--state", "failed") == []
    admin.json("pause-webhook", works, *because)
    refused = admin.run("try-webhook", works, *because)
    assert (refused.returncode, "paused" in refused.stderr) == (1, True)
    admin.json("enable-webhook", works, *because)
    waiting = len(admin.json("deliveries", works, "--state", "waiting"))
    admin.json("try-webhook", works, *because)
    assert len(admin.json("deliveries", works, "--state", "waiting")) == waiting + 1
    assert len(admin.json("audit")) == 5
