"""Every kind of job that workers do, by the room it comes from.

Adding a kind: its class stands in the room that owns the work; its handler is one line in a module here.
"""

from __future__ import annotations

from domain.jobs import Handler
from workers.actors import credits as credit_actors
from workers.actors import gifts, notices, operators, payments, sync, upkeep
from workers.parts import Parts


def all_handlers(parts: Parts) -> list[Handler]:
    """One handler for each kind."""
    rooms = (credit_actors, gifts, payments, sync, notices, operators, upkeep)
    return [handler for room in rooms for handler in room.handlers(parts)]
