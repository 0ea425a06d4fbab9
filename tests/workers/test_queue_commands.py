"""`python -m nudges.operators`: Dramatiq's queues at a command line, audited as on the pages."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from domain.operators.shell import acting, looking, webhooks
from domain.operators.shell.frame import app, run
from nudges import operators
from tests.support.books import Books
from tests.web.test_admin_operators import _make_dead_letters as make_dead_letters

looking.add_to(app)
acting.add_to(app)
webhooks.add_to(app)
operators.add_to(app)

Admin = Callable[..., tuple[int, str, str]]


@pytest.fixture
def admin(
    database_url: str, redis_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Admin:
    """Run a command; its exit code, and what it wrote."""
    variables = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "ENV": "development", "COLUMNS": "200"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    def command(*arguments: str) -> tuple[int, str, str]:
        code = run(lambda: datetime.now(UTC), arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


def as_json(ran: tuple[int, str, str]) -> Any:
    assert ran[0] == 0, ran[2]
    return json.loads(ran[1])


def test_dead_letters_are_seen_requeued_and_dropped_once_and_audited(admin: Admin, redis_url: str) -> None:
    first, second = make_dead_letters(redis_url, 2)
    [money, *_] = as_json(admin("--json", "queues"))
    assert (money["name"], money["dead"], money["ready"]) == ("money", 2, 0)
    letters = as_json(admin("--json", "dead-letters", "money"))
    assert {one["message_id"] for one in letters} == {first, second}
    assert len(as_json(admin("--json", "dead-letters", "money", "--offset", "1"))) == 1
    assert admin("requeue", "money", first, "-r", " ", "--yes")[0] == 1
    assert as_json(admin("--json", "requeue", "money", first, "-r", "redis was emptied", "--yes"))
    code, _, said = admin("requeue", "money", first, "-r", "again", "--yes")
    assert (code, said.startswith("admin: dead_letter_not_found")) == (1, True)
    assert as_json(admin("--json", "drop", "money", second, "-r", "not ours", "--yes"))
    [money, *_] = as_json(admin("--json", "queues"))
    assert (money["dead"], money["ready"]) == (0, 1)
    records = as_json(admin("--json", "audit"))
    assert [(one["action"], one["reason"], one["outcome"].partition(",")[0]) for one in records] == [
        ("drop_dead_letter", "not ours", "dropped"),
        ("requeue_dead_letter", "redis was emptied", "requeued"),
    ]
    assert "Queues (4)" in admin("queues")[1]


def test_without_redis_it_says_so_and_nothing_is_audited(
    admin: Admin, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    for arguments in (("queues",), ("dead-letters", "mail"), ("drop", "mail", "x", "-r", "y", "--yes")):
        code, _, said = admin(*arguments)
        assert code == 1
        assert "Redis does not answer" in said
    assert Books(database_url).one("SELECT count(*) FROM ops.audit") == 0
