"""What may not be in the repository, whoever's machine it was written on."""

import re
from pathlib import Path

from tests.architecture.source import ROOT, committed_files

# In pieces, so that this file does not hold what it looks for.
REGISTRY = re.compile(
    "|".join(
        [
            r"https?://[^\s\"'<>]*/simp" + r"le\b",
            r"https?://[^\s\"'<>]*(py"
            + r"pi|arti"
            + r"factory|nex"
            + r"us|jf"
            + r"rog|files\.pythonhos"
            + r"ted)",
            r"--(extra-)?index-" + r"url\s",
            r"\bregistry\.np" + r"mjs\b",
        ]
    ),
    re.IGNORECASE,
)
SECRET = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE K" + r"EY-----|\bsk_li" + r"ve_\w{8}|\bgh[pousr]_\w{30}|\bAKIA[0-9A-Z]{16}\b"
)
BYTES_MAX = 1_000_000
GENERATED = {"__pycache__", ".venv", ".data", "node_modules"}


def _text(path: Path) -> str:
    return (ROOT / path).read_bytes().decode("utf-8", "replace")


def test_no_file_names_a_package_registry() -> None:
    """Where packages come from is the machine's business; the lock has hashes and no addresses."""
    assert not [
        f"{path}: {found[0]}" for path in committed_files() if (found := REGISTRY.search(_text(path)))
    ]


def test_no_file_holds_a_secret() -> None:
    assert not [str(path) for path in committed_files() if SECRET.search(_text(path))]


def test_nothing_generated_or_large_is_committed() -> None:
    for path in committed_files():
        assert not GENERATED & set(path.parts), path
        assert (ROOT / path).stat().st_size < BYTES_MAX, path


def test_a_registry_would_be_seen() -> None:
    assert REGISTRY.search("https://example.com/api/py" + "pi/simp" + "le")
    assert REGISTRY.search("pip install --index-" + "url https://example.com/x")
