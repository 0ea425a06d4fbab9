"""`./dev mutants` follows the code: every bug still has its place, and its catcher is there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from devkit.paths import ROOT
from tests.faults.mutants.catalogue import MUTANTS, RIG, DoesNotApply, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_bug_applies_and_its_catcher_is_there(mutant: Mutant) -> None:
    text = mutant.text(ROOT)
    assert text != (ROOT / mutant.file).read_text("utf-8")
    if mutant.file.endswith(".py"):
        ast.parse(text)
    if mutant.catcher != RIG:
        file, _, name = mutant.catcher.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text("utf-8")


def test_there_are_fifteen_bugs_at_least_and_no_two_alike() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 15


def test_a_bug_whose_text_is_gone_or_there_twice_says_so(tmp_path: Path) -> None:
    mutant = Mutant("a bug", "a.py", "x = 1", "x = 2", RIG)
    for text in ("y = 1", "x = 1\nx = 1"):
        (tmp_path / "a.py").write_text(text)
        with pytest.raises(DoesNotApply, match="not once"):
            mutant.text(tmp_path)
