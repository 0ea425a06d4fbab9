"""What operators may do from the pages: for each action its words, its command, and where one goes on to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from domain.operators.acting import Command, Facts
from domain.operators.adjusting import AdjustCredits, Direction
from domain.operators.commands import (
    RETRIED_PER_CALL_MAX,
    AskStripe,
    CancelJob,
    GiftSync,
    ReplayEvent,
    RetryFailedJobs,
    RetryJob,
    RevokeSync,
    RunBilling,
    RunLedgerCheck,
)
from domain.operators.erasing import ErasePerson
from domain.operators.webhook_commands import (
    EnableWebhook,
    PauseWebhook,
    RedeliverFailedWebhooks,
    RedeliverWebhook,
    TestWebhook,
)
from domain.settings import Settings
from domain.webhooks.redelivering import REDELIVERED_PER_CALL_MAX
from web.bodies import bad_field
from web.operators.asked import Asked
from web.operators.words import in_query

CommandOf = Callable[[Asked, Settings], Command]


@dataclass(frozen=True)
class Doing:
    """One action: `fields` are what its command is made of, `says` what it means, in a sentence or two.

    `typed` names the field that has to be typed again before something that cannot be undone.
    """

    title: str
    button: str
    says: str
    fields: tuple[str, ...]
    command_of: CommandOf
    back: Callable[[Asked], str]
    is_dangerous: bool = False
    typed: str | None = None
    would: Callable[[Facts], str] | None = None
    """What would come of it, from what is the case alone: for what takes long to try out and take back."""


def person_url(asked: Asked) -> str:
    """The page of the person that an action is about."""
    return f"/ops/person?id={in_query(asked.needed('user'))}"


def _adjust(asked: Asked, settings: Settings) -> Command:
    direction = asked.choice("direction", Direction) or Direction.GRANT
    return AdjustCredits(
        user_id=asked.needed("user"),
        direction=direction,
        amount=asked.amount("amount"),
        key=asked.text("key") or "preview",
        ceiling=settings.ops_adjust_max,
        may_overdraw=asked.is_ticked("may_overdraw"),
    )


def _job_url(asked: Asked) -> str:
    return f"/ops/jobs/{asked.needed_uuid('job')}"


def _event_url(asked: Asked) -> str:
    return f"/ops/events/one?id={in_query(asked.needed('event'))}"


def endpoint_url(asked: Asked) -> str:
    """The page of the endpoint that an action is about."""
    return f"/ops/webhooks/{asked.needed_uuid('endpoint')}"


def _redeliver_failed(asked: Asked, _settings: Settings) -> Command:
    since = asked.instant("since")
    if since is None:
        raise bad_field("since", "is missing")
    return RedeliverFailedWebhooks(endpoint_id=asked.needed_uuid("endpoint"), since=since)


DOINGS: Final[dict[str, Doing]] = {
    "retry_job": Doing(
        "Let this job run again?",
        "Run it again",
        "It waits again, with its whole horizon. What it did before is not done twice.",
        ("job",),
        lambda asked, _: RetryJob(job_id=asked.needed_uuid("job")),
        _job_url,
    ),
    "cancel_job": Doing(
        "Cancel this job?",
        "Cancel the job",
        "It ends without being worked on; it can be let run again later.",
        ("job",),
        lambda asked, _: CancelJob(job_id=asked.needed_uuid("job")),
        _job_url,
        is_dangerous=True,
    ),
    "retry_failed_jobs": Doing(
        "Let all failed jobs of this kind run again?",
        "Run them all again",
        "The oldest thousand at most; what is left can be let run afterwards.",
        ("kind",),
        lambda asked, _: RetryFailedJobs(kind=asked.needed("kind")),
        lambda asked: f"/ops/jobs?kind={in_query(asked.needed('kind'))}",
        would=lambda facts: f"{min(facts['failed'], RETRIED_PER_CALL_MAX)} failed jobs would run again",
    ),
    "replay_event": Doing(
        "Handle this Stripe event again?",
        "Replay it",
        "What it does follows from the purchase's state, so that nothing is credited twice.",
        ("event",),
        lambda asked, _: ReplayEvent(event_id=asked.needed("event")),
        _event_url,
    ),
    "ask_stripe": Doing(
        "Ask Stripe now what became of this purchase?",
        "Ask Stripe",
        "A job asks, and does what follows: fulfils, cancels, or lets it wait on.",
        ("purchase",),
        lambda asked, _: AskStripe(purchase_id=asked.needed_uuid("purchase")),
        lambda asked: f"/ops/purchases/{asked.needed_uuid('purchase')}",
    ),
    "adjust_credits": Doing(
        "Adjust this person's credits?",
        "Adjust the credits",
        "One entry through the ledger's door. The person sees that support did it, not why.",
        ("user", "direction", "amount", "may_overdraw", "key"),
        _adjust,
        person_url,
    ),
    "gift_sync": Doing(
        "Give this person sync for nothing?",
        "Gift sync",
        "Until it is revoked. What was left of a paid period is kept for then.",
        ("user",),
        lambda asked, _: GiftSync(user_id=asked.needed("user")),
        person_url,
    ),
    "revoke_sync": Doing(
        "Take the gift of sync back?",
        "Revoke the gift",
        "What was left of a paid period goes on.",
        ("user",),
        lambda asked, _: RevokeSync(user_id=asked.needed("user")),
        person_url,
        is_dangerous=True,
    ),
    "erase_person": Doing(
        "Erase this person's data?",
        "Erase for good",
        "Texts, addresses, usage and the mapping to Stripe go; open reservations and active gifts are closed "
        "first. The ledger's amounts stay under a pseudonym. It cannot be undone.",
        ("user",),
        lambda asked, _: ErasePerson(user_id=asked.needed("user")),
        lambda _: "/ops/people",
        is_dangerous=True,
        typed="user",
    ),
    "test_webhook": Doing(
        "Send this endpoint a test?",
        "Send a test",
        "An event webhook.test, which concerns nobody, signed like every other.",
        ("endpoint",),
        lambda asked, _: TestWebhook(endpoint_id=asked.needed_uuid("endpoint")),
        endpoint_url,
    ),
    "pause_webhook": Doing(
        "Pause this endpoint?",
        "Pause it",
        "What waits goes on waiting; what happens meanwhile the app is not told of.",
        ("endpoint",),
        lambda asked, _: PauseWebhook(endpoint_id=asked.needed_uuid("endpoint")),
        endpoint_url,
        is_dangerous=True,
    ),
    "enable_webhook": Doing(
        "Send this endpoint events again?",
        "Enable it",
        "What waits is sent at once, each person's in their order, and tried for another three days.",
        ("endpoint",),
        lambda asked, _: EnableWebhook(endpoint_id=asked.needed_uuid("endpoint")),
        endpoint_url,
    ),
    "redeliver_webhook": Doing(
        "Send this delivery again?",
        "Send it again",
        "Under the same id, before what waits for this person. An app that keeps to the id does nothing twice.",
        ("delivery",),
        lambda asked, _: RedeliverWebhook(delivery_id=asked.needed_uuid("delivery")),
        lambda asked: f"/ops/webhooks/deliveries/{asked.needed_uuid('delivery')}",
    ),
    "redeliver_failed_webhooks": Doing(
        "Send all that was given up again?",
        "Send them all again",
        "The oldest thousand at most, each person's in their order; what is left can be sent afterwards.",
        ("endpoint", "since"),
        _redeliver_failed,
        endpoint_url,
        would=lambda facts: (
            f"{min(facts['failed'], REDELIVERED_PER_CALL_MAX)} deliveries would be sent again"
        ),
    ),
    "run_billing": Doing(
        "Run billing now?",
        "Run billing",
        "Everybody who is due is charged, or paused when short of credits; each period once, however many runs.",
        (),
        lambda _asked, _: RunBilling(),
        lambda _: "/ops/subscriptions",
    ),
    "check_ledger": Doing(
        "Check the ledger now?",
        "Check the ledger",
        "Every fact is looked at in a snapshot; it changes nothing, and takes seconds.",
        (),
        lambda _asked, _: RunLedgerCheck(),
        lambda _: "/ops/ledger",
    ),
}
"""The actions, by the last part of their address: /ops/do/{action}."""


def is_typed_again(doing: Doing, form: Asked) -> bool:
    """Whether what has to be typed again was."""
    return doing.typed is None or form.text("typed") == form.needed(doing.typed)
