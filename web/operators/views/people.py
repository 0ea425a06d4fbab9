"""People: the search, and everything about one of them on one page."""

from __future__ import annotations

from aiohttp import web

from domain import operators
from web.operators.pages import Visit, moved
from web.operators.words import in_query


async def people(visit: Visit) -> web.StreamResponse:
    """GET /ops/people?q=…: who a key leads to; straight there when it is one person."""
    key = visit.asked.text("q")
    found = [] if key is None else await visit.read(lambda connection, _now: operators.find(connection, key))
    if len({one.user_id for one in found}) == 1:
        return moved(f"/ops/person?id={in_query(found[0].user_id)}")
    return visit.show("people.html", key=key, found=found)


async def person(visit: Visit) -> web.StreamResponse:
    """GET /ops/person, with the person as `id`."""
    user_id = visit.asked.needed("id")
    seen = await visit.read(lambda connection, now: operators.person(connection, user_id, now=now))
    return visit.show("person.html", seen=seen, ceiling=visit.services.settings.ops_adjust_max)
