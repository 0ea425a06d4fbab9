"""Outside development the service starts with secrets of its own or not at all."""

from pathlib import Path

import pytest

from tests.support.forking import start_module
from tests.support.process import process_environment, running_process

GOOD = {"MANA_SERVICE_KEY": "a-key-of-our-own", "STRIPE_WEBHOOK_SECRET": "whsec_of_our_own", "PORT": "1"}
REFUSED_EXIT_CODE = 2
SECONDS_MAX = 60.0

FAULTY: dict[str, tuple[dict[str, str | None], list[str]]] = {
    "no service key": ({"MANA_SERVICE_KEY": None, "ENV": "production"}, ["MANA_SERVICE_KEY"]),
    "the well-known key beside a good one": (
        {"MANA_SERVICE_KEY": "good,dev-service-key"},
        ["MANA_SERVICE_KEY"],
    ),
    "no webhook secret": ({"STRIPE_WEBHOOK_SECRET": None}, ["STRIPE_WEBHOOK_SECRET"]),
    "both empty, and no port": (
        {"MANA_SERVICE_KEY": " , ", "STRIPE_WEBHOOK_SECRET": "", "PORT": "http"},
        ["PORT", "MANA_SERVICE_KEY", "STRIPE_WEBHOOK_SECRET"],
    ),
    "an environment nobody knows": ({"ENV": "Development"}, ["ENV"]),
}


@pytest.mark.parametrize("name", FAULTY)
def test_it_refuses_to_start_and_names_the_variable(name: str, tmp_path: Path) -> None:
    changes, named = FAULTY[name]
    variables = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    log = tmp_path / "log"
    ended = start_module("web", process_environment(variables), log).wait(SECONDS_MAX)
    said = log.read_text()
    assert ended == REFUSED_EXIT_CODE, said
    assert "Traceback" not in said
    lines = said.strip().splitlines()
    assert [[variable for variable in named if variable in line] for line in lines] == [
        [each] for each in named
    ]
    assert "dev-service-key" not in said


def test_with_secrets_of_its_own_it_starts_in_production(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    servers = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    with running_process({**GOOD, **servers, "ENV": "production"}, tmp_path / "web.log") as process:
        assert process.answers()
        assert process.stop() == 0
