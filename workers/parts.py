"""What handlers need beside their arguments: the outside world's doors, made once in a process."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine

from domain.settings import Settings


@dataclass(frozen=True)
class Parts:
    """Given to every module of workers/actors.  Doors to the outside (payments, notifier) join here."""

    settings: Settings
    engine: Engine
