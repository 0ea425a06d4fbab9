"""What deployment files are held against: the variables, programs, ports and time limits of the code."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from domain.environment import FILE, MAY_BE_FILES
from domain.settings import Settings, read_settings
from tests.architecture.source import ROOT
from web import __main__ as web_program
from workers import __main__ as workers_program

DEPLOY: Final = ROOT / "deploy"

SECRETS: Final = {
    "DATABASE_URL": "postgresql://mana_credits:a-password@postgres:5432/mana_credits",
    "DATABASE_DIRECT_URL": "postgresql://mana_credits:a-password@postgres:5432/mana_credits",
    "REDIS_URL": "redis://:a-password@redis:6379/0",
    "MANA_SERVICE_KEY": "a-key-of-our-own",
    "STRIPE_SECRET_KEY": "sk_of_our_own",
    "STRIPE_WEBHOOK_SECRET": "whsec_of_our_own",
    "OPS_USERS": "",
    "LOG_USER_IDS_KEY": "a-key-of-our-own",
}
"""What a deployer puts into the files of secrets."""

END_SECONDS: Final = {
    "web": web_program.END_SECONDS,
    "workers": workers_program.END_SECONDS,
    "scheduler": 5.0,
}
"""How long each program may take to end by itself; the scheduler ends after its tick."""

RUNS_OF_PYTHON: Final = {"PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PATH"}


def variables() -> set[str]:
    """Every variable that the settings read, with the files that some may come in."""
    tree = ast.parse((ROOT / "domain/settings.py").read_text("utf-8"))
    named = {
        call.args[0].value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and ast.unparse(call.func.value) == "read"
        and call.args
        and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[0].value, str)
    }
    return named | {name + FILE for name in MAY_BE_FILES}


def settings_with(environment: Mapping[str, str], home: Path) -> Settings:
    """The settings that a process has which is given this environment, and whose files of secrets are there.

    Fails for a variable that nobody reads, for one that is malformed, and for a secret that stands there itself.
    """
    unknown = set(environment) - variables() - RUNS_OF_PYTHON
    assert not unknown, unknown
    assert not {name for name in MAY_BE_FILES if environment.get(name)} - {"REDIS_URL"}
    given = dict(environment)
    for name in MAY_BE_FILES:
        if name + FILE in given:
            path = home / Path(given[name + FILE]).name
            path.write_text(SECRETS[name] + "\n")
            given[name + FILE] = str(path)
    settings = read_settings(given)
    assert settings.env == "production"
    return settings


def program_of(command: str) -> str:
    """The module that a command runs as `python -m`; fails when there is none."""
    found = re.fullmatch(r"(?:\S*/)?python -m (\w+)((?: \w+)*)", command)
    assert found is not None, command
    assert importlib.util.find_spec(f"{found[1]}.__main__") is not None, command
    assert (found[1], found[2].split()) in [
        ("web", []),
        ("workers", []),
        ("scheduler", []),
        ("migrations", ["upgrade"]),
    ], command
    return found[1]
