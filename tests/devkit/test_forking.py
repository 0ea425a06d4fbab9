"""What is forked is as if it had been started by `python -m`."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from devkit.waiting import wait_until
from tests.support.forking import Forked, Process, start_module
from tests.support.process import process_environment

MODULE = "tests.devkit.telling"
SECONDS_MAX = 30.0


def told(log: Path) -> dict[str, object]:
    """What the module wrote."""
    said: dict[str, object] = json.loads(log.read_text().splitlines()[0])
    return said


def start(log: Path, *arguments: str, **variables: str) -> Process:
    return start_module(
        MODULE, process_environment(variables), log, arguments=arguments, has_own_session=True
    )


def test_it_sees_and_says_what_an_ordinary_start_would(tmp_path: Path) -> None:
    forked = start(tmp_path / "forked", "a", "7", COLOUR="red")
    assert isinstance(forked, Forked)
    assert forked.wait(SECONDS_MAX) == 7
    ordinary = start(tmp_path / "ordinary", "a", "7", COLOUR="red", PYTHONHASHSEED="0")
    assert isinstance(ordinary, subprocess.Popen)
    assert ordinary.wait(SECONDS_MAX) == 7
    assert told(tmp_path / "forked") == told(tmp_path / "ordinary")
    assert "at the end" in (tmp_path / "forked").read_text()


def test_each_has_its_own_environment_whatever_the_one_before_had(tmp_path: Path) -> None:
    for colour in ("red", "blue"):
        assert start(tmp_path / colour, "0", COLOUR=colour).wait(SECONDS_MAX) == 0
        assert told(tmp_path / colour)["colour"] == colour
    assert start(tmp_path / "none", "0").wait(SECONDS_MAX) == 0
    assert told(tmp_path / "none")["colour"] is None


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL])
def test_it_is_ended_by_a_signal_and_says_by_which(tmp_path: Path, by: signal.Signals) -> None:
    process = start(tmp_path / "log", "wait")
    assert wait_until(lambda: "session" in (tmp_path / "log").read_text(), SECONDS_MAX)
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    assert os.getsid(process.pid) == process.pid
    process.send_signal(by)
    assert process.wait(SECONDS_MAX) == -by == process.poll()
    process.send_signal(by)  # to nobody


def test_python_is_the_same(tmp_path: Path) -> None:
    assert start(tmp_path / "log", "0").wait(SECONDS_MAX) == 0
    assert told(tmp_path / "log")["command"] == [sys.executable, "-m", MODULE, "0"]
