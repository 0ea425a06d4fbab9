"""Compiled templates are kept as compiled modules are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from devkit.paths import ROOT

COMPILE_ALL = """
from jinja2 import Environment
compiled = []
compile = Environment.compile
Environment.compile = lambda self, source, name=None, *more: compiled.append(name) or compile(self, source, name, *more)
from web.operators import render
render.compile_all()
print(len(compiled), len(render._environment.list_templates()))
"""


def compiled(**environment: str) -> tuple[int, int]:
    """How many templates a new process compiles, and how many there are."""
    ran = subprocess.run(
        [sys.executable, "-c", COMPILE_ALL],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    number, there_are = map(int, ran.stdout.split())
    return number, there_are


def kept_in(directory: Path) -> list[Path]:
    return sorted(directory.rglob("template-*"))


def test_each_is_compiled_by_the_first_process_and_by_no_other(tmp_path: Path) -> None:
    number, there_are = compiled(PYTHONPYCACHEPREFIX=str(tmp_path))
    assert number == there_are == len(kept_in(tmp_path)) > 5
    assert compiled(PYTHONPYCACHEPREFIX=str(tmp_path)) == (0, there_are)


def test_what_is_kept_of_another_text_or_is_no_bytecode_is_not_used(tmp_path: Path) -> None:
    _, there_are = compiled(PYTHONPYCACHEPREFIX=str(tmp_path))
    first, second, *_ = kept_in(tmp_path)
    of_the_second = second.read_bytes()
    second.write_bytes(first.read_bytes())  # its checksum is of another template
    first.write_bytes(b"nonsense")
    assert compiled(PYTHONPYCACHEPREFIX=str(tmp_path)) == (2, there_are)
    assert second.read_bytes() == of_the_second


def test_where_nothing_may_be_written_each_process_compiles_for_itself(tmp_path: Path) -> None:
    number, there_are = compiled(PYTHONPYCACHEPREFIX=str(tmp_path), PYTHONDONTWRITEBYTECODE="1")
    assert number == there_are
    assert kept_in(tmp_path) == []
    (tmp_path / "file").touch()
    assert compiled(PYTHONPYCACHEPREFIX=str(tmp_path / "file")) == (there_are, there_are)
