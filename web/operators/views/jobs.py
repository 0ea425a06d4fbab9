"""Jobs: the list, and one of them with all that is known of it."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from domain import operators
from domain.jobs import JobState
from domain.operators import JobFilter, JobSeen, health
from domain.operators.rows import PAGE_DEFAULT
from web.bodies import path_uuid
from web.operators.pages import Visit
from web.operators.words import in_query

Link = tuple[str, str]
"""A label and an address."""


async def jobs(visit: Visit) -> web.StreamResponse:
    """GET /ops/jobs."""
    asked = visit.asked
    wanted = JobFilter(
        kind=asked.text("kind"),
        state=asked.choice("state", JobState),
        user_id=asked.text("user"),
        subject=asked.text("subject"),
        since=asked.instant("since"),
        until=asked.instant("until"),
        before=asked.uuid("before"),
    )
    found, kinds = await visit.read(
        lambda connection, now: (
            operators.list_jobs(connection, wanted),
            health.kinds_of_jobs(connection, now=now),
        )
    )
    failed_of_kind = sum(kind.failed for kind in kinds if kind.kind == wanted.kind)
    names = sorted({kind.kind for kind in kinds} | ({wanted.kind} if wanted.kind else set()))
    return visit.show(
        "jobs.html",
        jobs=found,
        kinds=kinds,
        names=names,
        states=list(JobState),
        failed_of_kind=failed_of_kind,
        size=PAGE_DEFAULT,
    )


async def job(visit: Visit) -> web.StreamResponse:
    """GET /ops/jobs/{id}."""
    job_id = path_uuid(visit.request, "id")
    seen = await visit.read(lambda connection, _now: operators.job_seen(connection, job_id))
    return visit.show("job.html", seen=seen, links=links_of(seen))


def links_of(seen: JobSeen) -> list[Link]:
    """What the job touched, as far as its payload, subject and result name it."""
    own = seen.job
    links: dict[str, str] = {}
    if own.user_id is not None:
        links[f"/ops/person?id={in_query(own.user_id)}"] = "Person"
    for facts in (own.payload, own.result):
        if isinstance(facts, dict):
            for name, value in facts.items():
                links.update(_link(name, value))
    if own.subject is not None:
        known = next((url for url in links if in_query(own.subject) in url), None)
        if known is None:
            links.update(_by_look(own.subject))
        links[f"/ops/jobs?subject={in_query(own.subject)}"] = "Jobs of the same thing"
    return [(label, url) for url, label in links.items()]


def _link(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, str) or not value:
        return {}
    match name.replace("_", "").lower():
        case "userid" | "creatorid" | "redeemerid":
            return {f"/ops/person?id={in_query(value)}": "Person"}
        case "purchaseid":
            return {f"/ops/purchases/{in_query(value)}": "Purchase"}
        case "eventid":
            return {f"/ops/events/one?id={in_query(value)}": "Stripe event"}
        case "giftid" | "reservationid" | "entryid" | "transactionid":
            return {
                f"/ops/people?q={in_query(value)}": f"Whose {name.removesuffix('_id').removesuffix('Id')}"
            }
        case _:
            return {}


def _by_look(subject: str) -> dict[str, str]:
    if subject.startswith("evt_"):
        return {f"/ops/events/one?id={in_query(subject)}": "Stripe event"}
    return {f"/ops/people?q={in_query(subject)}": "Whose it is"}
