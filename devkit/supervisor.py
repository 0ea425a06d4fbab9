"""Keeps processes running: restarts what dies, stops all in order, leaves nothing behind."""

import asyncio
import contextlib
import signal
from collections.abc import Callable
from datetime import UTC, datetime

from devkit.child import log_tail
from devkit.errors import DevError
from devkit.logs import Sink
from devkit.process import Process
from devkit.program import Program
from devkit.runfile import ProcessId, ProcessRecord

RESTART_DELAY_FIRST_SECONDS = 0.2
RESTART_DELAY_MAX_SECONDS = 10.0
# A process that lived this long was well: its next death starts again with the first delay.
WELL_AFTER_SECONDS = 10.0
READY_POLL_SECONDS = 0.05
# For a process that nothing can be asked: one that cannot start at all has ended by then.
SETTLED_SECONDS = 1.0
# Before it was ever ready, this many deaths mean that it will not come up, and a person should look.
DEATHS_AT_START_MAX = 3


class Supervised:
    """One process, kept running from `start` to `stop`."""

    def __init__(
        self,
        program: Program,
        sink: Sink,
        *,
        url: str | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_change` is called whenever `record` has changed."""
        self.program = program
        self.record = ProcessRecord(url=url)
        self._sink = sink
        self._on_change = on_change
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._ready = asyncio.Event()
        self._gave_up = asyncio.Event()

    def start(self) -> None:
        """Begin to run it.  Call from the main thread's loop: the children die with that thread."""
        self._task = asyncio.create_task(self._keep_running(), name=self.program.name)

    async def wait_ready(self) -> None:
        """Return when it answers.  Raises DevError, with the log's tail, when it does not come up."""
        waits = [asyncio.create_task(event.wait()) for event in (self._ready, self._gave_up)]
        await asyncio.wait(
            waits, timeout=self.program.ready_timeout_seconds, return_when=asyncio.FIRST_COMPLETED
        )
        for wait in waits:
            wait.cancel()
        if not self._ready.is_set():
            why = "ends again and again" if self._gave_up.is_set() else "does not answer"
            raise DevError(
                f"{self.program.name} {why}. The end of its log:\n{log_tail(self._sink.file.path)}"
            )

    async def stop(self) -> None:
        """Ask it to stop, wait, kill it when it does not; it is not restarted."""
        self._stopping.set()
        if self._task is None:
            return
        if self._process is not None:
            self._process.send(self.program.stop_signal)
        done, _ = await asyncio.wait([self._task], timeout=self.program.stop_timeout_seconds)
        if not done:
            self._sink.line(b"did not stop in time; killed")
            if self._process is not None:
                self._process.kill()
        await self._task

    async def _keep_running(self) -> None:
        delay = RESTART_DELAY_FIRST_SECONDS
        deaths_at_start = 0
        while not self._stopping.is_set():
            lived_seconds, code = await self._run_once()
            if self._stopping.is_set():
                break
            if not self._ready.is_set():
                deaths_at_start += 1
                if deaths_at_start == DEATHS_AT_START_MAX:
                    self._gave_up.set()
            if lived_seconds >= WELL_AFTER_SECONDS:
                delay = RESTART_DELAY_FIRST_SECONDS
            self._sink.line(f"{_ending(code)}; starting it again in {delay:.1f} s".encode())
            self._change("waiting")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
            delay = min(2 * delay, RESTART_DELAY_MAX_SECONDS)
            self.record.restarts += 1
        self._change("stopped")
        self._sink.close()

    async def _run_once(self) -> tuple[float, int]:
        """One life: its length in seconds and the exit code."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        process = Process(self.program, self._sink)
        self._process = process
        self.record.pid = process.pid
        self.record.started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.record.start_ticks = ProcessId.of(process.pid).start_ticks
        self._change("starting")
        watching = asyncio.create_task(self._watch_ready(process.pid))
        if self._stopping.is_set():
            process.send(self.program.stop_signal)
        code = await process.wait()
        self._process = None
        watching.cancel()
        self.record.pid = self.record.start_ticks = None
        return loop.time() - began, code

    async def _watch_ready(self, pid: int) -> None:
        if self.program.is_ready is None:
            await asyncio.sleep(SETTLED_SECONDS)
        else:
            while not await asyncio.to_thread(self.program.is_ready, pid):
                await asyncio.sleep(READY_POLL_SECONDS)
        self._ready.set()
        self._change("ready")

    def _change(self, state: str) -> None:
        self.record.state = state
        self._on_change()


def _ending(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
