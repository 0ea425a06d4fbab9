"""The table of refusals: complete, its messages whole, its page up to date."""

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import domain
from domain.errors import Refusal
from web import error_docs
from web.error_catalogue import ADVICE, MALFORMED, OUTAGES, refusals, sample_refusal
from web.errors import REFUSALS, wrong_of, wrong_of_refusal

# Refusals are defined wherever the domain has them: every module of it has to be seen.
for module in pkgutil.walk_packages(domain.__path__, "domain."):
    importlib.import_module(module.name)


def _all_refusals(kind: type[Refusal] = Refusal) -> Iterator[type[Refusal]]:
    for subclass in kind.__subclasses__():
        if subclass.__module__.split(".")[0] == "domain":
            yield subclass
        yield from _all_refusals(subclass)


ALL = sorted(set(_all_refusals()), key=lambda kind: kind.__name__)


def test_every_refusal_of_the_domain_has_a_row_and_every_row_a_refusal() -> None:
    assert set(REFUSALS) == set(ALL)


@pytest.mark.parametrize("kind", REFUSALS, ids=lambda kind: kind.__name__)
def test_a_refusals_message_is_made_of_its_own_facts(kind: type[Refusal]) -> None:
    wrong = wrong_of_refusal(sample_refusal(kind))
    assert 400 <= wrong.status <= 503
    assert wrong.message
    assert "{" not in wrong.message
    assert wrong.body()["code"] == kind.code


def test_codes_are_stable_words_and_no_two_refusals_share_one() -> None:
    codes = [kind.code for kind in ALL]
    assert len(set(codes)) == len(codes)
    assert all(code == code.lower() and code.replace("_", "").isalpha() for code in codes)
    assert ADVICE.keys() <= set(codes)


def test_every_refusal_says_when_it_comes_and_what_to_do() -> None:
    for error in [*refusals(), *MALFORMED, *OUTAGES]:
        assert error.when, error.sample.code
        assert error.advice, error.sample.code


def test_what_is_unexpected_has_no_look() -> None:
    assert wrong_of(ValueError()) is None


def test_the_page_of_errors_is_up_to_date() -> None:
    assert error_docs.main(["--check"]) == 0


def test_check_says_when_the_page_is_out_of_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "errors.md"
    monkeypatch.setattr(error_docs, "PAGE", page)
    assert error_docs.main(["--check"]) == 1
    assert error_docs.main([]) == 0
    assert error_docs.main(["--check"]) == 0
    page.write_text(page.read_text().replace("402", "403"))
    assert error_docs.main(["--check"]) == 1
    assert "web.error_docs" in capsys.readouterr().err
