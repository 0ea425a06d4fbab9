"""Making `.venv`, in a small checkout that needs no package: without a registry uv cannot be had, pip suffices."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from devkit.paths import ROOT
from tests.devkit.conftest import unconfigured


class Checkout:
    def __init__(self, root: Path) -> None:
        self.root = root

    def install(self) -> str:
        result = self._run("./dev", "install")
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def is_installed(self) -> bool:
        return self.asks("is_installed()")

    def asks(self, question: str) -> bool:
        return self.python(f"from devkit import install; print(install.{question})").stdout == "True\n"

    def python(self, code: str) -> subprocess.CompletedProcess[str]:
        return self._run(sys.executable, "-c", code)

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = {**unconfigured(), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}
        return subprocess.run(
            command, cwd=self.root, env=environment, capture_output=True, text=True, check=False
        )


def new_checkout(root: Path) -> Checkout:
    shutil.copytree(ROOT / "devkit", root / "devkit")
    shutil.copy(ROOT / "dev", root)
    (root / "requirements.lock").write_text("# nothing\n")
    return Checkout(root)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Where an installation was interrupted: its environment would do, if nobody knew that it is half made."""
    checkout = new_checkout(tmp_path_factory.mktemp("checkout") / "mana")
    venv = checkout.root / ".venv"
    subprocess.run([Path(sys.executable).resolve(), "-m", "venv", "--without-pip", venv], check=True)
    (venv / "bin" / "pip").write_text(f"#!{venv}/bin/python\n")
    [packages] = venv.glob("lib/python*/site-packages")
    (packages / "pip.py").touch()
    (venv / "half-installed").touch()
    assert checkout.asks("_venv_is_usable()")
    (venv / ".installing").touch()
    assert not checkout.is_installed()
    said = checkout.install()
    assert "trying pip" in said
    return checkout


def test_it_is_installed_until_the_lock_changes(installed: Checkout) -> None:
    assert installed.is_installed()
    assert installed.asks("_venv_is_usable()")
    lock = installed.root / "requirements.lock"
    lock.write_text("# something else\n")
    assert not installed.is_installed()
    lock.write_text("# nothing\n")
    assert installed.is_installed()


def test_an_interrupted_installation_is_begun_anew(installed: Checkout) -> None:
    assert installed.is_installed()
    venv = installed.root / ".venv"
    assert not (venv / "half-installed").exists()
    assert not (venv / ".installing").exists()


def test_where_nothing_is_the_environment_is_made_first(tmp_path: Path) -> None:
    """Made, it is as one that was begun anew."""
    checkout = new_checkout(tmp_path / "mana")
    assert not checkout.is_installed()
    making = "def make():\n    raise SystemExit('it is being made')\ninstall._make_venv = make"
    ended = checkout.python(f"from devkit import install\n{making}\ninstall.ensure_installed()")
    assert ended.stderr == "it is being made\n"


def test_a_checkout_that_was_moved_must_be_installed_anew(installed: Checkout) -> None:
    moved = Checkout(installed.root.with_name("moved"))
    installed.root.rename(moved.root)
    try:
        assert not moved.is_installed()
        # Its scripts begin with the path of a Python that is no longer there.
        assert not moved.asks("_venv_is_usable()")
    finally:
        moved.root.rename(installed.root)
