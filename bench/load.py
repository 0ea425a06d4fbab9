"""The project's own load generator: a process of its own (`python -m bench.load`), so that it is measured apart.

It speaks HTTP/1.1 with keep-alive over plain sockets and reads answers as simply as it can: on two cores
what it takes is taken from the service.  SIGINT ends it early; it reports what it has.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import time
from typing import Any

import msgspec
import uvloop

from bench.plan import Plan, Report

NAME = "own (Python)"


class _Connection(asyncio.Protocol):
    """One request at a time on one connection."""

    def __init__(self, generator: _Generator) -> None:
        self._generator = generator
        self._buffer = b""
        self._sent_at = 0.0
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def begin(self) -> None:
        """Send the first request."""
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lowered = head.lower()
        length_at = lowered.find(b"content-length: ")
        length = int(head[length_at + 16 :].split(b"\r\n", 1)[0]) if length_at >= 0 else 0
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        has_retry_after = b"\r\nretry-after: " in lowered
        self._generator.answered(head[9:12].decode(), time.perf_counter() - self._sent_at, has_retry_after)
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
        if self._generator.is_over():
            self._transport.close()
            return
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
        self._latencies: dict[str, list[float]] = {}
        self._lost = 0
        self._retry_after = 0
        self._open = 0
        self._done = asyncio.Event()
        self._start = self._end = 0.0

    async def run(self) -> Report:
        plan, loop = self._plan, asyncio.get_running_loop()
        # All are connected before the first one sends: thousands of connections shall come as one crowd.
        self._open = plan.connections
        connections = [
            (await loop.create_connection(lambda: _Connection(self), "127.0.0.1", plan.port))[1]
            for _ in range(plan.connections)
        ]
        self._start = time.perf_counter()
        self._end = self._start + plan.seconds
        loop.add_signal_handler(signal.SIGINT, self._end_now)
        cpu = time.process_time()
        for connection in connections:
            connection.begin()
        await self._done.wait()
        return self._report(time.perf_counter() - self._start, time.process_time() - cpu)

    def _report(self, seconds: float, cpu_seconds: float) -> Report:
        ordered = sorted(latency for each in self._latencies.values() for latency in each)
        statuses = {status: len(each) for status, each in self._latencies.items()}
        if self._lost:
            statuses["lost"] = self._lost
        return Report(
            generator=NAME,
            seconds=seconds,
            sent=self._count,
            statuses=statuses,
            per_second=len(ordered) / seconds,
            p50=percentile(ordered, 0.5) * 1e3,
            p99=percentile(ordered, 0.99) * 1e3,
            worst=percentile(ordered, 1) * 1e3,
            cpu_seconds=cpu_seconds,
            retry_after=self._retry_after,
            p99_of={status: percentile(sorted(each), 0.99) * 1e3 for status, each in self._latencies.items()},
        )

    def _end_now(self) -> None:
        self._end = time.perf_counter()

    def is_over(self) -> bool:
        """Whether nothing more is to be sent."""
        prepared = self._plan.prepared
        return time.perf_counter() >= self._end or bool(prepared and self._count >= len(prepared))

    def next_at(self) -> float | None:
        if self.is_over():
            return None
        if not self._plan.rate:
            return time.perf_counter()
        at = self._start + self._due / self._plan.rate
        self._due += 1
        return at if at < self._end else None

    def request(self) -> bytes:
        plan = self._plan
        self._count += 1
        if plan.prepared:
            prepared = plan.prepared[self._count - 1]
            headers = "".join(f"{name}: {value}\r\n" for name, value in prepared.headers.items())
            body = prepared.body
            return f"{self._head}{headers}Content-Length: {len(body.encode())}\r\n\r\n{body}".encode()
        user = f"user-{plan.first_user + random.randrange(plan.users) * plan.user_step}"
        body = plan.body.replace("{user}", user).replace("{key}", f"{self._run:x}-{self._count}")
        return f"{self._head}Content-Length: {len(body)}\r\n\r\n{body}".encode()

    def answered(self, status: str, seconds: float, has_retry_after: bool) -> None:
        self._latencies.setdefault(status, []).append(seconds)
        self._retry_after += has_retry_after

    def lost(self, error: Exception | None) -> None:
        self._lost += error is not None
        self._open -= 1
        if self._open == 0:
            self._done.set()


def percentile(ordered: list[float], part: float) -> float:
    """The value that `part` of the ordered values do not exceed; 0 of none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0.0


def main() -> None:
    """Read a plan from standard input, send it, write the report."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    print(msgspec.json.encode(uvloop.run(_run(plan))).decode())


async def _run(plan: Plan) -> Report:
    return await _Generator(plan).run()


if __name__ == "__main__":
    main()
