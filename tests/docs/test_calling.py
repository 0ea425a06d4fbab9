"""The examples of docs/calling.md and of the Python client's README do what they say, as they stand."""

import asyncio
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import mana_credits_client
from tests.architecture.source import ROOT
from tests.support.client import SERVICE_KEY
from tests.support.service import Service, service, service_variables, workers

__all__ = ["service", "service_variables", "workers"]

BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


@dataclass
class Work:
    price: Decimal
    id: int


async def test_the_examples_of_calling_run_as_they_stand(service: Service, workers: None) -> None:
    (await service.grant("anna", 100)).ok()
    blocks = BLOCK.findall((ROOT / "docs" / "calling.md").read_text("utf-8"))
    assert len(blocks) == 4
    later: list[Any] = []
    names = {
        **vars(mana_credits_client),
        "Decimal": Decimal,
        "address": service.url,
        "key": SERVICE_KEY,
        "do_the_work": lambda: Work(Decimal("0.5"), 7),
        "send_again_later": lambda *what: later.append(what),
        "stop_serving": later.append,
    }

    def run() -> None:
        with mana_credits_client.CreditsClient(service.url, service_key=SERVICE_KEY, app_id="chat") as client:
            for block in blocks:
                exec(block, {**names, "client": client})

    await asyncio.to_thread(run)
    assert not later
    assert await service.figures("anna") == (Decimal("79.1"), 100, Decimal("20.9"))


async def test_charging_before_gives_back_when_the_work_fails(service: Service, workers: None) -> None:
    (await service.grant("anna", 100)).ok()
    blocks = BLOCK.findall((ROOT / "docs" / "calling.md").read_text("utf-8"))

    def fail() -> None:
        raise LookupError("the model did not answer")

    def run() -> None:
        with mana_credits_client.CreditsClient(service.url, service_key=SERVICE_KEY, app_id="chat") as client:
            for block in blocks[1:3]:
                try:
                    exec(block, {"client": client, "Decimal": Decimal, "do_the_work": fail})
                except LookupError:
                    continue
                raise AssertionError("the work's own exception is the one that is raised")

    await asyncio.to_thread(run)
    assert (await service.figures("anna"))[0] == 100


async def test_the_example_of_the_clients_readme_runs(service: Service) -> None:
    (await service.grant("anna", 1)).ok()
    [block] = BLOCK.findall((ROOT / "clients" / "python" / "README.md").read_text("utf-8"))
    ours = block.replace("http://localhost:3061", service.url).replace("dev-service-key", SERVICE_KEY)
    await asyncio.to_thread(exec, ours, {})
    assert (await service.figures("anna"))[0] == Decimal("0.8")
