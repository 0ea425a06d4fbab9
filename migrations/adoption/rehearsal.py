"""The rehearsal: a large old database is made, adopted by a process that is killed once, checked, and brought back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec
from alembic import command
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sqlalchemy import Engine, make_url

from domain.database import transaction
from migrations.adoption.old_books import differing, fingerprint, generate, remember
from migrations.adoption.running import adoption_engine
from migrations.config import OLD_SERVICE_REVISION, alembic_config

KILLED_AT: Final = 0.4
"""How much of the entries is carried over when the adopting process is killed."""

LOOKS_EVERY_SECONDS: Final = 0.1

CHILD_TIMEOUT_SECONDS: Final = 4 * 3600


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """One process: how it ended, how long it took, its most memory, and the most of the server's for it."""

    what: str
    code: int
    seconds: float
    process_mb: float
    server_mb: float | None


def rehearse(database_url: str, *, people: int, entries: int, keep: bool) -> int:
    """Rehearse in a database of its own on the server of `database_url`; 0 when everything held."""
    console = Console()
    name = f"mana_credits_rehearsal_{os.getpid()}"
    with _database(database_url, name, keep=keep) as url:
        engine = adoption_engine(url)
        try:
            before = _make(console, engine, url, people, entries)
            runs = [
                _run(engine, "report", "migrations.adoption", url),
                _run(engine, "adopt, killed", "migrations.adoption", url, "--apply", kills=True),
                _run(engine, "adopt, to the end", "migrations.adoption", url, "--apply"),
            ]
            problems = [
                f"{ran.what} ended with {ran.code}" for ran in (runs[0], runs[2]) if ran.code != 0
            ] + _check(engine, before, is_ours=True)
            if runs[1].code != -signal.SIGKILL:
                problems.append("the adopting process was too fast to be killed")
            runs.append(_run(engine, "back to the old schema", "migrations", "downgrade", "0001", url=url))
            problems += _check(engine, before, is_ours=False)
            _show(console, engine, runs)
        finally:
            engine.dispose()
    for problem in problems:
        console.print(f"[red]{problem}[/]")
    if not problems:
        console.print(
            f"{before[0]:,} entries and everybody's balance came over, and back, to the thousandth; the facts held.",
            soft_wrap=True,
        )
    if keep:
        console.print(f"kept: the database {name}")
    return 1 if problems else 0


@contextmanager
def _database(database_url: str, name: str, *, keep: bool) -> Iterator[str]:
    engine = adoption_engine(database_url)
    beside = engine.execution_options(isolation_level="AUTOCOMMIT")
    try:
        with beside.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            yield make_url(database_url).set(database=name).render_as_string(hide_password=False)
        finally:
            if not keep:
                with beside.connect() as connection:
                    connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        engine.dispose()


def _make(console: Console, engine: Engine, url: str, people: int, entries: int) -> tuple[int, str]:
    began = time.monotonic()
    command.upgrade(alembic_config(url), OLD_SERVICE_REVISION)
    with transaction(engine) as connection:
        connection.exec_driver_sql("DROP TABLE public.alembic_version")
    with Progress(console=console, transient=True) as bars:
        bar = bars.add_task("making an old database", total=entries)
        generate(engine, people=people, entries=entries, told=lambda done: bars.update(bar, completed=done))
    with transaction(engine) as connection:
        remember(connection)
    with engine.connect() as connection:
        made = fingerprint(connection, is_ours=False)
    console.print(
        f"An old database of {people:,} people and {made[0]:,} entries, made in"
        f" {time.monotonic() - began:.0f} s."
    )
    return made


def _check(engine: Engine, before: tuple[int, str], *, is_ours: bool) -> list[str]:
    where = "after adopting" if is_ours else "back in the old schema"
    with engine.connect() as connection:
        problems = []
        if count := differing(connection):
            problems.append(f"{where}, {count} people have something else than before")
        if fingerprint(connection, is_ours=is_ours) != before:
            problems.append(f"{where}, the old entries are not what they were")
        return problems


def _run(engine: Engine, what: str, module: str, *arguments: str, kills: bool = False, url: str = "") -> Ran:
    """Run a module, watch its memory and the server's; with `kills`, kill it in the middle of the slices."""
    began = time.monotonic()
    environment = {**os.environ, "ENV": "development", **({"DATABASE_URL": url} if url else {})}
    with _server_memory(engine) as server:
        child = subprocess.Popen([sys.executable, "-m", module, *arguments], env=environment)  # noqa: S603  # nosec B603
        if kills:
            _kill_in_the_middle(engine, child)
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return Ran(
        what=what,
        code=child.returncode,
        seconds=time.monotonic() - began,
        process_mb=usage.ru_maxrss / 1024,
        server_mb=max(server, default=0) / 1024 if server else None,
    )


def _kill_in_the_middle(engine: Engine, child: subprocess.Popen[bytes]) -> None:
    wanted = f"SELECT entries_done >= {KILLED_AT} * entries FROM adoption.progress"
    is_there = "SELECT to_regclass('adoption.progress') IS NOT NULL"
    deadline = time.monotonic() + CHILD_TIMEOUT_SECONDS
    # WNOWAIT leaves the child to be waited for by who reads its usage.
    while os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        with engine.connect() as connection:
            if (
                connection.exec_driver_sql(is_there).scalar_one()
                and connection.exec_driver_sql(wanted).scalar()
            ):
                child.kill()
                return
        if time.monotonic() > deadline:
            child.kill()
            raise TimeoutError("the adopting process does not get on")
        time.sleep(LOOKS_EVERY_SECONDS)


@contextmanager
def _server_memory(engine: Engine) -> Iterator[list[int]]:
    """The private memory, in kB, of the server's processes for this database, looked at again and again.

    Empty where the server runs on another machine.  Shared buffers, which the server always has, are left out.
    """
    seen: list[int] = []
    is_over = threading.Event()

    def look() -> None:
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            while not is_over.wait(LOOKS_EVERY_SECONDS):
                pids = connection.exec_driver_sql(
                    "SELECT pid FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                ).scalars()
                sizes = [size for pid in pids if (size := _private_kb(pid)) is not None]
                if sizes:
                    seen.append(sum(sizes))

    thread = threading.Thread(target=look, name="server memory")
    thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        thread.join()


def _private_kb(pid: int) -> int | None:
    """The private memory of a process of PostgreSQL's on this machine; None for any other."""
    with suppress(OSError):
        process = Path("/proc") / str(pid)
        if (process / "comm").read_text().startswith("postgres"):
            for line in (process / "status").read_text().splitlines():
                if line.startswith("RssAnon:"):
                    return int(line.split()[1])
    return None


def _show(console: Console, engine: Engine, runs: list[Ran]) -> None:
    with engine.connect() as connection:
        version = connection.exec_driver_sql("SHOW server_version").scalar_one()
    table = Table("", "time", "process at most", "server at most", title=f"PostgreSQL {version}")
    for ran in runs:
        server = "elsewhere" if ran.server_mb is None else f"{ran.server_mb:.0f} MB"
        table.add_row(ran.what, f"{ran.seconds:.1f} s", f"{ran.process_mb:.0f} MB", server)
    console.print(table)
