"""The supervisor, with small real processes that misbehave."""

import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from devkit.errors import DevError
from devkit.logs import Console, RotatingFile, Sink
from devkit.program import Program
from devkit.runfile import ProcessId
from devkit.supervisor import Supervised
from devkit.waiting import wait_until

IGNORES_BEING_ASKED = (
    "import signal; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"
)
A_MASTER_WITH_A_WORKER = """
import signal, subprocess, sys
worker = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print(worker.pid, flush=True)
signal.pause()
"""


def at_once(_pid: int) -> bool:
    return True


def never(_pid: int) -> bool:
    return False


Supervise = Callable[..., Supervised]


@pytest.fixture
def supervise(tmp_path: Path) -> Supervise:
    """Makes a supervised Python one-liner whose log is `tmp_path/logs/it.log`."""

    def make(
        code: str,
        *,
        is_ready: Callable[[int], bool] | None = at_once,
        ready_seconds: float = 60.0,
        stop_seconds: float = 10.0,
    ) -> Supervised:
        program = Program(
            "it",
            (sys.executable, "-c", code),
            is_ready=is_ready,
            ready_timeout_seconds=ready_seconds,
            stop_timeout_seconds=stop_seconds,
        )
        return Supervised(program, Sink("it", tmp_path, Console(shows_logs=False)))

    return make


def log_of(tmp_path: Path) -> str:
    return (tmp_path / "logs" / "it.log").read_text()


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    import asyncio

    assert await asyncio.to_thread(wait_until, condition, seconds)


async def test_a_process_that_dies_is_started_again_each_time_later(
    supervise: Supervise, tmp_path: Path
) -> None:
    process = supervise("print('born')")
    process.start()
    await until(lambda: log_of(tmp_path).count("born") == 3)
    await process.stop()
    delays = re.findall(r"ended with code 0; starting it again in (\S+) s", log_of(tmp_path))
    assert delays[:2] == ["0.2", "0.4"]
    assert process.record.state == "stopped"
    assert process.record.restarts >= 2


async def test_a_killed_process_comes_back_with_another_pid(supervise: Supervise, tmp_path: Path) -> None:
    process = supervise("import signal; signal.pause()")
    process.start()
    await process.wait_ready()
    first = process.record.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: process.record.state == "ready" and process.record.pid not in (first, None))
    await process.stop()
    assert "was ended by SIGKILL" in log_of(tmp_path)


async def test_a_process_that_never_comes_up_is_reported_with_its_last_words(supervise: Supervise) -> None:
    process = supervise("raise SystemExit('no such thing')", is_ready=never)
    process.start()
    with pytest.raises(DevError, match=r"(?s)ends again and again.*no such thing"):
        await process.wait_ready()
    await process.stop()


async def test_a_process_that_nothing_can_be_asked_is_ready_when_it_has_lived_for_a_second(
    supervise: Supervise,
) -> None:
    process = supervise("import signal; signal.pause()", is_ready=None)
    process.start()
    await process.wait_ready()
    await process.stop()


async def test_a_process_that_nothing_can_be_asked_is_not_ready_when_it_ends_at_once(
    supervise: Supervise,
) -> None:
    process = supervise("raise SystemExit('no such thing')", is_ready=None)
    process.start()
    with pytest.raises(DevError, match="ends again and again"):
        await process.wait_ready()
    await process.stop()


async def test_a_process_that_runs_but_never_answers_is_reported(supervise: Supervise) -> None:
    process = supervise("import signal; signal.pause()", is_ready=never, ready_seconds=0.5)
    process.start()
    with pytest.raises(DevError, match="does not answer"):
        await process.wait_ready()
    await process.stop()


async def test_a_process_that_does_not_stop_when_asked_is_killed(
    supervise: Supervise, tmp_path: Path
) -> None:
    process = supervise(IGNORES_BEING_ASKED, stop_seconds=0.3)
    process.start()
    await until(lambda: "deaf" in log_of(tmp_path))
    await process.stop()
    assert process.record.pid is None
    assert "did not stop in time; killed" in log_of(tmp_path)


async def test_the_workers_of_a_master_that_was_killed_are_ended_too(
    supervise: Supervise, tmp_path: Path
) -> None:
    process = supervise(A_MASTER_WITH_A_WORKER)
    process.start()
    await until(lambda: log_of(tmp_path).strip().isdigit())
    worker = ProcessId.of(int(log_of(tmp_path)))
    assert process.record.pid is not None
    os.kill(process.record.pid, signal.SIGKILL)
    await until(lambda: not worker.alive)
    await process.stop()


async def test_long_and_unfinished_lines_reach_the_log_whole(supervise: Supervise, tmp_path: Path) -> None:
    process = supervise(
        "import signal; print('x' * 300_000); print('end', end='', flush=True); signal.pause()"
    )
    process.start()
    await until(lambda: log_of(tmp_path).count("x") == 300_000)
    await process.stop()
    assert log_of(tmp_path).rstrip().endswith("end")


def test_a_log_is_rotated_by_size_and_the_oldest_forgotten(tmp_path: Path) -> None:
    log = RotatingFile(tmp_path / "it.log", bytes_max=10, kept=2)
    for word in (b"first\n", b"second\n", b"third\n", b"fourth\n"):
        log.write(word)
    log.close()
    contents = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert contents == {"it.log": "fourth\n", "it.log.1": "third\n", "it.log.2": "second\n"}
