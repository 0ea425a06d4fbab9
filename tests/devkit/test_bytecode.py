"""Compiled Python is kept, and not beside the sources where the machine forbids it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from devkit import bytecode


def test_what_is_compiled_is_kept_away_from_sources_that_are_to_have_none_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bytecode, "HOME", tmp_path / "kept")
    (tmp_path / "module.py").write_text("")
    environ = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    bytecode.keep(environ)
    subprocess.run([sys.executable, "-c", "import module"], cwd=tmp_path, env=environ, check=True)
    assert list((tmp_path / "kept").rglob("module.*.pyc"))
    assert not (tmp_path / "__pycache__").exists()


def test_an_environment_that_forbids_nothing_is_left_as_it_is() -> None:
    environ = {"PATH": "/bin"}
    bytecode.keep(environ)
    assert environ == {"PATH": "/bin"}
