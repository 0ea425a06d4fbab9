"""What other services do for a person: spend, refund, grant, reserve."""

from __future__ import annotations

from datetime import datetime, timedelta

from aiohttp import web
from sqlalchemy import Connection

from domain import erasure, jobs, ledger, reservations, spending
from domain.amounts import wire_amount
from domain.errors import (
    AnswerForgotten,
    BalanceNotFound,
    BalanceTooLarge,
    IdempotencyKeyReused,
    InsufficientCredits,
    Refusal,
    ReservationExpired,
    ReservationNotFound,
    ReservationNotOpen,
)
from domain.idempotency import Answer
from web.answers import (
    BalanceAnswer,
    BalanceRowAnswer,
    BatchItemAnswer,
    CommitAnswer,
    CountedBalanceAnswer,
    ErasureAnswer,
    GrantAnswer,
    PendingAnswer,
    RefundAnswer,
    RefundReservationAnswer,
    ReserveAnswer,
    UseAnswer,
    UseBatchAnswer,
    timestamp,
)
from web.bodies import (
    BATCH_BODY_BYTES_MAX,
    CommitBody,
    GrantBody,
    InitBody,
    InternalUseBody,
    RefundBody,
    RefundReservationBody,
    ReserveBody,
    UseBatchBody,
    idempotency_key,
    path_text,
)
from web.defects import tell_defect
from web.errors import DEFECT, wrong_of
from web.job_waiting import answer_job
from web.once import once
from web.routes.uses import answer_of, posting_of
from web.routing import Access, Call, Routes

routes = Routes("/api/v1/internal", Access.SERVICE, "Internal")


@routes.add("GET", "/credits/balance/{userId}", answer=CountedBalanceAnswer)
async def balance(call: Call) -> CountedBalanceAnswer:
    """A person's balance, and how many entries they have."""
    bridge, user_id = call.services.bridge, path_text(call.request, "userId")
    found = BalanceAnswer.of(await bridge.balance(user_id))
    count = await bridge.run(lambda connection, _now: ledger.count_entries(connection, user_id))
    return CountedBalanceAnswer(
        balance=found.balance,
        total_earned=found.total_earned,
        total_spent=found.total_spent,
        transactions_count=count,
    )


@routes.add("DELETE", "/credits/balance/{userId}", answer=ErasureAnswer)
async def erase(call: Call) -> ErasureAnswer:
    """Erase a person's data; the ledger's amounts stay, under a pseudonym.  Erasing again answers 0."""
    user_id = path_text(call.request, "userId")
    count = await call.services.bridge.run(
        lambda connection, now: erasure.erase(connection, user_id, now=now)
    )
    return ErasureAnswer(deleted_count=count)


@routes.add(
    "POST",
    "/credits/use",
    body=InternalUseBody,
    answer=UseAnswer,
    refusals=(InsufficientCredits, BalanceNotFound, IdempotencyKeyReused),
)
async def use(call: Call) -> UseAnswer:
    """Spend a person's credits now."""
    body: InternalUseBody = call.body
    posting = posting_of(body, body.user_id, idempotency_key(call.request, body.idempotency_key))
    return answer_of(await call.services.bridge.deduct(posting))


@routes.add(
    "POST",
    "/credits/use/batch",
    body=UseBatchBody,
    answer=UseBatchAnswer,
    body_bytes_max=BATCH_BODY_BYTES_MAX,
    takes_key=True,
)
async def use_batch(call: Call) -> UseBatchAnswer:
    """Spend the credits of many; an outcome for each item, in order.  Items of one person keep their order.

    The key in the header is that of every item without its own, together with the item's place.
    """
    body: UseBatchBody = call.body
    batch_key = idempotency_key(call.request, None)
    postings = [
        posting_of(item, item.user_id, item.idempotency_key or (batch_key and f"{batch_key}#{position}"))
        for position, item in enumerate(body.items)
    ]
    outcomes = await call.services.bridge.post_together(postings)
    return UseBatchAnswer(results=[_item_answer(outcome) for outcome in outcomes])


def _item_answer(outcome: ledger.Outcome | Exception) -> BatchItemAnswer:
    if isinstance(outcome, Exception):
        return _refused(outcome)
    try:
        answer = answer_of(outcome)
    except Refusal as refusal:
        return _refused(refusal)
    return BatchItemAnswer(
        status_code=200,
        success=True,
        transaction=answer.transaction,
        new_balance=answer.new_balance,
        message=answer.message,
    )


def _refused(error: Exception) -> BatchItemAnswer:
    wrong = wrong_of(error)
    if wrong is None:  # its neighbours were served: their answers are not lost for its sake
        tell_defect(error, route="one item of a batch")
        wrong = DEFECT
    return BatchItemAnswer(
        status_code=wrong.status,
        success=False,
        message=wrong.message,
        code=wrong.code,
        details=wrong.details,
    )


