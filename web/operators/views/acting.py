"""Doing something: what it would change and a reason first, then it is done, audited, and told."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from aiohttp import web
from sqlalchemy import Connection

from domain.errors import Refusal
from domain.operators import acting
from domain.operators.acting import Command
from web.errors import wrong_of_refusal
from web.operators.asked import Asked
from web.operators.doing import DOINGS, Doing, is_typed_again
from web.operators.pages import Visit


async def ask(visit: Visit) -> web.StreamResponse:
    """GET /ops/do/{action}: what would happen.  Nothing does."""
    visit.signed_in.check_may_act()
    return await _confirm(visit, _doing(visit), visit.asked)


async def do(visit: Visit) -> web.StreamResponse:
    """POST /ops/do/{action}: do it."""
    doing, form = _doing(visit), visit.form
    if not is_typed_again(doing, form):
        problem = "What you typed is not the id above. Nothing was done."
        return await _confirm(visit, doing, form, problem=problem)
    command = doing.command_of(form, visit.services.settings)
    by, reason = visit.signed_in.operator, form.text("reason") or ""
    try:
        done = await visit.read(
            lambda connection, now: acting.perform(connection, command, by=by, reason=reason, now=now)
        )
    except Refusal as refusal:
        problem = f"{wrong_of_refusal(refusal).message}. Nothing was done."
        return await _confirm(visit, doing, form, problem=problem)
    return visit.go(doing.back(form), f"Done: {done.outcome}")


async def _confirm(
    visit: Visit, doing: Doing, asked: Asked, *, problem: str | None = None
) -> web.StreamResponse:
    command = doing.command_of(asked, visit.services.settings)
    seen = await visit.read(lambda connection, now: _preview(connection, visit, doing, command, now))
    fields: dict[str, Any] = {name: asked.text(name) for name in doing.fields}
    if "key" in fields:
        # Two clicks, or a page sent again, adjust once.
        fields["key"] = fields["key"] or secrets.token_urlsafe(12)
    return visit.show(
        "confirm.html",
        status=200 if problem is None else 400,
        doing=doing,
        action=visit.request.match_info["action"],
        seen=seen,
        fields={name: value for name, value in fields.items() if value is not None},
        back=doing.back(asked),
        reason=asked.text("reason") or "",
        problem=problem,
    )


def _preview(
    connection: Connection, visit: Visit, doing: Doing, command: Command, now: datetime
) -> acting.Preview:
    if doing.would is None:
        return acting.preview(connection, command, by=visit.signed_in.operator, now=now)
    facts = command.look(connection, now)
    return acting.Preview(action=command.action, outcome=doing.would(facts), before=facts, after=facts)


def _doing(visit: Visit) -> Doing:
    doing = DOINGS.get(visit.request.match_info["action"])
    if doing is None:
        raise web.HTTPNotFound
    return doing
