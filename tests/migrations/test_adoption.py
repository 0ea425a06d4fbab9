"""A wounded database of the old service is read, adopted in steps whoever is killed, and proven."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO

import psycopg
import pytest
from sqlalchemy import Connection, Engine

from devkit.paths import ROOT
from domain.database import make_engine
from migrations.adoption import running, steps
from migrations.adoption.__main__ import main
from migrations.adoption.old_books import differing, fingerprint, generate, remember
from migrations.adoption.reading import Report, read
from migrations.adoption.rehearsal import rehearse
from migrations.adoption.running import CannotAdopt, adopt, adoption_engine, state_of
from migrations.adoption.steps import Step
from migrations.adoption.wounds import KINDS
from migrations.revisions import head_revision
from tests import servers
from tests.migrations.conftest import clone_of, made_once
from tests.migrations.old_service import lost_rows, run_migrations, run_migrations_command
from tests.migrations.test_revisions import SCHEMA, lines, without_the_door
from tests.servers import SharedPostgres
from tests.support.crashes import Killed, engine_that_dies
from tests.support.crew import eventually
from tests.support.forking import start_module
from tests.support.ledger import execute, scalar, violations
from tests.support.process import process_environment

PEOPLE, ENTRIES = 1_100, 5_500


@pytest.fixture(scope="session")
def wounded_template(postgres: SharedPostgres) -> str:
    """The name of a database of the old service with all wounds."""
    return made_once(postgres, "wounded", make_wounded)


def make_wounded(url: str) -> None:
    run_migrations(url, "upgrade", "0001")
    engine = make_engine(url, pool_size=1)
    execute(engine, "DROP TABLE public.alembic_version")
    generate(engine, people=PEOPLE, entries=ENTRIES, told=lambda _: None)
    execute(
        engine,
        # A key of thousands of characters, and a purchase credited to somebody else.
        "UPDATE credits.transactions SET idempotency_key = repeat('k', 3000) WHERE description = 'message 1500'",
        """INSERT INTO credits.transactions (user_id, type, status, amount, balance_before, balance_after, app_id,
                                             description, metadata)
           SELECT 'stranger', 'purchase', 'completed', 100, 0, 100, 'stripe', '', jsonb_build_object('purchaseId', id)
           FROM credits.purchases WHERE status = 'pending' LIMIT 1""",
    )
    with engine.begin() as connection:
        remember(connection)
    engine.dispose()


@pytest.fixture
def wounded_url(postgres: SharedPostgres, wounded_template: str) -> Iterator[str]:
    with clone_of(postgres, wounded_template) as name:
        yield postgres.url(name)


@pytest.fixture
def wounded(wounded_url: str) -> Iterator[Engine]:
    engine = adoption_engine(wounded_url)
    yield engine
    engine.dispose()


def counts(report: Report) -> dict[str, tuple[int, int]]:
    return {wound.kind: (wound.count, wound.size) for wound in report.wounds if wound.count}


@dataclass(frozen=True)
class Ended:
    """A run of `python -m migrations.adoption`."""

    returncode: int
    stdout: str
    stderr: str


def command(*arguments: str) -> Ended:
    """Run it in this process: those that are killed, and the rehearsal's, are processes."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        code = main(list(arguments))
    return Ended(code, out.getvalue(), err.getvalue())


def everything(url: str) -> dict[str, set[str]]:
    """What adopting and migrating must make alike: all rows but the opening entries' ids and the times they give."""
    queries = {
        "entries": """SELECT concat_ws('|', CASE WHEN version = 0 THEN user_id ELSE id::text END, version, posting_key,
                          amount, balance_before, balance_after, held_after, earned_change, spent_change, status)
                      FROM credits.transactions""",
        "balances": """SELECT concat_ws('|', user_id, balance, held, total_earned, total_spent, version)
                       FROM credits.balances""",
        "reservations": "SELECT concat_ws('|', id, status, amount, is_expired) FROM credits.reservations",
        "purchases": "SELECT concat_ws('|', id, status, problem, next_check_at IS NULL) FROM credits.purchases",
        "gifts": "SELECT concat_ws('|', id, status, redeemed) FROM gifts.gift_codes",
        "schema": SCHEMA,
    }
    rows = {name: lines(url, query) for name, query in queries.items()}
    return {**rows, "schema": without_the_door(rows["schema"])}


