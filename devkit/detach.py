"""`./dev up --detach`, `down` and `status`: driving a service that runs in the background."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

from devkit import runfile
from devkit.errors import DevError
from devkit.leftovers import end_leftovers
from devkit.paths import ROOT, data_dir
from devkit.plan import answers
from devkit.runfile import Run
from devkit.screen import progress, say, table
from devkit.up import lock_data_dir
from devkit.waiting import wait_until

START_TIMEOUT_SECONDS = 300.0
# The last line of a start, when everything that a script may ask for is there.
READY_LINE = re.compile(r"^ready http\S+\n", re.MULTILINE)
STOP_TIMEOUT_SECONDS = 90.0


def up_detached(environ: Mapping[str, str]) -> int:
    """Start the service in the background and return when it is ready; what it says is shown meanwhile.

    The exit code is that of the start: not 0 when it failed, and then nothing runs.
    """
    data = data_dir(environ)
    lock_data_dir(data).release()  # refused here, the log of a service that runs is not touched
    log = data / "logs" / "up.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    log.touch(mode=0o600)  # the screen has a token in it
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "dev"), "up", "--no-logs"],
            env={**environ, "DATA_DIR": str(data)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    with log.open() as said:
        shown = ""

        def ready_or_ended() -> bool:
            nonlocal shown
            ended = process.poll() is not None  # asked first: what it said before its end is then all there
            news = said.read()
            shown += news
            sys.stdout.write(news)
            sys.stdout.flush()
            return ended or READY_LINE.search(shown) is not None

        try:
            in_time = wait_until(ready_or_ended, START_TIMEOUT_SECONDS)
        except KeyboardInterrupt:
            in_time = False
        if not in_time:
            process.terminate()
            process.wait()
            ready_or_ended()
    return 0 if process.poll() is None else process.returncode or 1


def down(environ: Mapping[str, str]) -> int:
    """Stop the service and wait until nothing of it is left; fine when it was not running."""
    data = data_dir(environ)
    run = runfile.read(data)
    if run is None:
        say(f"Nothing runs on {data}.")
        return 0
    if run.alive:
        with progress("Stopping"):
            os.kill(run.supervisor.pid, signal.SIGTERM)
            if not wait_until(lambda: not run.alive, STOP_TIMEOUT_SECONDS):
                raise DevError(f"Process {run.supervisor.pid} does not stop. See {data / 'logs'}.")
    end_leftovers(run)
    runfile.remove(data)
    return 0


def status(environ: Mapping[str, str]) -> int:
    """Print what runs; 0 when all is well, 1 when something is not or nothing runs."""
    data = data_dir(environ)
    run = runfile.read(data)
    if run is None or not run.alive:
        killed = " (a run was killed; ./dev up or ./dev down clears up after it)" if run else ""
        say(f"Not running on {data}{killed}.")
        return 1
    rows = [("NAME", "STATE", "PID", "UP", "RESTARTS", "URL")]
    well = run.ready
    for name, record in run.processes.items():
        state = record.state
        if record.id is not None and not record.id.alive:
            state = "dead"
        elif state == "ready" and name == "web" and not answers(f"{run.url}/health")(0):
            state = "does not answer"
        well = well and state == "ready"
        up_time = _since(record.started_at) if record.pid else "-"
        rows.append(
            (
                name,
                state,
                str(record.pid or "-"),
                up_time,
                str(record.restarts),
                record.url or _port(run, name),
            )
        )
    say(table(rows))
    say(f"\n{run.url} {'is well' if well else 'is not well'}; data in {run.data_dir}")
    return 0 if well else 1


def _port(run: Run, name: str) -> str:
    return f"127.0.0.1:{run.ports[name]}" if name in run.ports else ""


def _since(started_at: str | None) -> str:
    """How long ago, to be read by people."""
    if started_at is None:
        return "-"
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(started_at)).total_seconds())
    hours, rest = divmod(seconds, 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"
