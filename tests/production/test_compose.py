"""docker-compose.yml and the image, as far as files can be checked."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from devkit.licences import LOCKS, locked
from tests.architecture.source import ROOT, imported_by, python_files, tree_of
from tests.architecture.source import SERVICE as PROGRAMS
from tests.production.deployed import DEPLOY, END_SECONDS, program_of, settings_with

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
OURS = {name: one for name, one in COMPOSE["services"].items() if one["image"] == "mana-credits"}
OTHERS = {name: one for name, one in COMPOSE["services"].items() if name not in OURS}
DOCKERFILE = (DEPLOY / "Dockerfile").read_text("utf-8")
IGNORED = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
LAST_STAGE = DOCKERFILE.rpartition("\nFROM ")[2]

SERVICE = (*PROGRAMS, "migrations")
GIVEN = {"MANA_AUTH_URL": "https://auth.example.com"}


def filled(value: object) -> str:
    """A value with its `${NAME:-default}` and `${NAME:?what for}` filled in."""

    def fill(found: re.Match[str]) -> str:
        name, how, default = found[1], found[2], found[3]
        assert how == "-" or name in GIVEN, f"{name} has no default and is not in the file's head"
        return GIVEN.get(name, default)

    return re.sub(r"\$\{(\w+):([-?])([^}]*)\}", fill, str(value))


def seconds(value: str) -> int:
    found = re.fullmatch(r"(\d+)s", value)
    assert found is not None
    return int(found[1])


def test_it_is_what_the_compose_specification_allows() -> None:
    schema = files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json").read_text()
    checker = jsonschema.validators.validator_for(json.loads(schema))(json.loads(schema))
    assert [error.message for error in checker.iter_errors(COMPOSE)] == []
    broken = {**COMPOSE, "services": {"web": {"comand": "python -m web"}}}
    assert list(checker.iter_errors(broken)), "a word that is none would be seen"


def test_there_is_everything_that_the_service_needs() -> None:
    assert set(OURS) == {"web", "workers", "scheduler", "migrate"}
    assert set(OTHERS) == {"postgres", "valkey"}
    programs = {name: program_of(one["command"]) for name, one in OURS.items()}
    assert programs == {**{name: name for name in programs}, "migrate": "migrations"}
    for name, one in OURS.items():
        if name != "migrate":
            assert one["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert OURS["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


@pytest.mark.parametrize("name", OURS)
def test_a_process_of_ours_writes_nowhere_and_may_nothing(name: str) -> None:
    one = OURS[name]
    assert one["read_only"] is True
    assert one["tmpfs"] == ["/tmp"]
    assert one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in one
    assert "user" not in one, "the image says who it is"


@pytest.mark.parametrize("name", OURS)
def test_its_variables_are_those_of_the_code_and_secrets_come_in_files(name: str, tmp_path: Path) -> None:
    environment = {key: filled(value) for key, value in OURS[name]["environment"].items()}
    settings = settings_with(environment, tmp_path)
    assert settings.database_url.startswith("postgresql://mana_credits:")
    assert f"@{'postgres'}:5432/" in settings.database_url
    named = {Path(value).name for key, value in environment.items() if key.endswith("_FILE")}
    assert named == set(OURS[name]["secrets"])
    assert {Path(value).parent for key, value in environment.items() if key.endswith("_FILE")} == {
        Path("/run/secrets")
    }
    telemetry = settings.telemetry
    ports = {settings.port, telemetry.web_metrics_port, telemetry.worker_metrics_port}
    assert len(ports | {telemetry.scheduler_metrics_port}) == 4, "each its own"


def test_every_secret_is_a_file_that_is_neither_committed_nor_sent_to_the_builder() -> None:
    used = {secret for one in COMPOSE["services"].values() for secret in one.get("secrets", ())}
    assert used == set(COMPOSE["secrets"])
    assert {Path(one["file"]).parts[0] for one in COMPOSE["secrets"].values()} == {"secrets"}
    assert "/secrets/" in (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert IGNORED[1] == "*"
    assert "!secrets" not in IGNORED


def test_health_is_asked_where_it_is_answered(tmp_path: Path) -> None:
    settings = settings_with(
        {key: filled(value) for key, value in OURS["web"]["environment"].items()}, tmp_path
    )
    asked = {
        "web": f"http://127.0.0.1:{settings.port}/health",
        "workers": f"http://127.0.0.1:{settings.telemetry.worker_metrics_port}/metrics",
        "scheduler": f"http://127.0.0.1:{settings.telemetry.scheduler_metrics_port}/metrics",
    }
    for name, url in asked.items():
        kind, python, option, code = OURS[name]["healthcheck"]["test"]
        assert (kind, python, option) == ("CMD", "python", "-c")
        assert re.findall(r"http://[^'\"]+", code) == [url]
        compile(code, name, "exec")
    assert OURS["migrate"]["healthcheck"] == {"disable": True}
    for name, one in OTHERS.items():
        assert one["healthcheck"]["test"], name


def test_the_front_alone_is_reached_from_outside() -> None:
    published = {name: one["ports"] for name, one in COMPOSE["services"].items() if "ports" in one}
    assert {name: [filled(port) for port in ports] for name, ports in published.items()} == {
        "web": ["3061:3061"]
    }


def test_nobody_is_killed_before_what_is_under_way_has_ended() -> None:
    for name, most in END_SECONDS.items():
        assert seconds(OURS[name].get("stop_grace_period", "10s")) > most, name
    assert seconds(OTHERS["postgres"]["stop_grace_period"]) >= 60


def test_redis_keeps_what_it_has_and_drops_nothing() -> None:
    assert "--appendonly yes" in OTHERS["valkey"]["command"]
    assert "--maxmemory-policy noeviction" in OTHERS["valkey"]["command"]


def test_prometheus_reads_every_process_where_it_tells(tmp_path: Path) -> None:
    settings = settings_with(
        {key: filled(value) for key, value in OURS["web"]["environment"].items()}, tmp_path
    )
    example = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text("utf-8"))
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in example["scrape_configs"]}
    assert targets == {
        "web": [f"web:{settings.telemetry.web_metrics_port}"],
        "workers": [f"workers:{settings.telemetry.worker_metrics_port}"],
        "scheduler": [f"scheduler:{settings.telemetry.scheduler_metrics_port}"],
    }


def test_the_image_is_not_root_and_checks_its_health() -> None:
    [user] = re.findall(r"^USER (.+)$", LAST_STAGE, re.MULTILINE)
    assert user.isdigit()
    assert int(user) > 0
    assert f"--uid {user} " in LAST_STAGE
    assert re.findall(r"^EXPOSE (\d+)$", LAST_STAGE, re.MULTILINE) == ["3061"]
    [command] = re.findall(r"^CMD (.+)$", LAST_STAGE, re.MULTILINE)
    assert program_of(" ".join(json.loads(command))) == "web"
    [check] = re.findall(r"^HEALTHCHECK .*\\\n +CMD (.+)$", LAST_STAGE, re.MULTILINE)
    assert "/health" in json.loads(check)[2]
    compile(json.loads(check)[2], "HEALTHCHECK", "exec")
    for compiled in ("-m compileall", "-m web.operators.render"):
        assert LAST_STAGE.index(compiled) < LAST_STAGE.index("\nUSER ")


def test_the_image_holds_the_rooms_of_the_service_and_needs_nothing_else(tmp_path: Path) -> None:
    copied = re.findall(r"^COPY (\w+) (\w+)$", LAST_STAGE, re.MULTILINE)
    assert {source for source, target in copied if source == target} == set(SERVICE)
    sent = {line.removeprefix("!") for line in IGNORED if line.startswith("!")}
    assert sent == {*SERVICE, "deploy/requirements*.lock"}
    for room in SERVICE:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    modules = [
        ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        for path in python_files(*SERVICE)
        if path.name != "__main__.py" and "versions" not in path.parts and path.name != "env.py"
    ]
    # What packages were compiled to is read there.
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPYCACHEPREFIX") if name in os.environ}
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    ran = subprocess.run(
        [sys.executable, "-c", code, *modules, *(f"{name}.__main__" for name in END_SECONDS)],
        cwd=tmp_path,
        env={**kept, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr


def test_the_images_packages_are_those_that_the_service_imports() -> None:
    from importlib.metadata import packages_distributions

    names = {name.lower().replace("_", "-") for name in locked(LOCKS["service"].read_text("utf-8"))}
    belongs_to = packages_distributions()
    foreign = set().union(*(imported_by(tree_of(path)) for path in python_files(*SERVICE)))
    foreign -= {*sys.stdlib_module_names, *SERVICE, "opentelemetry"}  # that one is optional
    missing = {
        name
        for name in foreign
        if not {one.lower().replace("_", "-") for one in belongs_to.get(name, [])} & names
    }
    assert missing == set()


def test_the_procfile_starts_the_same_programs() -> None:
    lines = (ROOT / "Procfile").read_text("utf-8").splitlines()
    kinds = dict(line.split(": ", 1) for line in lines)
    assert {kind: program_of(command) for kind, command in kinds.items()} == {
        "release": "migrations",
        "web": "web",
        "worker": "workers",
        "scheduler": "scheduler",
    }
