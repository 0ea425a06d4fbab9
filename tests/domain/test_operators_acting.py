"""What operators do: previewed by doing it and taking it back, audited when and only when it happened."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from uuid import UUID, uuid4

import msgspec
import pytest
from sqlalchemy import Engine, text

from domain import operators
from domain.database import transaction
from domain.errors import (
    AdjustmentTooLarge,
    BalanceNotFound,
    IdempotencyKeyReused,
    InsufficientCredits,
    JobNotInState,
    NotPermitted,
    PurchaseSettled,
    ReasonMissing,
    Refusal,
    StripeEventNotFound,
    SyncNotGifted,
)
from domain.nudge import take_added
from domain.operators import Action, AuditFilter, AuditRecord
from domain.operators.acting import Command, Done, Preview, perform, preview
from domain.operators.adjusting import AdjustCredits, Direction
from domain.operators.commands import (
    AskStripe,
    CancelJob,
    GiftSync,
    RebuildUsage,
    ReplayEvent,
    RetryFailedJobs,
    RetryJob,
    RevokeSync,
    RunBilling,
    RunLedgerCheck,
)
from domain.operators.erasing import ErasePerson
from domain.settings import read_settings
from tests.support.jobs import run_waiting
from tests.support.ledger import balance, entries, scalar
from tests.support.world import NOW, OPERATOR, VIEWER, WHY, World, job_in_state, make_world
from workers.actors import all_handlers
from workers.parts import Parts

CEILING = 100


@pytest.fixture
def world(engine: Engine) -> World:
    return make_world(engine)


def do(world: World, command: Command, *, by: operators.Operator = OPERATOR, reason: str = WHY) -> Done:
    with transaction(world.engine) as connection:
        return perform(connection, command, by=by, reason=reason, now=NOW)


def look(world: World, command: Command) -> Preview:
    with transaction(world.engine) as connection:
        return preview(connection, command, by=VIEWER, now=NOW)


def audited(world: World, *, action: str | None = None) -> list[AuditRecord]:
    with transaction(world.engine) as connection:
        return operators.list_audit(connection, AuditFilter(action=action))


def adjust(amount: str, direction: Direction = Direction.GRANT, **changes: object) -> AdjustCredits:
    facts = {"user_id": "anna", "key": "k1", "ceiling": CEILING, **changes}
    return AdjustCredits(direction=direction, amount=Decimal(amount), **facts)  # type: ignore[arg-type]


def everything(engine: Engine) -> str:
    """A digest of all that may not change in a preview."""
    tables = (
        "credits.balances",
        "credits.transactions",
        "ops.jobs",
        "ops.audit",
        "credits.sync_subscriptions",
    )
    return " ".join(scalar(engine, f"SELECT md5(coalesce(string_agg(t::text, ' ' ORDER BY t::text), '')) FROM {t} t")
                    for t in tables)  # fmt: skip


COMMANDS: dict[Action, Callable[[World], Command]] = {
    Action.RETRY_JOB: lambda world: RetryJob(job_id=world.failed_id),
    Action.CANCEL_JOB: lambda world: CancelJob(job_id=world.waiting_id),
    Action.RETRY_FAILED_JOBS: lambda _world: RetryFailedJobs(kind="test_chore"),
    Action.REPLAY_EVENT: lambda _world: ReplayEvent(event_id="evt_world"),
    Action.ADJUST_CREDITS: lambda _world: adjust("10"),
    Action.GIFT_SYNC: lambda _world: GiftSync(user_id="carla"),
    Action.REVOKE_SYNC: lambda _world: RevokeSync(user_id="ben"),
    Action.ERASE_PERSON: lambda _world: ErasePerson(user_id="anna"),
    Action.RUN_BILLING: lambda _world: RunBilling(),
    Action.CHECK_LEDGER: lambda _world: RunLedgerCheck(),
    Action.REBUILD_USAGE: lambda _world: RebuildUsage(),
}


@pytest.mark.parametrize("action", COMMANDS)
def test_what_is_done_is_audited_with_who_when_what_and_why(world: World, action: Action) -> None:
    done = do(world, COMMANDS[action](world), reason="  ticket 4711  ")
    [record] = audited(world, action=action.value)
    assert (record.id, record.actor, record.at, record.reason) == (done.audit_id, "login:otto", NOW, WHY)
    assert record.outcome == done.outcome


@pytest.mark.parametrize("action", COMMANDS)
def test_a_viewer_may_not_and_nobody_may_without_a_reason_and_nothing_is_written(
    world: World, action: Action
) -> None:
    before = everything(world.engine)
    with pytest.raises(NotPermitted):
        do(world, COMMANDS[action](world), by=VIEWER)
    for reason in ("", "   ", "\x00"):
        with pytest.raises(ReasonMissing):
            do(world, COMMANDS[action](world), reason=reason)
    assert everything(world.engine) == before


@pytest.mark.parametrize("action", COMMANDS)
def test_a_preview_says_what_is_done_then_and_leaves_nothing_behind(world: World, action: Action) -> None:
    before = everything(world.engine)
    with transaction(world.engine) as connection:
        seen = preview(connection, COMMANDS[action](world), by=VIEWER, now=NOW)
        assert take_added(connection) == []
    assert everything(world.engine) == before
    assert seen.refused is None
    assert do(world, COMMANDS[action](world)).outcome == seen.outcome


REFUSED: list[tuple[Callable[[World], Command], type[Refusal]]] = [
    (lambda world: CancelJob(job_id=world.failed_id), JobNotInState),
    (lambda _world: ReplayEvent(event_id="evt_none"), StripeEventNotFound),
    (lambda world: AskStripe(purchase_id=world.purchase_id), PurchaseSettled),
    (lambda _world: RevokeSync(user_id="carla"), SyncNotGifted),
    (lambda _world: adjust("10", user_id="nobody"), BalanceNotFound),
    (lambda _world: adjust("100.001"), AdjustmentTooLarge),
    (lambda _world: adjust("51", Direction.TAKE_BACK, user_id="ben"), InsufficientCredits),
]


@pytest.mark.parametrize(("command", "refusal"), REFUSED)
def test_what_is_refused_is_not_audited_and_its_preview_says_why(
    world: World, command: Callable[[World], Command], refusal: type[Refusal]
) -> None:
    before = everything(world.engine)
    with pytest.raises(refusal):
        do(world, command(world))
    if refusal not in (StripeEventNotFound, BalanceNotFound):  # then there is nothing to look at
        assert look(world, command(world)).refused == refusal.code
    assert everything(world.engine) == before


def test_an_adjustment_is_one_entry_and_its_preview_shows_the_balance_before_and_after(world: World) -> None:
    before = balance(world.engine, "ben")
    seen = look(world, adjust("12.5", user_id="ben"))
    done = do(world, adjust("12.5", user_id="ben"))
    after = balance(world.engine, "ben")
    assert (seen.before["balance"], seen.after["balance"]) == (before.balance, after.balance)
    assert after.balance == before.balance + Decimal("12.5")
    assert after.total_earned == before.total_earned + Decimal("12.5")
    assert entries(world.engine, "ben")[0].id == done.facts["entryId"]


def test_taking_back_ends_at_zero_unless_said(world: World) -> None:
    do(world, adjust("50", Direction.TAKE_BACK, user_id="ben", key="all"))
    assert balance(world.engine, "ben").balance == 0
    with pytest.raises(InsufficientCredits):
        do(world, adjust("1", Direction.TAKE_BACK, user_id="ben", key="more"))
    do(world, adjust("1", Direction.TAKE_BACK, user_id="ben", key="more", may_overdraw=True))
    assert balance(world.engine, "ben").balance == -1


def test_the_ceiling_itself_is_allowed_both_ways(world: World) -> None:
    do(world, adjust("100", key="up"))
    do(world, adjust("100", Direction.TAKE_BACK, key="down"))
    with pytest.raises(AdjustmentTooLarge):
        do(world, adjust("100.001", Direction.TAKE_BACK, key="over"))


def test_an_adjustment_repeated_with_its_key_takes_effect_once_and_is_audited_once(world: World) -> None:
    first, again = do(world, adjust("10")), do(world, adjust("10"))
    assert again.facts["entryId"] == first.facts["entryId"]
    assert again.audit_id is None
    assert len(audited(world, action="adjust_credits")) == 1
    with pytest.raises(IdempotencyKeyReused):
        do(world, adjust("11"))


def test_an_audit_that_cannot_be_written_undoes_the_action(world: World) -> None:
    before = balance(world.engine, "anna").balance
    with world.engine.begin() as connection:
        connection.execute(text("ALTER TABLE ops.audit ADD CONSTRAINT no CHECK (reason = 'x') NOT VALID"))
    with pytest.raises(Exception, match="no"):
        do(world, adjust("10"))
    assert balance(world.engine, "anna").balance == before


def test_all_failed_jobs_of_a_kind_run_again_and_no_others(world: World) -> None:
    with transaction(world.engine) as connection:
        other = job_in_state(connection, "failed", kind="test_other")
        cancelled = job_in_state(connection, "cancelled")
    done = do(world, RetryFailedJobs(kind="test_chore"))
    assert done.facts == {"kind": "test_chore", "retried": 1, "left": 0}
    states = {
        job_id: scalar(world.engine, "SELECT state FROM ops.jobs WHERE id = :id", id=job_id)
        for job_id in (world.failed_id, other, cancelled)
    }
    assert list(states.values()) == ["waiting", "failed", "cancelled"]


def test_an_event_replayed_is_handled_again_and_credits_nothing_twice(world: World) -> None:
    before = balance(world.engine, "anna").balance
    done = do(world, ReplayEvent(event_id="evt_world"))
    assert scalar(world.engine, "SELECT handled_at FROM ops.stripe_events") is None
    _work(world, done.facts["jobId"])
    assert scalar(world.engine, "SELECT handled_at FROM ops.stripe_events") is not None
    assert balance(world.engine, "anna").balance == before


def _work(world: World, job_id: UUID) -> None:
    """Do one job, and leave the others as they are."""
    settings = read_settings({"ENV": "development"})
    kind = scalar(world.engine, "SELECT kind FROM ops.jobs WHERE id = :id", id=job_id)
    handlers = [one for one in all_handlers(Parts(settings, world.engine)) if one.kind.kind == kind]
    run_waiting(world.engine, handlers, lambda: NOW)
    state = scalar(world.engine, "SELECT state FROM ops.jobs WHERE id = :id", id=job_id)
    assert state == "done"


def test_rebuilding_usage_is_a_job_that_derives_the_same_figures(world: World) -> None:
    done = do(world, RebuildUsage())
    _work(world, done.facts["jobId"])
    used = scalar(world.engine, "SELECT sum(credits_used) FROM credits.usage_stats")
    assert used == -scalar(world.engine, "SELECT sum(amount) FROM credits.transactions WHERE type = 'usage'")


def test_asking_stripe_adds_the_question_about_that_purchase(world: World) -> None:
    purchase_id = uuid4()
    with transaction(world.engine) as connection:
        connection.execute(
            text(
                "INSERT INTO credits.purchases (id, user_id, credits, price_euro_cents) VALUES (:id, 'anna', 5, 500)"
            ),
            {"id": purchase_id},
        )
    done = do(world, AskStripe(purchase_id=purchase_id))
    payload = scalar(world.engine, "SELECT payload FROM ops.jobs WHERE id = :id", id=done.facts["jobId"])
    assert payload == {"purchase_id": str(purchase_id)}


def test_erasure_leaves_no_trace_of_the_person_in_the_audit(world: World) -> None:
    do(world, adjust("10"), reason="anna asked for it")
    do(world, GiftSync(user_id="anna"), reason="anna again")
    by_anna = operators.Operator(name="admin:anna", role=operators.Role.OPERATOR)
    do(world, RunBilling(), by=by_anna)
    do(world, ErasePerson(user_id="anna"), reason="a letter")
    records = audited(world)
    assert "anna" not in msgspec.json.encode(records).decode()
    erased = [record for record in records if record.action == "erase_person"]
    pseudonym = erased[0].subject
    assert pseudonym is not None
    assert {one.user_id for one in records if one.action in ("adjust_credits", "gift_sync")} == {pseudonym}
    assert do(world, ErasePerson(user_id="anna")).facts == {"rows": 0}
