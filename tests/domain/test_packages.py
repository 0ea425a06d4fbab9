"""The packages' command, and the seeds of a developer's machine."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Engine

from domain import operators, packages
from domain.database import transaction
from domain.packages.__main__ import main
from tests.support.ledger import NOW
from tests.support.payments import Shop

Run = Callable[..., int]


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("ENV", "development")
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: main([str(argument) for argument in arguments])


def test_seeding_twice_adds_nothing_and_changes_nothing(engine: Engine) -> None:
    with transaction(engine) as connection:
        assert packages.seed(connection, now=NOW) == 4
        [first, *_] = packages.active_packages(connection)
        packages.change(connection, first.id, packages.Changes(name="Ours"), now=NOW)
        assert packages.seed(connection, now=NOW) == 0
        assert packages.active_packages(connection)[0].name == "Ours"


def test_the_command_makes_changes_and_lists(
    run: Run, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("add", "--name", "Pack", "--credits", 300, "--price", 250) == 0
    [package] = shop.in_transaction(lambda c, _now: packages.all_packages(c))
    assert (package.credits, package.price_euro_cents, package.active) == (300, 250, True)
    assert run("change", package.id, "--price", 260, "--sort-order", 3) == 0
    shop.buy(package)
    assert run("change", package.id, "--price", 270) == 1
    assert "package_sold" in capsys.readouterr().err
    assert run("deactivate", package.id) == 0
    assert run("list") == 0
    assert "€2.60" in capsys.readouterr().out
    assert run("change", package.id, "--activate") == 0
    [package] = shop.in_transaction(lambda c, _now: packages.active_packages(c))
    assert package.sort_order == 3


@pytest.mark.parametrize(("option", "value"), [("--price", 49), ("--credits", 0), ("--price", "x")])
def test_the_command_refuses_what_is_out_of_bounds(run: Run, option: str, value: object) -> None:
    wanted = {"--name": "Pack", "--credits": 300, "--price": 250, option: value}
    with pytest.raises(SystemExit):
        run("add", *[part for pair in wanted.items() for part in pair])


def test_the_commands_changes_are_in_the_audit(run: Run, engine: Engine) -> None:
    assert run("add", "--name", "Pack", "--credits", 300, "--price", 250) == 0
    with transaction(engine) as connection:
        [package] = packages.all_packages(connection)
    assert run("change", package.id, "--price", 260, "--reason", "a sale") == 0
    assert run("deactivate", package.id, "--reason", "it is over") == 0
    assert run("change", package.id, "--stripe-price", "price_1", "--price", 49_000_000) == 0
    with transaction(engine) as connection:
        records = operators.list_audit(connection, operators.AuditFilter(subject=str(package.id)))
    assert all(record.actor.startswith("shell:") for record in records)
    assert [(record.action, record.reason) for record in reversed(records)] == [
        ("create_package", "none was given"),
        ("change_package", "a sale"),
        ("deactivate_package", "it is over"),
        ("change_package", "none was given"),
    ]
