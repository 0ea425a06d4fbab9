"""README's lines are run as they stand, against a service that `./dev up` started."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONSOLE_BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
VARYING = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
)
"""Ids of our own and timestamps: they differ from run to run, and nothing else may."""


def lines_of_readme() -> list[tuple[str, str]]:
    """Each command of README's console blocks, and what README says that it prints."""
    commands: list[tuple[str, str]] = []
    for block in CONSOLE_BLOCK.findall((ROOT / "README.md").read_text()):
        for part in block.split("$ ", 1)[1].split("\n$ "):
            command, _, printed = part.partition("\n")
            commands.append((command, printed.strip()))
    return commands


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The service as a newcomer starts it: its address, and the environment of that shell."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    ours = ("DATABASE_URL", "REDIS_URL", "MANA_SERVICE_KEY", "MANA_AUTH_URL", "STRIPE_SECRET_KEY", "ENV")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    environment |= {"PORT": port, "DATA_DIR": str(tmp_path / "data")}
    started = subprocess.run(
        ["./dev", "up", "--detach"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180
    )
    try:
        assert started.returncode == 0, started.stdout + started.stderr
        yield f"http://127.0.0.1:{port}", environment
    finally:
        subprocess.run(["./dev", "down"], cwd=ROOT, env=environment, capture_output=True, timeout=60)


def test_the_lines_in_readme_print_what_it_says(running: tuple[str, dict[str, str]]) -> None:
    address, environment = running
    lines = lines_of_readme()
    assert len(lines) >= 5
    for command, promised in lines:
        ran = subprocess.run(
            ["bash", "-c", command.replace("http://127.0.0.1:3061", address)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ran.returncode == 0, ran.stderr
        printed = VARYING.sub("*", ran.stdout.strip()).replace(address, "http://127.0.0.1:3061")
        assert printed == VARYING.sub("*", promised), command
