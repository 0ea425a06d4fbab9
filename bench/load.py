"""The load generator: a process of its own (`python -m bench.load`), so that it is measured apart.

It speaks HTTP/1.1 with keep-alive over plain sockets and reads answers as simply as it can: on two cores
what it takes is taken from the service.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from typing import Any

import msgspec
import uvloop

from devkit.paths import ROOT


class Plan(msgspec.Struct, kw_only=True):
    """What to send.  `body` may hold `{user}` (one of `users`) and `{key}` (never twice the same).

    `rate` requests a second are sent evenly over the connections, or as many as are answered when it is 0.
    """

    port: int
    method: str
    path: str
    headers: dict[str, str]
    body: str = ""
    connections: int
    seconds: float
    users: int = 1
    rate: float = 0


class Report(msgspec.Struct, kw_only=True):
    """What came back.  Latencies in milliseconds; `cpu_seconds` of the generator itself."""

    seconds: float
    statuses: dict[str, int]
    per_second: float
    p50: float
    p99: float
    worst: float
    cpu_seconds: float

    @property
    def ok(self) -> int:
        """How many answers were 200."""
        return self.statuses.get("200", 0)


class _Connection(asyncio.Protocol):
    """One request at a time on one connection."""

    def __init__(self, generator: _Generator) -> None:
        self._generator = generator
        self._buffer = b""
        self._sent_at = 0.0
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length_at = head.lower().find(b"content-length: ")
        length = int(head[length_at + 16 :].split(b"\r\n", 1)[0]) if length_at >= 0 else 0
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        self._generator.answered(head[9:12].decode(), time.perf_counter() - self._sent_at)
        self._next()

    def _next(self) -> None:
        at = self._generator.next_at()
        if at is None:
            self._transport.close()
            return
        now = time.perf_counter()
        if at > now:
            asyncio.get_running_loop().call_later(at - now, self._send, at)
        else:
            self._send(at)

    def _send(self, at: float) -> None:
        # Late requests count from when they were due: a stalled service is not spared (coordinated omission).
        self._sent_at = at
        self._transport.write(self._generator.request())

    def connection_lost(self, exc: Exception | None) -> None:
        self._generator.lost(exc)


class _Generator:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        headers = "".join(f"{name}: {value}\r\n" for name, value in plan.headers.items())
        self._head = f"{plan.method} {plan.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}"
        self._run = random.getrandbits(48)
        self._count = 0
        self._due = 0
        self.latencies: list[float] = []
        self.statuses: dict[str, int] = {}
        self.open = 0
        self.done = asyncio.Event()
        self._start = self._end = 0.0

    async def run(self) -> Report:
        plan, loop = self._plan, asyncio.get_running_loop()
        self._start = time.perf_counter()
        self._end = self._start + plan.seconds
        cpu = time.process_time()
        self.open = plan.connections
        for _ in range(plan.connections):
            await loop.create_connection(lambda: _Connection(self), "127.0.0.1", plan.port)
        await self.done.wait()
        seconds = time.perf_counter() - self._start
        ordered = sorted(self.latencies) or [0.0]
        return Report(
            seconds=seconds,
            statuses=self.statuses,
            per_second=len(self.latencies) / seconds,
            p50=ordered[len(ordered) // 2] * 1e3,
            p99=ordered[int(len(ordered) * 0.99)] * 1e3,
            worst=ordered[-1] * 1e3,
            cpu_seconds=time.process_time() - cpu,
        )

    def next_at(self) -> float | None:
        now = time.perf_counter()
        if not self._plan.rate:
            return now if now < self._end else None
        at = self._start + self._due / self._plan.rate
        self._due += 1
        return at if at < self._end else None

    def request(self) -> bytes:
        self._count += 1
        user = f"user-{random.randrange(self._plan.users)}"
        body = self._plan.body.replace("{user}", user).replace("{key}", f"{self._run:x}-{self._count}")
        return f"{self._head}Content-Length: {len(body)}\r\n\r\n{body}".encode()

    def answered(self, status: str, seconds: float) -> None:
        self.latencies.append(seconds)
        self.statuses[status] = self.statuses.get(status, 0) + 1

    def lost(self, error: Exception | None) -> None:
        if error is not None:
            self.statuses["lost"] = self.statuses.get("lost", 0) + 1
        self.open -= 1
        if self.open == 0:
            self.done.set()


def load(plan: Plan) -> Report:
    """Send the plan from a process of its own."""
    ran = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        cwd=ROOT,
        input=msgspec.json.encode(plan),
        stdout=subprocess.PIPE,
        check=True,
        timeout=plan.seconds + 60,
    )
    return msgspec.json.decode(ran.stdout, type=Report)


def main() -> None:
    """Read a plan from standard input, send it, write the report."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    report = uvloop.run(_run(plan))
    print(json.dumps(msgspec.to_builtins(report)))


async def _run(plan: Plan) -> Report:
    return await _Generator(plan).run()


if __name__ == "__main__":
    main()
