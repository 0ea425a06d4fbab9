"""`./dev fuzz [--requests N] [--seed S]`: schemathesis against the whole service, each route with its credential.

Real processes, as the fault rig furnishes them.  What is counted is what the service itself counted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from prometheus_client.parser import text_string_to_metric_families

from devkit.paths import ROOT, VENV
from domain import invariants
from domain.database import make_engine
from simulators.auth import AuthSimulator
from tests.faults.rig.house import WEBS, House, running
from tests.support.client import SERVICE_KEY
from web.app import operations
from web.routing import Access

TOKEN_SECONDS = 86_400.0
REQUESTS = 5_000

CASES_FOR_A_ROUTE = 12
"""Requests that a route gets for one example: the fixed cases, the generated ones, and their unwanted twins."""

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance,ignored_auth"
)
"""Not among them: those that know only from the schema whether a request is good.  A gift that is already redeemed
is refused with 400 though its request is well-formed, and unknown fields are accepted: the contract says so.
Nor is that nothing is found after a DELETE: of a package it ends the sale, and the row stays."""

ROUTES = {
    Access.USER: r"^/api/v1/(credits/(?!packages)|gifts|sync)",
    Access.SERVICE: r"^/api/v1/internal/",
    Access.ADMIN: r"^/api/v1/admin/",
    Access.OPEN: r"^/(health|ready|g/|openapi|api/v1/(webhooks|credits/packages))",
}


@dataclass
class Counted:
    """What the web processes counted: answers by status, and errors of ours."""

    statuses: Counter[str]
    defects: float


def main(arguments: list[str]) -> int:
    """0 when no check failed, nothing was answered 500, and the books add up."""
    parser = argparse.ArgumentParser(prog="./dev fuzz", description=__doc__)
    parser.add_argument("--requests", type=int, default=REQUESTS, help=f"about how many (default {REQUESTS})")
    parser.add_argument("--seed", type=int, default=None, help="the same seed asks the same things")
    options = parser.parse_args(arguments)
    seed = random.randrange(10**6) if options.seed is None else options.seed
    with TemporaryDirectory(prefix="mana-fuzz-") as home:
        return asyncio.run(fuzz(Path(home), options.requests, seed))


async def fuzz(home: Path, requests: int, seed: int) -> int:
    """Run each kind of credential in turn, and say what came of it."""
    failed = []
    async with running(home) as house:
        auth = AuthSimulator(issuer=house.urls["issuer"], directory=home / "auth")
        headers = {
            Access.USER: f"Authorization: Bearer {auth.mint('fuzz', ttl_seconds=TOKEN_SECONDS)}",
            Access.ADMIN: f"Authorization: Bearer {auth.mint('root', role='admin', ttl_seconds=TOKEN_SECONDS)}",
            Access.SERVICE: f"X-Service-Key: {SERVICE_KEY}",
            Access.OPEN: "X-App-Id: fuzz",
        }
        examples = max(1, requests // (len(operations()) * CASES_FOR_A_ROUTE))
        began = time.monotonic()
        for access, routes in ROUTES.items():
            url = house.urls[WEBS[0]]
            arguments = schemathesis(url, routes, headers[access], examples=examples, seed=seed)
            if await asyncio.to_thread(run, arguments):
                failed.append(access.value)
        seconds = time.monotonic() - began
        counted = await asyncio.to_thread(count, house)
        engine = make_engine(house.postgres.url(), pool_size=1)
        broken = [finding.name for finding in invariants.check(engine) if finding.violation_count]
        engine.dispose()
    total = sum(counted.statuses.values())
    print(
        f"seed {seed}: {total} requests in {seconds:.0f} s; answers {dict(sorted(counted.statuses.items()))}"
    )
    print(
        f"errors of ours: {counted.defects:.0f}; checks failed for: {failed or 'none'}; books: {broken or 'add up'}"
    )
    return 1 if failed or counted.defects or counted.statuses["500"] or broken else 0


def schemathesis(url: str, routes: str, header: str, *, examples: int, seed: int) -> list[str]:
    """The command for the routes that match."""
    return [
        *(str(VENV / "bin" / "st"), "run", f"{url}/openapi.json", "--url", url, "--header", header),
        *("--include-path-regex", routes, "--checks", CHECKS, "--max-examples", str(examples)),
        *("--seed", str(seed), "--continue-on-failure", "--generation-database", "none", "--no-color"),
        *("--suppress-health-check", "all", "--request-timeout", "30", "--warnings", "off"),
    ]


def run(arguments: list[str]) -> int:
    """Run it with its output shown; its exit code."""
    environment = {**os.environ, "NO_PROXY": "127.0.0.1"}
    return subprocess.run(arguments, cwd=ROOT, env=environment, check=False).returncode


def count(house: House) -> Counted:
    """Ask every web process what it counted."""
    counted = Counted(Counter(), 0.0)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for name in WEBS:
        with opener.open(f"{house.urls[name]}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name.endswith("_count") and {"route", "status"} <= sample.labels.keys():
                    counted.statuses[sample.labels["status"]] += int(sample.value)
                if "defects" in sample.name and sample.name.endswith("_total"):
                    counted.defects += sample.value
    return counted


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
