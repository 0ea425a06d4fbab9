"""The documents name only what exists."""

import re
from pathlib import Path

import pytest

from tests.architecture.source import ROOT

DOCUMENTS = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"]

_IN_CODE = re.compile(
    r"`((?:domain|web|workers|scheduler|nudges|migrations|simulators|devkit|tests|docs)/[\w./-]*)`"
)
_LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_a_document_names_is_there(document: Path) -> None:
    text = document.read_text("utf-8")
    missing = [name for name in _IN_CODE.findall(text) if not (ROOT / name).exists()]
    missing += [link for link in _LINK.findall(text) if not (document.parent / link).exists()]
    assert not missing


def test_a_decision_is_short() -> None:
    for decision in (ROOT / "docs/decisions").glob("*.md"):
        assert decision.read_text("utf-8").count("\n") <= 30, decision.name
