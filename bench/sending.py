"""Sending a plan from a process of its own: by wrk where it is installed, else by the project's own generator."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench import wrk
from bench.plan import Plan, Report
from devkit.paths import ROOT

FEW_PER_SECOND = 1_000
"""Up to here the own generator paces: it measures each request from when it was due, to the microsecond, and so
few cost little.  wrk waits in whole milliseconds."""

OWN_ONLY = "BENCH_OWN_GENERATOR"
"""Set, wrk is left alone where it is installed too."""


def uses_wrk(plan: Plan) -> bool:
    """Whether wrk sends this plan here."""
    return not os.environ.get(OWN_ONLY) and wrk.can_send(plan) and not 0 < plan.rate <= FEW_PER_SECOND


@dataclass
class Sending:
    """A plan under way."""

    process: subprocess.Popen[bytes]
    script: Path | None

    def stop(self) -> Report:
        """End it now; what it found."""
        self.process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> Report:
        """What it found, at its end.  Raises RuntimeError when it failed."""
        assert self.process.stdout is not None
        with self.process.stdout as output:
            printed = output.read()
        # The usage of this one child: others may end meanwhile.
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        if self.process.returncode:
            raise RuntimeError(f"the load generator ended with {self.process.returncode}: {printed.decode()}")
        if self.script is None:
            return msgspec.json.decode(printed, type=Report)
        self.script.unlink()
        return wrk.report_of(printed.decode(), usage.ru_utime + usage.ru_stime)


def start(plan: Plan, *, own: bool = False) -> Sending:
    """Begin to send.  `own`: not by wrk."""
    if own or not uses_wrk(plan):
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.load"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdin is not None
        with process.stdin as given:
            given.write(msgspec.json.encode(plan))
        return Sending(process, None)
    with tempfile.NamedTemporaryFile("w", suffix=".lua", delete=False) as file:
        file.write(wrk.script_of(plan))
    return Sending(subprocess.Popen(wrk.command(plan, file.name), stdout=subprocess.PIPE), Path(file.name))
