"""What is sent, and what came back: the words that every load generator here understands."""

from __future__ import annotations

import msgspec


class Prepared(msgspec.Struct, kw_only=True):
    """One request of its own: headers beside the plan's, and a body."""

    headers: dict[str, str]
    body: str


class Plan(msgspec.Struct, kw_only=True):
    """What to send.  `body` may hold `{user}` and `{key}` (never twice the same).

    Users are `users` of them: `user-N` for N from `first_user` on, every `user_step`-th.
    `rate` requests a second are sent evenly over the connections, or as many as are answered when it is 0.
    `prepared` are sent instead, each once and in order; the plan ends when there are no more.
    `tells_headers`: count statuses and `Retry-After` one by one, which costs the generator some.
    """

    port: int
    method: str
    path: str
    headers: dict[str, str]
    body: str = ""
    connections: int
    seconds: float
    users: int = 1
    first_user: int = 0
    user_step: int = 1
    rate: float = 0
    prepared: list[Prepared] = []
    tells_headers: bool = False


class Report(msgspec.Struct, kw_only=True):
    """What came back.  Latencies in milliseconds; `cpu_seconds` of the generator itself.

    `sent` may exceed the answers by what was under way at the end.  `retry_after` counts answers with that
    header; `p99_of` has the latency of each status; `late` is the part of paced requests that found no free
    connection when they were due.  Those three are known where the generator tells them.
    """

    generator: str
    seconds: float
    sent: int
    statuses: dict[str, int]
    per_second: float
    p50: float
    p99: float
    worst: float
    cpu_seconds: float
    retry_after: int = 0
    p99_of: dict[str, float] = {}
    late: float = 0.0

    @property
    def ok(self) -> int:
        """How many answers were 200."""
        return self.statuses.get("200", 0)

    @property
    def answered(self) -> int:
        """How many answers there were."""
        return sum(count for status, count in self.statuses.items() if status != "lost")
