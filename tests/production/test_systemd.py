"""The units of deploy/systemd: systemd understands them, and they agree with the code."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.architecture.source import ROOT
from tests.production.deployed import DEPLOY, END_SECONDS, program_of, settings_with

HOME = DEPLOY / "systemd"
UNITS = {
    path.stem.removeprefix("mana-credits-"): path.read_text("utf-8")
    for path in sorted(HOME.glob("mana-credits-*.service"))
}
PAGE = (ROOT / "docs/production.md").read_text("utf-8")
PYTHON = "/opt/mana-credits/.venv/bin/python"
EXPOSURE_MAX = 15
"""Of 100, as systemd-analyze counts it: what a service needs that speaks over the network and nothing else."""


def said(unit: str, name: str) -> list[str]:
    """The values of a setting, in their order."""
    return re.findall(rf"^{name}=(.*)$", unit, re.MULTILINE)


def one(unit: str, name: str) -> str:
    [value] = said(unit, name)
    return value


def environment_of(name: str) -> dict[str, str]:
    lines = (HOME / "environment").read_text("utf-8").splitlines()
    lines = [line for line in lines if line and not line.startswith("#")] + said(UNITS[name], "Environment")
    return dict(line.split("=", 1) for line in lines)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units as systemd-analyze can look at them on a machine where nothing is installed."""
    home = tmp_path_factory.mktemp("units")
    for path in (*HOME.glob("*.service"), *HOME.glob("*.target")):
        (home / path.name).write_text(path.read_text("utf-8").replace(PYTHON, "/bin/true"))
    return home


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    assert program is not None, "no systemd-analyze on this machine: apt-get install systemd"
    return subprocess.run([program, *arguments], capture_output=True, text=True)


def test_systemd_understands_them(installed: Path) -> None:
    units = sorted(str(path) for path in installed.iterdir())
    assert len(units) == 5
    verified = analyze("verify", "--man=no", *units)
    assert (verified.returncode, verified.stderr) == (0, "")
    broken = installed.parent / "mana-credits-broken.service"
    broken.write_text("[Service]\nExecStart=/bin/true\nRestartt=always\n")
    assert "Restartt" in analyze("verify", "--man=no", str(broken)).stderr, (
        "a word that is none would be seen"
    )


@pytest.mark.parametrize("name", UNITS)
def test_a_process_may_little(name: str, installed: Path) -> None:
    path = str(installed / f"mana-credits-{name}.service")
    judged = analyze("security", "--offline=yes", f"--threshold={EXPOSURE_MAX}", "--no-pager", path)
    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert one(UNITS[name], "User") == "mana-credits"
    assert one(UNITS[name], "ProtectSystem") == "strict"


@pytest.mark.parametrize("name", UNITS)
def test_its_command_exists_and_its_variables_are_those_of_the_code(name: str, tmp_path: Path) -> None:
    program = program_of(one(UNITS[name], "ExecStart"))
    assert program == {"migrate": "migrations"}.get(name, name)
    environment = environment_of(name)
    assert one(UNITS[name], "EnvironmentFile") == "/etc/mana-credits/environment"
    secrets = {key: Path(value) for key, value in environment.items() if key.endswith("_FILE")}
    assert {path.parent for path in secrets.values()} == {Path("/etc/mana-credits/secrets")}
    assert all(f"> {path.name}" in PAGE or f"touch {path.name}" in PAGE for path in secrets.values())
    settings = settings_with(environment, tmp_path)
    assert settings.telemetry.web_metrics_port not in (0, settings.port)


@pytest.mark.parametrize("name", END_SECONDS)
def test_it_is_started_again_and_not_killed_before_what_is_under_way_has_ended(name: str) -> None:
    assert one(UNITS[name], "Restart") == "always"
    assert float(one(UNITS[name], "TimeoutStopSec")) > END_SECONDS[name]


@pytest.mark.parametrize(("name", "variable"), [("web", "WEB_PROCESSES"), ("workers", "WORKER_PROCESSES")])
def test_a_reload_finds_several_processes_to_replace(name: str, variable: str) -> None:
    assert one(UNITS[name], "ExecReload") == "/bin/kill -HUP $MAINPID"
    assert int(environment_of(name)[variable]) > 1
    assert one(UNITS[name], "KillMode") == "mixed", "the master tells its processes"


def test_the_target_wants_all_that_runs() -> None:
    target = (HOME / "mana-credits.target").read_text("utf-8")
    wanted = one(target, "Wants").split()
    assert wanted == [f"mana-credits-{name}.service" for name in ("web", "workers", "scheduler")]
    for name, unit in UNITS.items():
        assert said(unit, "PartOf") == ([] if name == "migrate" else ["mana-credits.target"])
        if name != "migrate":
            assert "mana-credits-migrate.service" in one(unit, "After")
    assert one(UNITS["migrate"], "Type") == "oneshot"
