"""`./dev lock`: choosing the versions of everything that is installed."""

import os
import subprocess
from pathlib import Path

from devkit.errors import DevError
from devkit.install import INSTALLER_LOCK, UV_ENVIRONMENT
from devkit.paths import LOCK_FILE, ROOT, VENV
from devkit.screen import progress

UV = VENV / "bin" / "uv"
EXPORT = ("export", "--format", "requirements-txt", "--no-emit-project", "--no-header", "--quiet")
IMAGE_LOCK = ROOT / "deploy" / "requirements.lock"
TRACES_LOCK = ROOT / "deploy" / "requirements-traces.lock"


def lock() -> None:
    """Write the locks, with hashes: of everything, of what the image needs (also with traces), of the installer.

    Raises DevError when versions cannot be found, or when a file would name a registry: the checkout
    must install wherever its reader gets packages from.
    """
    if not UV.exists():
        raise DevError("This needs uv, which could not be installed into .venv.")
    with progress("Choosing versions"):
        # uv's own lock names the registry it asked; it is a by-product and not kept.
        by_product = ROOT / "uv.lock"
        by_product.unlink(missing_ok=True)
        try:
            packages = _uv(*EXPORT, "--all-groups")
            image = _uv(*EXPORT, "--no-dev")
            traces = _uv(*EXPORT, "--no-dev", "--extra", "traces")
        finally:
            by_product.unlink(missing_ok=True)
        installer = _uv(
            "pip",
            "compile",
            "--universal",
            "--generate-hashes",
            "--no-header",
            "--no-annotate",
            "-",
            stdin="uv\n",
        )
    _replace(LOCK_FILE, packages)
    _replace(IMAGE_LOCK, image)
    _replace(TRACES_LOCK, traces)
    _replace(INSTALLER_LOCK, installer)


def _replace(path: Path, content: str) -> None:
    if "://" in content:
        raise DevError(f"The new {path.name} would contain an address; it was not written.")
    path.write_text(content)


def _uv(*arguments: str, stdin: str = "") -> str:
    result = subprocess.run(
        [str(UV), *arguments],
        cwd=ROOT,
        env={**os.environ, **UV_ENVIRONMENT, "VIRTUAL_ENV": str(VENV)},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise DevError(f"uv {arguments[0]} failed:\n{result.stderr}")
    return result.stdout
