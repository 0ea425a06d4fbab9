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
        code = f"from devkit import install; print(install.{question})"
        return self._run(sys.executable, "-c", code).stdout == "True\n"

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = {**unconfigured(), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}
        return subprocess.run(
            command, cwd=self.root, env=environment, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    root = tmp_path_factory.mktemp("checkout") / "mana"
    shutil.copytree(ROOT / "devkit", root / "devkit")
    shutil.copy(ROOT / "dev", root)
    (root / "requirements.lock").write_text("# nothing\n")
    checkout = Checkout(root)
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
    venv = installed.root / ".venv"
    (venv / ".installed").unlink()
    (venv / ".installing").touch()
    (venv / "half-installed").touch()
    assert not installed.is_installed()
    installed.install()
    assert installed.is_installed()
    assert not (venv / "half-installed").exists()


def test_a_checkout_that_was_moved_must_be_installed_anew(installed: Checkout) -> None:
    moved = Checkout(installed.root.with_name("moved"))
    installed.root.rename(moved.root)
    try:
        assert not moved.is_installed()
        # Its scripts begin with the path of a Python that is no longer there.
        assert not moved.asks("_venv_is_usable()")
    finally:
        moved.root.rename(installed.root)
