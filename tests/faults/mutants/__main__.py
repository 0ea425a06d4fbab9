"""`./dev mutants [--only TEXT]`: put each bug into a copy of the tree, and see it caught."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from devkit.paths import ROOT, VENV
from tests.faults.mutants.catalogue import MUTANTS, RIG, Mutant

SECONDS_MAX = 900.0
"""How long a catcher may take, on a machine that has other work."""

RIG_COMMAND = ("-m", "tests.faults.rig", "--minutes", "0.25", "--seed", "1303")
PYTEST = ("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider")
FAILED_TESTS = 1
"""How pytest ends when a test failed; anything else is no verdict."""


def main(arguments: list[str]) -> int:
    """0 when every mutant was caught, by catchers that find nothing without it."""
    parser = argparse.ArgumentParser(prog="./dev mutants", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="mutants with this in their name")
    options = parser.parse_args(arguments)
    chosen = [mutant for mutant in MUTANTS if options.only in mutant.name]
    console = Console(highlight=False)
    table = Table("bug", "in", "caught by", "", "s")
    lives = []
    with copy_of_tree() as tree:
        if not finds_nothing(tree, chosen, console):
            return 1
        for mutant in chosen:
            began = time.monotonic()
            verdict = run(tree, mutant)
            took = time.monotonic() - began
            console.print(f"{mutant.name}: {verdict} ({took:.0f} s)")
            if verdict != "caught":
                lives.append(mutant.name)
            colour = "green" if verdict == "caught" else "red"
            who = mutant.catcher.rpartition("::")[2]
            table.add_row(mutant.name, mutant.file, who, f"[{colour}]{verdict}", f"{took:.0f}")
    console.print(table)
    console.print(f"{len(chosen) - len(lives)} of {len(chosen)} caught; alive: {', '.join(lives) or 'none'}")
    return 1 if lives or not chosen else 0


@contextmanager
def copy_of_tree() -> Iterator[Path]:
    """The files of the repository as they are now, without what git does not keep; gone at the end."""
    tree = Path(tempfile.mkdtemp(prefix="mana-mutants-"))
    tree.chmod(0o755)  # PostgreSQL may run as another user, who must be able to pass
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    try:
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, tree / name)
        (tree / ".venv").symlink_to(VENV)
        yield tree
    finally:
        shutil.rmtree(tree, ignore_errors=True)


def finds_nothing(tree: Path, mutants: Sequence[Mutant], console: Console) -> bool:
    """Whether the catchers are quiet while there is no bug: else what they say of bugs means nothing."""
    tests = sorted({mutant.catcher for mutant in mutants} - {RIG})
    ended = [call(tree, *PYTEST, *tests)] if tests else []
    if any(mutant.catcher == RIG for mutant in mutants):
        ended.append(call(tree, *RIG_COMMAND))
    for one in ended:
        if one.returncode != 0:
            console.print(one.stdout[-4000:], markup=False)
            console.print("[red]the catchers find something where there is no bug")
            return False
    console.print(f"without a bug {len(tests)} tests and the rig find nothing")
    return True


def run(tree: Path, mutant: Mutant) -> str:
    """`caught`, or what happened instead.  Raises DoesNotApply."""
    file = tree / mutant.file
    right = file.read_text("utf-8")
    file.write_text(mutant.text(tree), "utf-8")
    try:
        if mutant.catcher == RIG:
            ended = call(tree, *RIG_COMMAND)
            is_caught = ended.returncode == 1 and "FOUND" in ended.stdout
        else:
            ended = call(tree, *PYTEST, mutant.catcher)
            is_caught = ended.returncode == FAILED_TESTS and "1 failed" in ended.stdout
    except subprocess.TimeoutExpired:
        return f"no answer within {SECONDS_MAX:.0f} s"
    finally:
        file.write_text(right, "utf-8")
    if is_caught:
        return "caught"
    return "ALIVE" if ended.returncode == 0 else f"no verdict:\n{ended.stdout[-2000:]}"


def call(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the copy; what it said, errors included."""
    # A file that changes twice in a second must not be taken for its compiled self.
    environment = {**os.environ, "ENV": "development", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
