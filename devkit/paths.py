"""Where things are."""

import os
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
LOCK_FILE = ROOT / "requirements.lock"


def data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Where data, logs and run.json are kept between runs: DATA_DIR, else `.data` in the checkout."""
    chosen = environ.get("DATA_DIR")
    return Path(chosen).absolute() if chosen else ROOT / ".data"


def has_module(name: str, root: Path = ROOT) -> bool:
    """Whether the tree holds the module `name` as something `python -m` can run.

    Looks at files, because asking the import system about `a.b` would import `a`.
    """
    path = root.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()
