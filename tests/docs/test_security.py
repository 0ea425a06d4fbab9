"""docs/security.md names tests that are there, and the list of dependencies is true."""

import re
from importlib import metadata
from pathlib import Path

import pytest

from devkit import licences
from devkit.check import SHIPPED, STEPS
from tests.architecture.source import ROOT

SECURITY = (ROOT / "docs/security.md").read_text("utf-8")
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", SECURITY)


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_the_page_names_is_there(file: str, name: str) -> None:
    assert re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text("utf-8"), re.MULTILINE)


def test_every_threat_has_an_answer_and_a_test() -> None:
    rows = [
        line for line in SECURITY.splitlines() if line.startswith("| ") and not line.startswith("| threat")
    ]
    assert len(rows) > 30
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split(" | ")]
        assert len(cells) == 3, row
        assert all(cells), row
        assert "::" in cells[2], row


def test_the_list_of_dependencies_is_up_to_date() -> None:
    assert licences.PAGE.read_text("utf-8") == licences.page(), "run python -m devkit.licences"


def test_a_package_that_another_python_alone_installs_stays_on_the_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    licence_of = licences.licence_of

    def not_here(name: str) -> str:
        if name == "attrs":
            raise metadata.PackageNotFoundError
        return licence_of(name)

    monkeypatch.setattr(licences, "licence_of", not_here)
    assert licences.PAGE.read_text("utf-8") == licences.page()
    locked = licences.locked
    monkeypatch.setattr(licences, "locked", lambda text: [name for name in locked(text) if name != "attrs"])
    assert "| attrs |" not in licences.page()


def test_what_the_image_holds_may_be_used_in_a_service_that_is_not_published() -> None:
    service = {
        name: licence for name, (licence, purpose) in licences.licences().items() if purpose == "service"
    }
    assert len(service) > 25
    unfree = {name: licence for name, licence in service.items() if re.search(r"(?<!L)GPL|not said", licence)}
    assert not unfree


def test_of_what_is_for_development_alone_no_more_is_strict_or_silent_than_is_known() -> None:
    known = {
        "localstripe": "GPL: a program of its own, beside the tests",
        "promql-parser": "its package does not say; tests alone import it",
    }
    development = {
        name: licence for name, (licence, purpose) in licences.licences().items() if purpose == "development"
    }
    found = {name for name, licence in development.items() if re.search(r"(?<!L)GPL|not said", licence)}
    assert found == known.keys()


def test_bandit_is_asked_of_everything_that_is_shipped() -> None:
    assert "bandit" in {step.name for step in STEPS}
    not_in_the_image = {"tests", "bench", "devkit", "clients"}
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    rooms = packages - not_in_the_image
    assert rooms <= set(SHIPPED), rooms
    assert "clients/python/src" in SHIPPED, "apps install it"


@pytest.mark.parametrize("lock", licences.LOCKS.values(), ids=lambda path: path.parent.name)
def test_every_locked_package_has_one_version_and_hashes(lock: Path) -> None:
    blocks = re.split(r"\n(?=[a-zA-Z0-9])", lock.read_text("utf-8"))
    pinned = [block for block in blocks if "==" in block.splitlines()[0]]
    assert len(pinned) == len(licences.locked(lock.read_text("utf-8"))) > 25
    assert all("--hash=sha256:" in block for block in pinned)
