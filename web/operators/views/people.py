"""People: the search, and everything about one of them on one page."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from domain import operators
from domain.operators.people import SHOWN_MAX, PersonList, list_of
from domain.operators.rows import PAGE_DEFAULT
from web.operators.pages import Visit, moved
from web.operators.words import in_query

TITLES: Final = {
    PersonList.ENTRIES: "Entries",
    PersonList.RESERVATIONS: "Reservations",
    PersonList.GIFTS_MADE: "Gifts made",
    PersonList.GIFTS_RECEIVED: "Gifts redeemed",
}


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
    ceiling = visit.services.settings.ops_adjust_max
    return visit.show("person.html", seen=seen, ceiling=ceiling, shown=SHOWN_MAX)


async def person_list(visit: Visit) -> web.StreamResponse:
    """GET /ops/person/{list}, with the person as `id`: one of their lists, page by page."""
    user_id, offset = visit.asked.needed("id"), visit.asked.offset()
    which = PersonList(visit.request.match_info["list"])
    rows = await visit.read(
        lambda connection, now: list_of(connection, user_id, which, now=now, offset=offset)
    )
    return visit.show(
        "person_list.html",
        user_id=user_id,
        which=which.value,
        title=TITLES[which],
        rows=rows,
        size=PAGE_DEFAULT,
    )
