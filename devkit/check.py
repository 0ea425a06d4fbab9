"""`./dev check`: everything that CI runs, step by step, with a summary."""

import subprocess
import time
from dataclasses import dataclass

from devkit.errors import DevError
from devkit.paths import ROOT, VENV, VENV_PYTHON
from devkit.screen import paint, say, table

SHIPPED = (
    *("domain", "web", "workers", "scheduler", "nudges", "processes", "migrations", "simulators"),
    "clients/python/src",
)
"""What runs elsewhere than on a developer's machine, and what stands in for it there."""

RUFF = str(VENV / "bin" / "ruff")


@dataclass(frozen=True)
class Step:
    """One check: a command that must end with 0."""

    name: str
    what: str
    command: tuple[str, ...]


STEPS = (
    Step("format", "the code is formatted", (RUFF, "format", "--check", ".")),
    Step("lint", "the linter has nothing to say", (RUFF, "check", ".")),
    Step(
        "bandit",
        "bandit has nothing to say of what is shipped",
        (str(VENV / "bin" / "bandit"), "--configfile", "pyproject.toml", "-q", "-ii", "-r", *SHIPPED),
    ),
    Step("types", "types agree, strictly", (str(VENV_PYTHON), "-m", "mypy")),
    Step("imports", "no room imports what it must not", (str(VENV / "bin" / "lint-imports"),)),
    Step(
        "errors",
        "docs/errors.md says what the tables say",
        (str(VENV_PYTHON), "-m", "web.error_docs", "--check"),
    ),
    Step(
        "metrics",
        "docs/metrics.md says what the list says",
        (str(VENV_PYTHON), "-m", "domain.telemetry", "--check"),
    ),
    Step(
        "client-types",
        "the TypeScript client's types are those of the API",
        (str(VENV_PYTHON), "-m", "web.client_types", "--check"),
    ),
    Step("tests", "all tests pass", (str(ROOT / "dev"), "test")),
)


def check(only: list[str]) -> int:
    """Run all steps, or those named in `only`; 0 when every one passed.  A failure does not stop the rest.

    Raises DevError for a name that is no step.
    """
    unknown = set(only) - {step.name for step in STEPS}
    if unknown:
        names = ", ".join(step.name for step in STEPS)
        raise DevError(f"No step {', '.join(sorted(unknown))}. There are: {names}.")
    rows = [("STEP", "RESULT", "TIME", "")]
    failed = []
    for step in STEPS:
        if only and step.name not in only:
            continue
        say(paint(f"── {step.name}: {step.what}", "1"))
        began = time.monotonic()
        passed = subprocess.run(step.command, cwd=ROOT, check=False).returncode == 0
        if not passed:
            failed.append(step.name)
        seconds = f"{time.monotonic() - began:.1f} s"
        rows.append((step.name, "passed" if passed else "FAILED", seconds, step.what))
    say("\n" + table(rows))
    say(paint(f"\nfailed: {', '.join(failed)}", "31") if failed else "\nall checks passed")
    return 1 if failed else 0
