"""`./dev up`: start everything, keep it running, stop it in order."""

import asyncio
import signal
import time
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime
from pathlib import Path

from devkit import demo, runfile, schema
from devkit.child import log_tail
from devkit.errors import DevError
from devkit.leftovers import end_leftovers
from devkit.locks import FileLock
from devkit.logs import Console, Sink, log_file
from devkit.paths import data_dir
from devkit.plan import Plan, make_plan
from devkit.process import Process, kill_group
from devkit.program import Program
from devkit.runfile import ProcessId, Run
from devkit.screen import paint, say
from devkit.supervisor import Supervised

EMBEDDED = ("postgres", "valkey")


def up(environ: Mapping[str, str], *, shows_logs: bool = True) -> int:
    """Run the service on DATA_DIR until Ctrl-C or SIGTERM; the exit code.

    Raises DevError when one runs there already, or when something does not come up.
    """
    data = data_dir(environ)
    lock = lock_data_dir(data)
    killed_run = runfile.read(data)
    if killed_run is not None:
        end_leftovers(killed_run)
        runfile.remove(data)
    try:
        return asyncio.run(Up(make_plan(environ), Console(shows_logs=shows_logs)).serve())
    finally:
        lock.release()


def lock_data_dir(data: Path) -> FileLock:
    """Take DATA_DIR for one run; the lock ends with the process.  Raises DevError when one runs there already."""
    data.mkdir(parents=True, exist_ok=True)
    lock = FileLock(data / "up.lock")
    if not lock.acquire():
        run = runfile.read(data)
        where = f"at {run.url} (process {run.supervisor.pid})" if run else "and is just starting"
        raise DevError(f"It already runs on {data} {where}.\nSee ./dev status, or stop it with ./dev down.")
    return lock


class Up:
    """One run of `./dev up` on one DATA_DIR."""

    def __init__(self, plan: Plan, console: Console) -> None:
        self.plan = plan
        self._console = console
        self._began = time.monotonic()
        self._processes: dict[str, Supervised] = {}
        self._readiness: dict[str, asyncio.Task[None]] = {}
        self._stop = asyncio.Event()
        self._run = Run(
            supervisor=ProcessId.myself(),
            started_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            data_dir=str(plan.data_dir),
            url=plan.url,
            port=plan.port,
            database_url=plan.environment.get("DATABASE_URL", ""),
            redis_url=plan.environment.get("REDIS_URL", ""),
            service_key=demo.service_key(plan),
            urls=plan.urls,
            ports=plan.ports,
        )

    async def serve(self) -> int:
        """Run until told to stop; the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal)
        try:
            if await self._unless_stopped(self._start()):
                await self._stop.wait()
        finally:
            say("Stopping …")
            await self._stop_all()
            say("Stopped.")
        return 0

    def _on_signal(self) -> None:
        """The first time stop in order; the second time at once."""
        if self._stop.is_set():
            for process in self._processes.values():
                if process.record.pid is not None:
                    kill_group(process.record.pid)
        self._stop.set()

    async def _unless_stopped(self, start: Coroutine[None, None, None]) -> bool:
        """Finish starting unless a signal comes first; whether it was finished."""
        starting = asyncio.create_task(start)
        stopped = asyncio.create_task(self._stop.wait())
        await asyncio.wait([starting, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        finished = starting.done()
        if not finished:
            starting.cancel()
        try:
            await starting
        except asyncio.CancelledError:
            return False
        return finished

    async def _start(self) -> None:
        """Start all, what can be in parallel in parallel, and return when everything answers."""
        plan = self.plan
        say(f"Starting mana-credits on {plan.data_dir}")
        for simulator in plan.simulators:
            self._supervise(plan.program(simulator), simulator.url)
        await self._start_embedded()
        await self._migrate()
        for service in plan.services:
            self._supervise(plan.program(service), service.url)
        await asyncio.gather(*self._readiness.values())
        token, checkout = await asyncio.to_thread(self._prepare_demo)
        self._run.ready = True
        self._write()
        say(demo.screen(plan, token, checkout))
        say(f"ready {plan.url}")

    async def _migrate(self) -> None:
        server = self.plan.postgres
        if server is not None and await asyncio.to_thread(schema.is_migrated, server):
            return
        await self._run_to_end(self.plan.python("migrate", "migrations", "upgrade"))
        if server is not None:
            await self._run_to_end(self.plan.python("seed", "domain.packages", "seed"))
            await asyncio.to_thread(schema.note_migrated, server)

    def _prepare_demo(self) -> tuple[str | None, str | None]:
        token = demo.make_token(self.plan)
        if not any(service.name == "web" for service in self.plan.services):
            return token, None
        demo.give_credits(self.plan)
        return token, demo.make_checkout(self.plan, token)

    async def _start_embedded(self) -> None:
        """Start PostgreSQL and Valkey where none is given, and tell everybody where they are."""
        plan = self.plan
        servers = [server for server in (plan.postgres, plan.valkey) if server is not None]
        await asyncio.gather(*(asyncio.to_thread(server.prepare) for server in servers))
        for server in servers:
            program = server.program()
            self._supervise(program, None, file_only=True)
            self._run.ports[program.name] = server.port
        if plan.postgres is not None:
            self._run.database_url = plan.environment["DATABASE_URL"] = plan.postgres.url()
        if plan.valkey is not None:
            self._run.redis_url = plan.environment["REDIS_URL"] = plan.valkey.url()
        await asyncio.gather(*(self._readiness[name] for name in EMBEDDED if name in self._readiness))

    def _supervise(self, program: Program, url: str | None, *, file_only: bool = False) -> None:
        sink = Sink(program.name, self.plan.data_dir, self._console, file_only=file_only)
        process = Supervised(program, sink, url=url, on_change=self._write)
        self._processes[program.name] = process
        self._run.processes[program.name] = process.record
        process.start()
        self._readiness[program.name] = asyncio.create_task(self._ready(program.name))

    async def _ready(self, name: str) -> None:
        await self._processes[name].wait_ready()
        self._tell(name, "is ready")

    def _tell(self, name: str, what: str) -> None:
        say(f"  {paint('✓', '32')} {name:<10} {what} after {time.monotonic() - self._began:.1f} s")

    async def _run_to_end(self, program: Program) -> None:
        """Run a command that must succeed.  Raises DevError with the end of its log."""
        sink = Sink(program.name, self.plan.data_dir, self._console, file_only=True)
        process = Process(program, sink)
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        finally:
            sink.close()
        if code != 0:
            log = log_file(self.plan.data_dir, program.name)
            raise DevError(f"{program.name} ended with code {code}. The end of its log:\n{log_tail(log)}")
        self._tell(program.name, "is done")

    async def _stop_all(self) -> None:
        """Scheduler, workers, web; then the simulators they talk to; then Valkey and PostgreSQL."""
        services = [service.name for service in reversed(self.plan.services)]
        simulators = [simulator.name for simulator in self.plan.simulators]
        for names in ([name] for name in services):
            await self._stop_some(names)
        await self._stop_some(simulators)
        for name in reversed(EMBEDDED):
            await self._stop_some([name])
        runfile.remove(self.plan.data_dir)

    async def _stop_some(self, names: list[str]) -> None:
        """Stop these at the same time."""
        there = [name for name in names if name in self._processes]
        await asyncio.gather(*(self._processes[name].stop() for name in there))
        for name in there:
            say(f"  {name} stopped")

    def _write(self) -> None:
        runfile.write(self.plan.data_dir, self._run)