def check_adopted(engine: Engine, before: tuple[int, str]) -> None:
    with engine.connect() as connection:
        assert differing(connection) == 0
        assert fingerprint(connection, is_ours=True) == before
    assert violations(engine) == []
    assert scalar(engine, "SELECT version_num FROM public.alembic_version") == head_revision()
    assert scalar(engine, "SELECT to_regnamespace('adoption') IS NULL")


def old_fingerprint(engine: Engine) -> tuple[int, str]:
    with engine.connect() as connection:
        return fingerprint(connection, is_ours=False)


def test_every_kind_of_wound_is_found_and_counted(wounded: Engine) -> None:
    found = counts(read(wounded))
    assert set(found) == {kind.name for kind in KINDS}
    # Every 50th person from the third on has 10 credits set aside, every 40th was granted 25 twice, and so on.
    assert found["held_without_entry"] == (22, 220)
    assert found["grants_repeated"] == (28, 28 * 25)
    assert found["completed_uncredited"] == (2, 200)
    assert found["credited_twice"] == (2, 200)
    assert found["credited_unfinished"] == (2, 200)
    assert found["gifts_expired_active"] == (22, 440)
    assert found["gifts_given_twice"] == (2, 40)
    assert found["below_zero"][0] == 2
    assert found["sync_no_balance"][0] == 2
    assert found["keys_too_long"][0] == 1


def test_the_worst_come_first(wounded: Engine) -> None:
    execute(wounded, "UPDATE credits.balances SET balance = balance + 900 WHERE user_id = 'hot'")
    [wound] = [wound for wound in read(wounded).wounds if wound.kind == "more_than_entries"]
    assert wound.worst[0].subject == "hot"
    assert wound.worst[0].size == 900
    assert [abs(case.size) for case in wound.worst] == sorted(
        (abs(case.size) for case in wound.worst), reverse=True
    )


def test_the_document_says_what_becomes_of_each_kind() -> None:
    document = " ".join((ROOT / "docs/adopting.md").read_text().split())
    for kind in KINDS:
        assert f"| {kind.says} | {kind.becomes} |" in document


def test_without_the_word_nothing_is_changed(wounded: Engine, wounded_url: str) -> None:
    before = old_fingerprint(wounded)
    schema = lines(wounded_url, SCHEMA)
    done = command(wounded_url)
    assert done.returncode == 0, done.stderr
    assert "Nothing was changed" in done.stdout
    assert (old_fingerprint(wounded), lines(wounded_url, SCHEMA)) == (before, schema)
    assert state_of(wounded) == "old"


def test_the_report_can_be_read_by_a_program(wounded_url: str) -> None:
    done = command(wounded_url, "--json")
    report = json.loads(done.stdout)
    assert {wound["kind"] for wound in report["wounds"]} == {kind.name for kind in KINDS}
    assert report["opening_entries"] > 0


def test_everybody_has_what_they_had_and_every_entry_is_as_it_was(wounded: Engine, wounded_url: str) -> None:
    before = old_fingerprint(wounded)
    report = read(wounded)
    done = command(wounded_url, "--apply")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "facts hold" in done.stdout
    check_adopted(wounded, before)
    opened = scalar(wounded, "SELECT count(*) FROM credits.transactions WHERE version = 0")
    assert opened == report.opening_entries
    in_order_of_time = """SELECT correlation FROM pg_stats
                          WHERE schemaname = 'credits' AND tablename = 'transactions' AND attname = 'created_at'"""
    assert scalar(wounded, in_order_of_time) > 0.99
    again = command(wounded_url, "--apply")
    assert (again.returncode, "ours already" in again.stdout) == (0, True)


@pytest.mark.parametrize("size", [20_000, 37])
def test_in_steps_it_becomes_what_the_migration_makes_of_it_at_once(
    postgres: SharedPostgres,
    wounded_template: str,
    wounded_url: str,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
) -> None:
    monkeypatch.setattr(running, "ENTRIES_PER_SLICE", size)
    monkeypatch.setattr(running, "PEOPLE_PER_SLICE", size)
    engine = adoption_engine(wounded_url)
    slices: list[str] = []
    assert adopt(engine, wounded_url, lambda progress: slices.append(progress.step)).holds
    engine.dispose()
    assert slices.count("slices") > ENTRIES // size // 2
    with clone_of(postgres, wounded_template) as name:
        run_migrations(postgres.url(name))
        migrated = everything(postgres.url(name))
    adopted = everything(wounded_url)
    for kind, rows in migrated.items():
        assert adopted[kind] == rows, kind