@routes.add(
    "POST",
    "/credits/refund",
    body=RefundBody,
    answer=RefundAnswer,
    refusals=(BalanceNotFound, BalanceTooLarge, IdempotencyKeyReused),
    further={202: PendingAnswer},
)
async def refund(call: Call) -> web.Response:
    """Give credits back for an operation that failed: a job, whose end is waited for (`Prefer: wait=N`)."""
    body: RefundBody = call.body
    job = spending.RefundCredits(
        refund=spending.Refund(
            user_id=body.user_id,
            amount=+body.amount,
            description=body.description,
            app_id=body.app_id or "system",
            metadata=body.metadata,
            idempotency_key=idempotency_key(call.request, body.idempotency_key),
        )
    )
    return await answer_job(
        call, lambda connection, now: jobs.add_job(connection, job, now=now, user_id=body.user_id)
    )


@routes.add(
    "POST",
    "/credits/grant",
    body=GrantBody,
    answer=GrantAnswer,
    refusals=(BalanceTooLarge, AnswerForgotten, IdempotencyKeyReused),
)
async def grant(call: Call) -> Answer:
    """Give a reward, once for a person and a reference."""
    body: GrantBody = call.body
    wanted = spending.Grant(
        user_id=body.user_id,
        amount=+body.amount,
        reason=body.reason,
        reference_id=body.reference_id,
        description=body.description,
    )

    def work(connection: Connection, now: datetime) -> GrantAnswer:
        granted = spending.grant(connection, wanted, now=now)
        return GrantAnswer(
            ok=True,
            already_granted=granted.already,
            new_balance=wire_amount(granted.entry.balance_after),
            transaction_id=None if granted.already else granted.entry.id,
        )

    return await once(call, "grant", body.idempotency_key, lambda _connection: body.user_id, work)


@routes.add("POST", "/credits/init", body=InitBody, answer=BalanceRowAnswer)
async def init(call: Call) -> BalanceRowAnswer:
    """A person's balance, which comes into being when there is none."""
    user_id = call.body.user_id
    row = await call.services.bridge.run(
        lambda connection, now: ledger.open_balance(connection, user_id, now=now)
    )
    return BalanceRowAnswer.of(row)


@routes.add(
    "POST",
    "/credits/reserve",
    body=ReserveBody,
    answer=ReserveAnswer,
    refusals=(InsufficientCredits, BalanceNotFound, AnswerForgotten, IdempotencyKeyReused),
)
async def reserve(call: Call) -> Answer:
    """Set credits aside for an operation whose end is not known yet."""
    body: ReserveBody = call.body
    lifetime = reservations.LIFETIME_DEFAULT
    if body.expires_in_seconds is not None:
        lifetime = timedelta(seconds=body.expires_in_seconds)

    def work(connection: Connection, now: datetime) -> ReserveAnswer:
        reserved = reservations.reserve(
            connection,
            user_id=body.user_id,
            amount=+body.amount,
            reason=body.reason,
            lifetime=lifetime,
            now=now,
        )
        return ReserveAnswer(
            reservation_id=reserved.reservation_id,
            balance=wire_amount(reserved.balance),
            expires_at=timestamp(reserved.expires_at),
        )

    return await once(call, "reserve", body.idempotency_key, lambda _connection: body.user_id, work)


@routes.add(
    "POST",
    "/credits/commit",
    body=CommitBody,
    answer=CommitAnswer,
    refusals=(
        ReservationNotFound,
        ReservationNotOpen,
        ReservationExpired,
        AnswerForgotten,
        IdempotencyKeyReused,
    ),
)
async def commit(call: Call) -> Answer:
    """Spend what was set aside."""
    body: CommitBody = call.body

    def work(connection: Connection, now: datetime) -> CommitAnswer:
        entry = reservations.commit(connection, body.reservation_id, description=body.description, now=now)
        return CommitAnswer(success=True, transaction_id=entry.id)

    return await once(
        call,
        "commit",
        body.idempotency_key,
        lambda connection: reservations.owner(connection, body.reservation_id),
        work,
    )


@routes.add(
    "POST",
    "/credits/refund-reservation",
    body=RefundReservationBody,
    answer=RefundReservationAnswer,
    refusals=(
        ReservationNotFound,
        ReservationNotOpen,
        ReservationExpired,
        AnswerForgotten,
        IdempotencyKeyReused,
    ),
)
async def refund_reservation(call: Call) -> Answer:
    """Put back what was set aside."""
    body: RefundReservationBody = call.body

    def work(connection: Connection, now: datetime) -> RefundReservationAnswer:
        balance = reservations.refund(connection, body.reservation_id, now=now)
        return RefundReservationAnswer(success=True, balance=wire_amount(balance))

    return await once(
        call,
        "refund-reservation",
        body.idempotency_key,
        lambda connection: reservations.owner(connection, body.reservation_id),
        work,
    )
