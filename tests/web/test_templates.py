"""Compiled templates are kept as compiled modules are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from jinja2.bccache import bc_magic

from devkit.paths import ROOT
from web.operators import render

COMPILE_ALL = """
import runpy, sys
from jinja2 import Environment
from web.operators import assets, charts, words

sys.pycache_prefix, sys.dont_write_bytecode = sys.argv[1], sys.argv[2] == "reads"
compiled = []
compile = Environment.compile
Environment.compile = lambda self, source, name=None, *more: compiled.append(name) or compile(self, source, name, *more)
names = runpy.run_module("web.operators.render", run_name="__main__", alter_sys=True)
print(len(compiled), len(names["_environment"].list_templates()))
"""
"""What `python -m web.operators.render` does, which compiles them all, and what that was."""


def compiled(kept: Path, *, may: str = "writes") -> tuple[int, int]:
    """How many templates a new process compiles, and how many there are."""
    ran = subprocess.run(
        [sys.executable, "-c", COMPILE_ALL, str(kept), may],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    number, there_are = map(int, ran.stdout.splitlines()[-1].split())  # after what the log has to say
    return number, there_are


def kept_in(directory: Path) -> list[Path]:
    return sorted(directory.rglob("template-*"))


def test_each_is_compiled_by_the_first_process_and_by_no_other(tmp_path: Path) -> None:
    number, there_are = compiled(tmp_path)
    assert number == there_are == len(kept_in(tmp_path)) > 5
    assert compiled(tmp_path) == (0, there_are)
    assert compiled(tmp_path, may="reads") == (0, there_are)


def test_who_may_read_the_source_may_read_what_is_kept(tmp_path: Path) -> None:
    compiled(tmp_path)
    mode = Path(render.__file__).stat().st_mode & 0o666
    assert {file.stat().st_mode & 0o777 for file in kept_in(tmp_path)} == {mode}


def test_what_is_kept_of_another_text_or_is_damaged_is_compiled_and_written_again(tmp_path: Path) -> None:
    _, there_are = compiled(tmp_path)
    good = {file: file.read_bytes() for file in kept_in(tmp_path)}
    first, *others = good
    checksums_end = len(bc_magic) + 30
    wrong = [good[first], b"", b"nonsense", bc_magic, bc_magic + b"nonsense", bc_magic + bytes(50)]
    wrong += [good[others[0]][:checksums_end], good[others[0]][:-10]]
    wrong.append(bc_magic + b"cno_such_module\nname\n.")  # a pickle that asks for a module
    for file, content in zip(others, wrong, strict=False):
        file.write_bytes(content)
    assert len(others) >= len(wrong)
    assert compiled(tmp_path) == (len(wrong), there_are)
    assert {file: file.read_bytes() for file in kept_in(tmp_path)} == good


def test_where_nothing_may_be_written_each_process_compiles_for_itself(tmp_path: Path) -> None:
    number, there_are = compiled(tmp_path, may="reads")
    assert number == there_are
    assert kept_in(tmp_path) == []
    (tmp_path / "file").touch()
    assert compiled(tmp_path / "file") == (there_are, there_are)
