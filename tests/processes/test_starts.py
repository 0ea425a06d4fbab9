"""What a process imports, and when it begins to look for garbage."""

from __future__ import annotations

import subprocess
import sys

import pytest

from devkit.paths import ROOT

SERVES_WITH = ("aiohttp", "dramatiq", "jinja2", "stripe", "web.app", "workers.process")


def said_by(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.mark.parametrize("module", ["web", "workers"])
def test_a_master_imports_nothing_of_what_its_children_serve_with(module: str) -> None:
    assert said_by(f"import {module}.__main__, sys; print(*({set(SERVES_WITH)} & sys.modules.keys()))") == ""


def test_no_garbage_is_looked_for_while_a_process_starts_and_then_it_is() -> None:
    told = said_by(
        "import gc; from processes.memory import hold_memory, settle_memory;"
        "hold_memory(); print(gc.isenabled()); settle_memory(); print(gc.isenabled(), gc.get_freeze_count() > 0)"
    )
    assert told.split() == ["False", "True", "True"]
