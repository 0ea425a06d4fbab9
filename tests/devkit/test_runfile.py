"""run.json: who is meant by a pid, and what is stale."""

import dataclasses
import os
import subprocess
from pathlib import Path

import pytest

from devkit import runfile
from devkit.detach import status
from devkit.runfile import ProcessId, ProcessRecord, Run


def a_run(tmp_path: Path) -> Run:
    return Run(
        supervisor=ProcessId.myself(),
        started_at="2026-11-22T15:28:32.039+00:00",
        data_dir=str(tmp_path),
        url="http://127.0.0.1:3061",
        port=3061,
        database_url="postgresql://…",
        redis_url="redis://…",
        service_key="dev-service-key",
        processes={"web": ProcessRecord(pid=1, start_ticks=2)},
    )


def test_what_is_written_is_read_and_for_its_owner_alone(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    runfile.write(tmp_path, run)
    assert runfile.read(tmp_path) == run
    assert (tmp_path / "run.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_pid_given_to_another_process_since_is_not_the_one_that_was_meant(tmp_path: Path) -> None:
    me = ProcessId.myself()
    assert me.alive
    assert not dataclasses.replace(me, start_ticks=me.start_ticks - 1).alive


def test_a_process_that_ended_and_was_not_waited_for_is_not_alive() -> None:
    child = subprocess.Popen(["true"])
    process = ProcessId.of(child.pid)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not process.alive
    child.wait()
    assert not process.alive


def test_status_recognises_the_file_of_a_run_that_was_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = a_run(tmp_path)
    run.supervisor = dataclasses.replace(run.supervisor, start_ticks=1)
    runfile.write(tmp_path, run)
    assert status({"DATA_DIR": str(tmp_path)}) == 1
    assert "a run was killed" in capsys.readouterr().out