KILLED_EVERY = 7


@pytest.mark.parametrize("start", [1, 4])
def test_killed_at_any_statement_it_goes_on_where_it_was(
    postgres: SharedPostgres,
    wounded_template: str,
    wounded_url: str,
    monkeypatch: pytest.MonkeyPatch,
    start: int,
) -> None:
    """One database, and one death after another: each run gets a few statements further."""
    monkeypatch.setattr(running, "ENTRIES_PER_SLICE", 1_000)
    monkeypatch.setattr(running, "PEOPLE_PER_SLICE", 1_000)
    before_engine = adoption_engine(wounded_url)
    before = old_fingerprint(before_engine)
    deaths = 0
    dies_at = start
    while True:
        with engine_that_dies(wounded_url, dies_at) as engine:
            try:
                assert adopt(engine, wounded_url).holds
                break
            except Killed:
                deaths += 1
                dies_at += KILLED_EVERY
    assert deaths >= 5
    check_adopted(before_engine, before)
    before_engine.dispose()


def killed_once(url: str, when: Callable[[], bool]) -> None:
    """Run it, and kill -9 it as soon as `when` holds."""
    log = servers.shared_home() / f"adoption-{os.urandom(6).hex()}.log"
    process = start_module("migrations.adoption", process_environment({}), log, arguments=(url, "--apply"))
    deadline = time.monotonic() + 60
    while not when():
        assert process.poll() is None, f"it ended before it could be killed: {log.read_text()}"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()


def is_done(connection: psycopg.Connection, step: str) -> bool:
    if connection.execute("SELECT to_regclass('adoption.steps')").fetchone() == (None,):
        return False
    return connection.execute("SELECT FROM adoption.steps WHERE name = %s", (step,)).fetchone() is not None


def test_a_process_killed_within_a_statement_leaves_no_lock_and_half_of_nothing(
    wounded: Engine, wounded_url: str
) -> None:
    before = old_fingerprint(wounded)
    waits = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
               AND query LIKE '%ALTER TABLE credits.balances%'"""
    with psycopg.connect(wounded_url) as gate, psycopg.connect(wounded_url, autocommit=True) as watch:
        gate.execute(
            "LOCK TABLE credits.balances IN ACCESS SHARE MODE"
        )  # the fence may be put up, no column changed
        killed_once(wounded_url, lambda: watch.execute(waits).fetchone() == (1,))
        eventually(lambda: watch.execute(waits).fetchone() == (0,), "its session is gone", 8)
    assert state_of(wounded) == "under way"
    assert adopt(wounded, wounded_url).holds
    check_adopted(wounded, before)


def test_a_process_killed_between_its_steps_is_gone_on_from(wounded: Engine, wounded_url: str) -> None:
    before = old_fingerprint(wounded)
    with psycopg.connect(wounded_url, autocommit=True) as watch:
        killed_once(wounded_url, lambda: is_done(watch, "slices"))
    assert state_of(wounded) == "under way"
    told: list[str] = []
    assert adopt(wounded, wounded_url, lambda progress: told.append(progress.step)).holds
    assert not {"fence", "slices"} & set(told)
    check_adopted(wounded, before)


def half_adopted(engine: Engine, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but the guards is done."""

    def die(_connection: Connection) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(steps, "after_the_slices", lambda: (Step(name="die", run=die),))
        with pytest.raises(Killed):
            adopt(engine, url)


