"""What each client asked, and what it was told: all that is known when the run is over."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any


class Told(StrEnum):
    """What a client knows of an operation at the end."""

    OK = "ok"
    ACCEPTED = "accepted"
    """202: it will be done; a job's row says how it ended."""
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass
class Record:
    """One operation.  `name` is its own, and stands in the database wherever it had an effect.

    `began` and `ended` are seconds of the rig's clock: before the first byte was sent, after the last answer
    was read.  What is unknown may take effect at any time after `began`.
    """

    name: str
    kind: str
    user_id: str
    began: float
    asked: dict[str, Any]
    key: str | None = None
    ended: float = 0.0
    told: Told = Told.UNKNOWN
    status: int = 0
    answer: Any = None
    tries: list[str] = field(default_factory=list)
    via: str = ""

    @property
    def may_be_there(self) -> bool:
        return self.told is not Told.REFUSED

    @property
    def must_be_there(self) -> bool:
        return self.told is Told.OK


@dataclass
class Records:
    """All of them, with what no client may ever be told."""

    all: list[Record] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)
    """Answers that are wrong whatever happened: 500, or a refusal that the request cannot deserve."""
    statuses: Counter[str] = field(default_factory=Counter)

    def begin(self, record: Record) -> None:
        """Keep an operation that begins."""
        self.all.append(record)

    def end(self, record: Record) -> None:
        """An operation ended."""

    def of(self, *kinds: str) -> list[Record]:
        return [record for record in self.all if record.kind in kinds]

    def told(self) -> dict[str, Counter[str]]:
        """How many of each kind were told what."""
        found: dict[str, Counter[str]] = {}
        for record in self.all:
            found.setdefault(record.kind, Counter())[record.told.value] += 1
        return dict(sorted(found.items()))

    def write(self, path: Path) -> None:
        """Keep them, a line each."""
        with path.open("w") as file:
            for record in self.all:
                print(json.dumps(asdict(record), default=_plain), file=file)


def _plain(value: object) -> object:
    return float(value) if isinstance(value, Decimal) else str(value)
