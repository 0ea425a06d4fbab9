"""The machine under measurement: a durable PostgreSQL of its own, and the service's processes, all real."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import psycopg

from bench import cpu, sending
from bench.plan import Plan, Report
from bench.sending import Sending
from devkit import ports
from devkit.child import log_tail
from devkit.cluster import DATABASE
from devkit.paths import ROOT
from devkit.postgres import Postgres
from devkit.valkey import Valkey
from devkit.waiting import wait_until

SERVICE_KEY = "bench-service-key"
WEBHOOK_SECRET = "whsec_bench"
START_SECONDS = 30.0
STOP_SECONDS = 60.0
USERS = 1_000
CREDITS_EACH = 1_000_000_000


@dataclass
class Accounts:
    """Who uses the machine: processes by their part, and what the load generators used."""

    pids: dict[str, list[int]] = field(default_factory=dict)
    generator_seconds: float = 0.0
    generators: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Front:
    """A front that runs."""

    port: int
    pid: int

    @property
    def address(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Rig:
    """PostgreSQL with fsync and synchronous commits, a migrated database in it, and where the home is."""

    home: Path
    postgres: Postgres
    database: str = DATABASE
    accounts: Accounts = field(default_factory=Accounts)

    @property
    def url(self) -> str:
        """The database of the service."""
        return self.postgres.url(self.database)

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        """Run statements and commit; the rows of the last one, if it has any."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def count(self, of: str) -> int:
        """`SELECT count(*) FROM …`."""
        [(count,)] = self.sql(f"SELECT count(*) FROM {of}")
        assert isinstance(count, int)
        return count

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of the service's processes."""
        return {
            **os.environ,
            "ENV": "development",
            "DATABASE_URL": self.url,
            "REDIS_URL": "redis://127.0.0.1:1/0",  # spending asks no Redis
            "MANA_SERVICE_KEY": SERVICE_KEY,
            "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "LOG_LEVEL": "WARNING",
            "LOG_FORMAT": "json",
            **more,
        }

    def new_database(self, name: str) -> Rig:
        """Another database on the same server, migrated and without anybody."""
        self.sql(f"CREATE DATABASE {name}")
        made = replace(self, database=name)
        migrate = [sys.executable, "-m", "migrations"]
        subprocess.run(migrate, cwd=ROOT, env=made.environment(), check=True)
        return made

    @contextmanager
    def front(self, module: str = "web", **environment: str) -> Iterator[Front]:
        """A front process."""
        port = ports.choose()
        env = self.environment(PORT=str(port), HOST="127.0.0.1", **environment)
        name = "front" if module == "web" else module.rpartition(".")[2]
        with self.process(name, [sys.executable, "-m", module], env) as running:
            front = Front(port, running.pid)
            if not wait_until(lambda: answers(front.address), START_SECONDS):
                raise RuntimeError(f"{module} did not start:\n{log_tail(self.home / f'{name}.log')}")
            yield front

    @contextmanager
    def crew(self, worker_processes: int, **environment: str) -> Iterator[tuple[Front, str]]:
        """Front, workers and a Valkey; the front, and Redis' address."""
        with ExitStack() as stack:
            valkey = Valkey(Path(tempfile.mkdtemp(prefix="valkey-", dir=self.home)))
            valkey.start()
            stack.callback(valkey.stop)
            url = valkey.url()
            front = stack.enter_context(self.front(REDIS_URL=url, **environment))
            env = self.environment(REDIS_URL=url, WORKER_PROCESSES=str(worker_processes), **environment)
            stack.enter_context(self.process("workers", [sys.executable, "-m", "workers"], env))
            beats = "ops.heartbeats WHERE role = 'worker'"
            if not wait_until(lambda: self.count(beats) >= worker_processes, START_SECONDS):
                raise RuntimeError(f"the workers did not start:\n{log_tail(self.home / 'workers.log')}")
            yield front, url

    @contextmanager
    def process(
        self, name: str, command: list[str], environment: Mapping[str, str]
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A process that ends with the block; its CPU is accounted to `name`."""
        # Not to the terminal: thousands of refusals are as many lines, and a terminal is slow.
        with (self.home / f"{name}.log").open("ab") as log:
            running = subprocess.Popen(command, cwd=ROOT, env=dict(environment), stdout=log, stderr=log)
        pids = self.accounts.pids.setdefault(name, [])
        pids.append(running.pid)
        try:
            yield running
        finally:
            running.terminate()
            running.wait(STOP_SECONDS)
            pids.remove(running.pid)

    def send(self, plan: Plan, *, own: bool = False) -> Report:
        """Send a plan and wait for its end.  `own`: by the project's own generator."""
        return self.note(sending.start(plan, own=own).wait())

    @contextmanager
    def beside(self, plan: Plan, *, own: bool = False) -> Iterator[list[Report]]:
        """Send a plan while the block runs, and stop it then; the report is in the list afterwards."""
        under_way: Sending = sending.start(plan, own=own)
        reports: list[Report] = []
        try:
            yield reports
        finally:
            reports.append(self.note(under_way.stop()))

    def note(self, report: Report) -> Report:
        """Account for what a generator used."""
        self.accounts.generator_seconds += report.cpu_seconds
        self.accounts.generators.add(report.generator)
        return report

    def cpu_seconds(self) -> dict[str, float]:
        """CPU seconds so far of each part."""
        used = {
            name: sum(cpu.cpu_seconds(pid) for pid in pids)
            for name, pids in self.accounts.pids.items()
            if pids
        }
        return {**used, "generator": self.accounts.generator_seconds}

    def settle(self) -> None:
        """Write out what is dirty, so that no turn pays for the one before it."""
        self.sql("CHECKPOINT")
        time.sleep(0.2)


@contextmanager
def rig() -> Iterator[Rig]:
    """A fresh one, with USERS people who have plenty; everything goes at the end."""
    home = Path(tempfile.mkdtemp(prefix="mana-bench-"))
    postgres = Postgres(home / "postgres")
    try:
        postgres.start()
        made = Rig(home, postgres)
        pid = postgres.pid
        assert pid is not None
        made.accounts.pids["postgres"] = [pid]
        migrate = [sys.executable, "-m", "migrations"]
        subprocess.run(migrate, cwd=ROOT, env=made.environment(), check=True)
        made.sql(
            "INSERT INTO credits.balances (user_id, balance, total_earned)"
            f" SELECT 'user-' || g, {CREDITS_EACH}, {CREDITS_EACH} FROM generate_series(0, {USERS - 1}) g"
        )
        made.sql("VACUUM ANALYZE")
        yield made
    finally:
        postgres.stop()
        shutil.rmtree(home, ignore_errors=True)


def answers(address: str) -> bool:
    """Whether `/health` answers."""
    try:
        with build_opener(ProxyHandler({})).open(f"{address}/health", timeout=1) as response:
            return bool(response.status == 200)
    except OSError:
        return False
