"""The operators' pages, under /ops.  They are for people: programs have the same under /api/v1/admin."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from domain.operators.people import PersonList
from web.frame import Frame
from web.operators import assets, render
from web.operators.pages import AnyHandler, open_page, page
from web.operators.speed import sampling
from web.operators.views import acting, books, jobs, overview, payments, people, queues, signing, webhooks
from web.operators.views.overview import Overviews, overviews_key

PREFIX: Final = "/ops"

ID: Final = "{id:[0-9a-fA-F-]{32,36}}"

LIST: Final = f"{{list:{'|'.join(PersonList)}}}"

PAGES: Final[tuple[tuple[str, str, AnyHandler], ...]] = (
    ("GET", "/sign-in", open_page(signing.form)),
    ("POST", "/sign-in", open_page(signing.sign_in)),
    ("POST", "/sign-out", page(signing.sign_out, viewers_may_post=True)),
    ("GET", "", page(overview.overview)),
    ("GET", "/jobs", page(jobs.jobs)),
    ("GET", f"/jobs/{ID}", page(jobs.job)),
    ("GET", "/queues", page(queues.queues)),
    ("GET", "/queues/letter", page(queues.letter)),
    ("POST", "/queues/letter", page(queues.handle_letter)),
    ("GET", "/purchases", page(payments.purchases)),
    ("GET", f"/purchases/{ID}", page(payments.purchase)),
    ("GET", "/events", page(payments.events)),
    ("GET", "/events/one", page(payments.event)),
    ("GET", "/people", page(people.people)),
    ("GET", "/person", page(people.person)),
    ("GET", f"/person/{LIST}", page(people.person_list)),
    ("GET", "/subscriptions", page(books.subscriptions)),
    ("GET", "/webhooks", page(webhooks.endpoints)),
    ("GET", f"/webhooks/{ID}", page(webhooks.endpoint)),
    ("GET", f"/webhooks/deliveries/{ID}", page(webhooks.delivery)),
    ("GET", "/ledger", page(books.ledger)),
    ("GET", "/audit", page(books.audit)),
    ("POST", "/export", page(books.export, viewers_may_post=True)),
    ("GET", "/do/{action}", page(acting.ask)),
    ("POST", "/do/{action}", page(acting.do)),
)
"""Whose post changes something is refused to viewers; an export changes nothing."""


def add_pages(app: web.Application, frame: Frame) -> None:
    """Make the application serve the pages, which no other origin's page may read."""
    app[overviews_key] = Overviews()
    for method, path, handler in (("GET", "/static/{name}", assets.serve), *PAGES):
        route = PREFIX + path
        add = app.router.add_get if method == "GET" else app.router.add_post
        add(route, frame.around(handler, route, is_shared=False))
    app.cleanup_ctx.append(sampling)
    app.cleanup_ctx.append(render.compiling)