def test_nobody_writes_behind_its_back(
    wounded: Engine, wounded_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row written after its owner's slice would be lost: the old service is refused, and told why."""
    half_adopted(wounded, wounded_url, monkeypatch)
    for write in (
        "UPDATE credits.balances SET balance = balance + 1 WHERE user_id = 'hot'",
        "INSERT INTO credits.reservations (user_id, amount, reason) VALUES ('hot', 1, 'chat')",
        "DELETE FROM gifts.gift_redemptions",
        "TRUNCATE credits.usage_stats",
    ):
        with pytest.raises(Exception, match="being adopted"):
            execute(wounded, write)
    assert adopt(wounded, wounded_url).holds
    execute(wounded, "UPDATE credits.balances SET balance = balance + 1 WHERE user_id = 'hot'")
    assert violations(wounded) == []


def test_a_half_adopted_database_is_not_migrated_another_way(
    wounded: Engine, wounded_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    half_adopted(wounded, wounded_url, monkeypatch)
    with pytest.raises(AssertionError, match="half adopted"):
        run_migrations_command(wounded_url)
    assert command(wounded_url).returncode == 1
    assert adopt(wounded, wounded_url).holds


def test_a_table_in_use_is_not_waited_for_and_who_uses_it_is_said(
    wounded: Engine, wounded_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "SETTINGS", running.SETTINGS.replace("'10s'", "'100ms'"))
    before = old_fingerprint(wounded)
    with psycopg.connect(wounded_url, application_name="old-service") as old:
        old.execute("UPDATE credits.balances SET balance = balance WHERE user_id = 'hot'")
        with pytest.raises(CannotAdopt, match="old-service"):
            adopt(wounded, wounded_url)
    assert adopt(wounded, wounded_url).holds
    check_adopted(wounded, before)


def test_a_step_waits_for_the_last_commit_of_one_who_was_killed(
    wounded: Engine, wounded_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "SETTINGS", running.SETTINGS.replace("'10s'", "'100ms'"))
    with psycopg.connect(wounded_url) as last:
        last.execute("SELECT pg_advisory_xact_lock(%s)", (running.STEP_LOCK,))
        with pytest.raises(CannotAdopt):
            adopt(wounded, wounded_url)
    assert state_of(wounded) == "old"


def test_a_view_in_the_way_is_named_before_anything_is_done(wounded: Engine, wounded_url: str) -> None:
    execute(wounded, "CREATE VIEW public.in_the_way AS SELECT balance FROM credits.balances")
    done = command(wounded_url, "--apply")
    assert done.returncode == 1
    assert "public.in_the_way" in done.stderr
    assert state_of(wounded) == "old"


def test_what_differs_at_the_end_is_said_and_what_was_is_kept(
    wounded: Engine, wounded_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    half_adopted(wounded, wounded_url, monkeypatch)
    with wounded.begin() as connection:
        connection.exec_driver_sql("SELECT set_config('adoption.running', 'on', true)")
        connection.exec_driver_sql("UPDATE credits.balances SET balance = balance + 1 WHERE user_id = 'hot'")
    done = command(wounded_url, "--apply")
    assert done.returncode == 1
    assert "differs hot" in done.stdout
    assert "balance_is_sum_of_entries" in done.stdout
    assert scalar(wounded, "SELECT count(*) FROM adoption.balances_before WHERE user_id = 'hot'") == 1


@pytest.mark.parametrize("is_migrated", [True, False])
def test_any_other_database_is_left_alone(request: pytest.FixtureRequest, is_migrated: bool) -> None:
    url = request.getfixturevalue("database_url" if is_migrated else "empty_database_url")
    done = command(url, "--apply")
    assert done.returncode == (0 if is_migrated else 1)
    assert ("ours already" if is_migrated else "no tables of the old service") in done.stdout + done.stderr


def test_the_way_back_loses_nothing(old_database_url: str) -> None:
    engine = adoption_engine(old_database_url)
    assert adopt(engine, old_database_url).holds
    engine.dispose()
    assert lost_rows(old_database_url) == {}
    run_migrations(old_database_url, "downgrade", "0001")
    assert lost_rows(old_database_url) == {}
    with psycopg.connect(old_database_url) as connection:
        was = connection.execute("SELECT count(*) FROM before.credits_transactions").fetchone()
        assert connection.execute("SELECT count(*) FROM credits.transactions").fetchone() == was


def test_the_rehearsal_makes_kills_adopts_checks_and_goes_back(
    database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert rehearse(database_url, people=1_100, entries=3_300, keep=False) == 0
    printed = capfd.readouterr().out
    assert "adopt, killed" in printed
    assert "the facts held" in printed
