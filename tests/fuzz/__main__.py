"""`./dev fuzz [--requests N] [--seed S]`: schemathesis against the whole service, with every kind of credential.

Real processes, two of them web; all checks on, also over chains of requests.  What is counted is what the service
itself counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from devkit.paths import ROOT, VENV
from devkit.valkey import Valkey
from domain import invariants
from domain.database import make_engine
from tests import servers
from tests.fuzz.passes import (
    CREDENTIALS_VARIABLE,
    NOT_ASKED,
    WEBHOOK_SECRET_VARIABLE,
    Pass,
    asked_by,
    passes,
    write_configuration,
)
from tests.support.client import SERVICE_KEY
from tests.support.scraped import fetched
from tests.support.whole import WEBHOOK_SECRET, Whole, whole_service

TOKEN_SECONDS = 86_400.0
REQUESTS = 5_000
WEBS = 2

FIRST_EXAMPLES = 3
"""Generated requests for a route in the first round, which has the fixed cases, too: some 6,000 requests in all."""

REQUESTS_FOR_AN_EXAMPLE = 3.0
"""About what one more example costs, over all routes of a pass: the request, its unwanted twin, chains."""

EXAMPLES_MAX = 20
"""In one round: what it finds is told when it ends."""


@dataclass
class Counted:
    """What the web processes counted: answers by status, and errors of ours."""

    statuses: Counter[str]
    defects: float

    @property
    def total(self) -> int:
        """All answers."""
        return sum(self.statuses.values())


def main(arguments: list[str]) -> int:
    """0 when no check failed, nothing was answered 5xx, and the books add up."""
    parser = argparse.ArgumentParser(prog="./dev fuzz", description=__doc__)
    parser.add_argument(
        "--requests", type=int, default=REQUESTS, help=f"how many at least (default {REQUESTS})"
    )
    parser.add_argument("--seed", type=int, default=None, help="the same seed asks the same things")
    options = parser.parse_args(arguments)
    seed = random.randrange(10**6) if options.seed is None else options.seed
    with TemporaryDirectory(prefix="mana-fuzz-") as directory:
        home = Path(directory)
        home.chmod(0o755)
        postgres, valkey = servers.copy_of_golden(home / "postgres"), Valkey(home / "valkey")
        valkey.start()
        try:
            with servers.running(postgres):
                return asyncio.run(fuzz(home, postgres.url(), valkey.url(), options.requests, seed))
        finally:
            valkey.stop()


async def fuzz(home: Path, database_url: str, redis_url: str, requests: int, seed: int) -> int:
    """Play everybody, round after round, until there were so many requests; then say what came of it."""
    began, failed = time.monotonic(), []
    more = {"WEB_PROCESSES": str(WEBS), "FORWARDED_HOPS": "1", "LOG_FORMAT": "json"}
    async with whole_service(database_url, redis_url, home, more) as whole:
        # A connection to a process that still starts waits for it.
        await whole.becomes("SELECT count(*)::int FROM ops.heartbeats WHERE role = 'web'", WEBS)
        everybody = await people(whole)
        files = {one.name: write_configuration(home, whole.url, one) for one in everybody}
        number, examples = 0, FIRST_EXAMPLES
        while True:
            phases = "examples,coverage,fuzzing,stateful" if number == 0 else "fuzzing,stateful"
            for one in everybody:
                command = schemathesis(files[one.name], whole.url, one, phases, examples, seed + number)
                if await asyncio.to_thread(run, command, one):
                    failed.append(f"{one.name}, seed {seed + number}")
            counted = await asyncio.to_thread(count, whole)
            print(f"after round {number + 1}: {counted.total} requests", flush=True)
            if counted.total >= requests:
                break
            number += 1
            asked = sum(len(asked_by(one)) for one in everybody) * REQUESTS_FOR_AN_EXAMPLE
            examples = min(EXAMPLES_MAX, max(FIRST_EXAMPLES, round((requests - counted.total) / asked)))
        lost = whole.front.log.read_text().count('"level": "error"')
    engine = make_engine(database_url, pool_size=1)
    broken = [finding.name for finding in invariants.check(engine) if finding.violation_count]
    engine.dispose()
    return judged(counted, seed, time.monotonic() - began, failed, broken, lost)


def judged(
    counted: Counted, seed: int, seconds: float, failed: Sequence[str], broken: Sequence[str], lost: int
) -> int:
    """Print the figures; 0 when all is well."""
    ours = {status: times for status, times in counted.statuses.items() if status >= "500"}
    print(f"seed {seed}: {counted.total} requests in {seconds:.0f} s to {WEBS} processes")
    print(f"answers: {dict(sorted(counted.statuses.items()))}")
    print(f"answers of 5xx: {ours or 'none'}; defects counted: {counted.defects:.0f}; errors logged: {lost}")
    print(f"checks failed for: {', '.join(failed) or 'none'}; books: {', '.join(broken) or 'add up'}")
    return 1 if failed or counted.defects or ours or lost or broken else 0


async def people(whole: Whole) -> Sequence[Pass]:
    """Those who ask, rich enough to try everything."""
    mint, names = whole.auth.mint, ("fuzz", "stranger", "root")
    for name in names:
        (await whole.grant(name, 10**9)).ok()
    package = {"name": "Pack", "credits": 1_000, "priceEuroCents": 1_000}
    made = await whole.call("POST", "/api/v1/admin/packages", package, headers=whole.admin())
    assert made.status == 201, made.brief
    user, stranger = [mint(name, ttl_seconds=TOKEN_SECONDS) for name in names[:2]]
    return passes(user, stranger, mint("root", role="admin", ttl_seconds=TOKEN_SECONDS), SERVICE_KEY)


def schemathesis(
    configuration: Path, url: str, one: Pass, phases: str, examples: int, seed: int
) -> list[str]:
    """The command of one pass."""
    left_out = [part for name in NOT_ASKED for part in ("--exclude-operation-id", name)]
    return [
        *(str(VENV / "bin" / "st"), "--config-file", str(configuration), "run", f"{url}/openapi.json"),
        *("--include-path-regex", one.routes, *left_out, "--phases", phases),
        *("--max-examples", str(examples), "--seed", str(seed), "--warnings", "off"),
    ]


def run(command: list[str], one: Pass) -> int:
    """Run it with its output shown; its exit code."""
    environment = {
        **os.environ,
        "NO_PROXY": "127.0.0.1",
        "PYTHONPATH": str(ROOT),
        WEBHOOK_SECRET_VARIABLE: WEBHOOK_SECRET,
        CREDENTIALS_VARIABLE: json.dumps(one.headers),
    }
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def count(whole: Whole) -> Counted:
    """Ask the web processes what they counted."""
    counted = Counted(Counter(), 0.0)
    for name, labels, value in fetched(f"{whole.url}/metrics"):
        if name == "mana_http_request_seconds_count":
            counted.statuses[labels["status"]] += int(value)
        if name == "mana_http_defects_total":
            counted.defects += value
    return counted


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
