"""The TypeScript client, as node runs it, against the real service.

What is committed in `dist` is run, so that no test needs a package of npm's; that it is what the sources compile to
is checked where the compiler is installed (`npm ci` in clients/typescript, which CI does).
"""

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from devkit import ports
from tests.architecture.source import ROOT
from tests.clients.conftest import mended_after_a_loss
from tests.clients.saying import saying
from tests.faults.rig.proxy import Link, Trouble
from tests.support.client import SERVICE_KEY
from tests.support.service import Service
from web import client_types

CLIENT = ROOT / "clients" / "typescript"
COMPILER = CLIENT / "node_modules" / "typescript" / "bin" / "tsc"
SCENARIOS = Path(__file__).with_name("scenarios.mjs")
NODE = shutil.which("node")

needs_node = pytest.mark.skipif(NODE is None, reason="there is no node on PATH")


async def run(scenario: str, url: str, secret: str = SERVICE_KEY, *, deadline_ms: int = 10_000) -> Any:
    """What a scenario printed."""
    assert NODE is not None
    started = await asyncio.create_subprocess_exec(
        *(NODE, str(SCENARIOS), scenario, url, secret, str(deadline_ms)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        printed, complained = await started.communicate()
    assert started.returncode == 0, complained.decode()
    return json.loads(printed)


def test_the_types_are_those_of_the_api() -> None:
    assert client_types.PAGE.read_text("utf-8") == client_types.source(), "run python -m web.client_types"


@needs_node
@pytest.mark.skipif(not COMPILER.exists(), reason="no compiler: npm ci in clients/typescript installs it")
def test_what_is_committed_is_what_the_sources_compile_to(tmp_path: Path) -> None:
    assert NODE is not None
    compiled = subprocess.run(
        [NODE, str(COMPILER), "-p", str(CLIENT / "tsconfig.json"), "--outDir", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert compiled.returncode == 0, compiled.stdout
    committed = {path.name: path.read_text("utf-8") for path in (CLIENT / "dist").iterdir()}
    assert {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()} == committed


def test_every_source_was_compiled() -> None:
    made = {path.name for path in (CLIENT / "dist").iterdir()}
    stems = {path.stem for path in (CLIENT / "src").iterdir()}
    assert made == {f"{stem}{ending}" for stem in stems for ending in (".js", ".d.ts")}
    schema = (CLIENT / "dist" / "schema.js").read_text("utf-8")
    rows = [
        line.strip() for line in client_types.source().splitlines() if "takesKey: " in line and "{ m" in line
    ]
    assert len(rows) > 30
    assert all(row in schema for row in rows)


@needs_node
async def test_an_app_spends_and_gives_back(service: Service, workers: None) -> None:
    (await service.grant("anna", 20)).ok()
    assert await run("walk", service.url) == {"amount": -2.1, "balance": 18}


@needs_node
@pytest.mark.parametrize("trouble", [Trouble.CUT, Trouble.HALF_OPEN])
async def test_a_use_whose_answer_is_lost_is_paid_once(
    service: Service, link: Link, trouble: Trouble
) -> None:
    (await service.grant("anna", 20)).ok()
    link.spoil(trouble)
    uses = "SELECT count(*) FROM credits.transactions WHERE type = 'usage'"

    told, _ = await asyncio.gather(run("spend", f"http://127.0.0.1:{link.port}"), mended_after_a_loss(link))
    assert told["wasDoneBefore"]
    assert told["key"]
    assert service.books.one(uses) == 1


@needs_node
async def test_a_batch_whose_answer_is_lost_is_paid_once(service: Service, link: Link) -> None:
    (await service.grant("anna", 20)).ok()
    link.spoil(Trouble.CUT)

    told, _ = await asyncio.gather(run("batch", f"http://127.0.0.1:{link.port}"), mended_after_a_loss(link))
    assert told == {"again": True, "different": 2}
    assert await service.figures("anna") == (16, 20, 4)


@needs_node
async def test_a_key_that_the_operation_would_not_take_is_refused_before_anything_is_sent() -> None:
    assert await run("keyless", "http://127.0.0.1:1") == "TypeError: internalInit takes no key"


@needs_node
async def test_a_reservation_is_committed_or_put_back(service: Service) -> None:
    (await service.grant("anna", 20)).ok()
    assert await run("reserve", service.url) == {"seen": [15, 15], "result": "done", "thrown": "RangeError"}
    assert await service.figures("anna") == (15, 20, 5)


@needs_node
async def test_an_unconfirmed_commit_in_the_work_is_not_followed_by_putting_back(service: Service) -> None:
    (await service.grant("anna", 20)).ok()
    assert await run("lost_commit", service.url) == "Unconfirmed"
    assert await service.figures("anna") == (15, 20, 5)


@needs_node
async def test_a_put_back_that_fails_in_any_way_leaves_the_works_own_error(service: Service) -> None:
    (await service.grant("anna", 20)).ok()
    assert await run("failing_put_back", service.url) == "RangeError"


@needs_node
async def test_refusals_are_of_their_own_kind_and_have_their_facts(service: Service) -> None:
    (await service.grant("anna", 20)).ok()
    told = await run("refused", service.url)
    assert told == {"poor": [True, 1000, 20, 402], "reused": True, "bad": "amount", "has_request_id": True}


@needs_node
async def test_a_person_calls_with_a_token(service: Service) -> None:
    (await service.grant("anna", 20)).ok()
    assert await run("personal", service.url, service.auth.mint("anna")) == 20


@needs_node
async def test_a_token_that_fails_after_a_lost_answer_leaves_the_key_to_ask_again_with(
    service: Service, link: Link
) -> None:
    (await service.grant("anna", 20)).ok()
    link.spoil(Trouble.CUT)
    token = service.auth.mint("anna")

    told, _ = await asyncio.gather(
        run("token_lost", f"http://127.0.0.1:{link.port}", token), mended_after_a_loss(link)
    )
    assert told == {"name": "Unconfirmed", "cause": "RangeError", "attempts": 2, "wasDoneBefore": True}
    assert await service.figures("anna") == (15, 20, 5)


BUSY = '{"statusCode":503,"message":"Too many requests are waiting","code":"overloaded"}'


@needs_node
async def test_retry_after_is_waited_for_or_given_up_at_once() -> None:
    done = '{"success":true,"transaction":{}}'
    async with saying((503, BUSY, {"Retry-After": "1"}), (200, done, {})) as server:
        told = await run("ask", server.url)
        assert told["name"] is None
        assert told["seconds"] >= 1
        assert len(server.heard) == 2
    async with saying((503, BUSY, {"Retry-After": "3600"})) as server:
        told = await run("ask", server.url)
        assert (told["name"], told["attempts"]) == ("Unconfirmed", 1)


@needs_node
@pytest.mark.parametrize("answer", [(200, "<html>", {}), (302, "", {"Location": "/"}), (500, "{}", {})])
async def test_what_confirms_nothing_is_unconfirmed(answer: tuple[int, str, dict[str, str]]) -> None:
    async with saying(answer) as server:
        assert (await run("ask", server.url))["name"] == "Unconfirmed"
        assert len(server.heard) == (2 if answer[0] == 500 else 1)


@needs_node
@pytest.mark.parametrize("status", [401, 403])
async def test_who_is_not_let_in_after_a_lost_answer_may_have_paid(status: int) -> None:
    async with saying((502, "", {}), (status, "{}", {})) as server:
        told = await run("ask", server.url)
        assert (told["name"], told["attempts"]) == ("Unconfirmed", 2)
    async with saying((status, "{}", {})) as server:
        assert (await run("ask", server.url))["name"] not in ("Unconfirmed", None)


@needs_node
async def test_no_error_shows_the_service_key() -> None:
    told = await run("ask", f"http://127.0.0.1:{ports.choose()}", deadline_ms=300)
    assert told["name"] == "Unconfirmed"
    assert SERVICE_KEY not in told["text"]
    assert "top-secret" not in await run("unfit", "http://127.0.0.1:1")
