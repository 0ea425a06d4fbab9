"""Erasure misses no column: each that can hold text was seen with the person in it, or is listed with why it cannot be.

A table or a column that is added fails here until it is one or the other.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, text

from domain.database import transaction
from domain.operators import Operator, Role
from domain.operators.acting import perform
from domain.operators.commands import GiftSync
from domain.operators.sessions import open_session
from tests.domain.test_erasure import EMAIL, PERSON, TRACES, erase, lived_in, traces

__all__ = ["lived_in"]

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
CUSTOMER = "cus_of_erika"

OF_NO_PERSON = {
    "alembic_version": "the schema's revision",
    "erasures": "pseudonyms and counts alone",
    "heartbeats": "processes",
    "hour_figures": "sums over everybody",
    "packages": "what is for sale to everybody",
    "purchase_reversals": "ids of payments, which settling needs, and states of ours",
    "stripe_events_read": "how far Stripe's list was read",
    "timetable": "names of slots",
    "webhook_endpoints": "addresses of apps, and their secrets",
}

NOT_PERSONAL = {
    "transactions.app_id": "an app",
    "usage_stats.app_id": "an app",
    "usage_pending.app_id": "an app",
    "gift_redemptions.source_app_id": "an app",
    "purchases.kind": "one of two words",
    "purchases.stripe_payment_intent_id": "an id of the payment, which settling needs",
    "purchases.checkout_session_id": "an id of the payment, which settling needs",
    "purchases.failure_code": "a word of Stripe's",
    "purchases.problem": "words of ours",
    "stripe_events.id": "Stripe's id of the event",
    "stripe_events.type": "a word of Stripe's",
    "stripe_events.source": "one of two words",
    "stripe_events.payment_intent_id": "an id of the payment, which settling needs",
    "stripe_events.outcome": "words of ours",
    "idempotent_answers.operation": "a word of ours",
    "idempotent_answers.request_digest": "a digest",
    "jobs.kind": "a word of ours",
    "jobs.queue": "a word of ours",
    "jobs.state": "a word of ours",
    "gift_codes.code": "random",
    "gift_codes.short_url": "the address of the code",
    "audit.action": "a word of ours",
    "audit.outcome": "words of ours",
    "operator_sessions.token_digest": "a digest",
    "operator_sessions.role": "a word of ours",
    "sync_subscriptions.problem": "words of ours, and the row goes",
    "app_events.type": "a word of ours",
    "webhook_deliveries.state": "a word of ours",
}

MORE = (
    f"""UPDATE credits.purchases SET stripe_customer_id = '{CUSTOMER}', stripe_payment_intent_id = 'pi_erika',
        checkout_url = 'https://checkout.example/very private' WHERE user_id = '{PERSON}'""",
    f"""UPDATE credits.stripe_customers SET stripe_customer_id = '{CUSTOMER}' WHERE user_id = '{PERSON}'""",
    f"""UPDATE credits.sync_subscriptions SET contact_email = '{EMAIL}' WHERE user_id = '{PERSON}'""",
    f"""UPDATE credits.usage_stats SET metadata = '{{"question": "very private"}}' WHERE user_id = '{PERSON}'""",
    f"""UPDATE ops.jobs SET subject = '{PERSON}', unique_key = 'of:{PERSON}', last_error = 'about {PERSON}',
        errors = '[{{"error": "very private"}}]', result = '{{"said": "very private"}}' WHERE user_id = '{PERSON}'""",
    f"""UPDATE gifts.gift_codes SET creator_name = 'very private name' WHERE creator_id = '{PERSON}'""",
    f"""INSERT INTO ops.ledger_checks (id, checked_at, took_seconds, violation_count, findings)
        VALUES (gen_random_uuid(), now(), 1, 1,
                '[{{"name": "x", "violations": ["{PERSON}: balance 5, entries 6"]}}]')""",
    """INSERT INTO ops.webhook_endpoints (id, app_id, url, events, secret, state_at, created_at, updated_at)
        VALUES ('00000000-0000-7000-8000-000000000001', 'chat', 'https://app.example/', '{gift.redeemed}', 'whsec_x',
                now(), now(), now())""",
    f"""INSERT INTO ops.app_events (id, type, user_id, data, created_at)
        VALUES ('00000000-0000-7000-8000-000000000002', 'gift.redeemed', '{PERSON}',
                '{{"userId": "{PERSON}"}}', now()),
               ('00000000-0000-7000-8000-000000000003', 'gift.redeemed', 'friend',
                '{{"userId": "friend", "creatorId": "{PERSON}"}}', now())""",
    f"""INSERT INTO ops.webhook_deliveries (id, endpoint_id, event_id, user_id, seq, tried, last_error, created_at)
        SELECT '00000000-0000-7000-8000-000000000004', '00000000-0000-7000-8000-000000000001', id, user_id, seq,
               '[{{"answer": "no {PERSON} here"}}]', 'about {PERSON}', now()
        FROM ops.app_events WHERE user_id = '{PERSON}'""",
    f"""INSERT INTO ops.webhook_lanes (endpoint_id, user_id, next_at)
        VALUES ('00000000-0000-7000-8000-000000000001', '{PERSON}', now())""",
    f"""INSERT INTO ops.low_balances (user_id, endpoint_id, version, since)
        VALUES ('{PERSON}', '00000000-0000-7000-8000-000000000001', 1, now())""",
    # A dispute has no metadata of ours; a customer's event neither; each would still tell who it was.
    f"""INSERT INTO ops.stripe_events (id, type, stripe_created, livemode, payload, payment_intent_id, source,
            received_at)
        VALUES ('evt_dispute', 'charge.dispute.created', now(), false,
                '{{"data": {{"object": {{"id": "du_1", "email": "{EMAIL}"}}}}}}',
                'pi_erika', 'webhook', now()),
               ('evt_customer', 'customer.updated', now(), false,
                '{{"data": {{"object": {{"id": "{CUSTOMER}", "email": "{EMAIL}"}}}}}}', NULL, 'webhook', now())""",
)


def lived_everywhere(engine: Engine) -> None:
    """Put the person also where the service rarely does."""
    with transaction(engine) as connection:
        operator = Operator(name=f"admin:{PERSON}", role=Role.OPERATOR)
        open_session(connection, operator, now=datetime.now(UTC))
        perform(connection, GiftSync(user_id="friend"), by=operator, reason="a favour", now=NOW)
        other = Operator(name="login:anna", role=Role.OPERATOR)
        perform(connection, GiftSync(user_id=PERSON), by=other, reason="very private matter", now=NOW)
        connection.execute(text("UPDATE ops.audit SET details = jsonb_build_object('user', user_id)"))
        for statement in MORE:
            connection.execute(text(statement.replace(":", "\\:")))


def columns_with(engine: Engine, words: tuple[str, ...]) -> tuple[set[str], set[str]]:
    """All columns that can hold text, and those in which one of the words stands."""
    every, found = set(), set()
    with engine.connect() as connection:
        columns = connection.execute(
            text("""
                SELECT table_schema, table_name, column_name FROM information_schema.columns
                WHERE table_schema NOT IN ('pg_catalog', 'information_schema', 'testing')
                  AND data_type NOT IN ('uuid', 'numeric', 'integer', 'bigint', 'smallint', 'boolean', 'date',
                                        'interval', 'double precision', 'timestamp with time zone', 'USER-DEFINED')
            """)
        ).all()
        for schema, table, column in columns:
            every.add(f"{table}.{column}")
            query = f'SELECT count(*) FROM {schema}.{table} WHERE "{column}"::text ILIKE ANY (:words)'
            if connection.execute(text(query), {"words": [f"%{word}%" for word in words]}).scalar_one():
                found.add(f"{table}.{column}")
    return every, found


@pytest.mark.usefixtures("lived_in")
def test_every_column_that_can_hold_text_was_seen_with_the_person_in_it_and_then_without(
    engine: Engine,
) -> None:
    lived_everywhere(engine)
    words = (*TRACES, CUSTOMER)
    every, before = columns_with(engine, words)
    reviewed = NOT_PERSONAL.keys() | {one for one in every if one.partition(".")[0] in OF_NO_PERSON}
    assert every - reviewed == before - reviewed, "neither seen with the person in it nor listed"
    assert not before & reviewed, "listed as not personal, and the person is in it"
    assert NOT_PERSONAL.keys() <= every, "listed, and not there any more"
    erase(engine)
    assert columns_with(engine, words)[1] == set()
    assert traces(engine, words) == []
