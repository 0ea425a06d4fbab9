"""The schema, as SQLAlchemy Core tables: the one place where Python knows columns.

`migrations/` makes it; a test compares the two.  Amounts are credits in `numeric(18,3)` unless a column is
whole by contract; times are aware UTC instants.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    Enum,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Interval,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

metadata: Final = MetaData()


def _enum(name: str, *values: str) -> Enum:
    return Enum(*values, name=name, schema="public", create_type=False)


transaction_type: Final = _enum("transaction_type", "purchase", "usage", "refund", "gift", "grant")
transaction_status: Final = _enum("transaction_status", "pending", "completed", "failed", "cancelled")
reservation_status: Final = _enum("reservation_status", "reserved", "committed", "refunded")
sync_billing_interval: Final = _enum("sync_billing_interval", "monthly", "quarterly", "yearly")


def _credits() -> Numeric[Any]:
    return Numeric(18, 3)


def _id() -> Column[Any]:
    return Column("id", UUID, primary_key=True, server_default=text("gen_random_uuid()"))


def _time(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(
        name,
        DateTime(timezone=True),
        nullable=nullable,
        server_default=None if nullable else text("now()"),
    )


balances: Final = Table(
    "balances",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("balance", _credits(), nullable=False, server_default="0"),
    Column("total_earned", _credits(), nullable=False, server_default="0"),
    Column("total_spent", _credits(), nullable=False, server_default="0"),
    Column("version", BigInteger, nullable=False, server_default="0"),
    _time("created_at"),
    _time("updated_at"),
    Column("held", _credits(), nullable=False, server_default="0"),
    CheckConstraint("held >= 0", name="balances_held_check"),
    schema="credits",
)

entries: Final = Table(
    "transactions",
    metadata,
    _id(),
    Column("user_id", Text, nullable=False),
    Column("type", transaction_type, nullable=False),
    Column("status", transaction_status, nullable=False, server_default="pending"),
    Column("amount", _credits(), nullable=False),
    Column("balance_before", _credits(), nullable=False),
    Column("balance_after", _credits(), nullable=False),
    Column("app_id", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("metadata", JSONB(none_as_null=True)),
    Column("idempotency_key", Text),
    _time("created_at"),
    _time("completed_at", nullable=True),
    Column("version", BigInteger, nullable=False),
    Column("held_after", _credits(), nullable=False, server_default="0"),
    Column("earned_change", _credits(), nullable=False, server_default="0"),
    Column("spent_change", _credits(), nullable=False, server_default="0"),
    Column("posting_key", Text),
    CheckConstraint(
        "version <= 0 OR balance_after = balance_before + amount", name="transactions_arithmetic_check"
    ),
    CheckConstraint("version <= 0 OR status = 'completed'", name="transactions_completed_check"),
    Index(
        "transactions_by_time", "created_at", postgresql_using="brin", postgresql_with={"pages_per_range": 32}
    ),
    Index("transactions_user_id_version_key", "user_id", "version", unique=True),
    Index(
        "transactions_user_id_posting_key_key",
        "user_id",
        "posting_key",
        unique=True,
        postgresql_where=text("posting_key IS NOT NULL"),
    ),
    schema="credits",
)

packages: Final = Table(
    "packages",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    Column("description", Text),
    Column("credits", Integer, nullable=False),
    Column("price_euro_cents", Integer, nullable=False),
    Column("stripe_price_id", Text, unique=True),
    Column("active", Boolean, nullable=False, server_default="true"),
    Column("sort_order", Integer, nullable=False, server_default="0"),
    Column("metadata", JSONB(none_as_null=True)),
    _time("created_at"),
    _time("updated_at"),
    schema="credits",
)

purchases: Final = Table(
    "purchases",
    metadata,
    _id(),
    Column("user_id", Text, nullable=False),
    Column("package_id", UUID, ForeignKey(packages.c.id)),
    Column("credits", Integer, nullable=False),
    Column("price_euro_cents", Integer, nullable=False),
    Column("stripe_payment_intent_id", Text, unique=True),
    Column("stripe_customer_id", Text),
    Column("status", transaction_status, nullable=False, server_default="pending"),
    Column("metadata", JSONB(none_as_null=True)),
    _time("created_at"),
    _time("completed_at", nullable=True),
    Column("kind", Text, nullable=False, server_default="payment_intent"),
    Column("checkout_session_id", Text, unique=True),
    Column("checkout_url", Text),
    _time("stripe_status_at", nullable=True),
    Column("failure_code", Text),
    Column("problem", Text),
    Column("credits_taken_back", Integer, nullable=False, server_default="0"),
    Column("take_backs", Integer, nullable=False, server_default="0"),
    _time("next_check_at", nullable=True),
    Column("checks", Integer, nullable=False, server_default="0"),
    CheckConstraint("kind IN ('payment_intent', 'checkout_session')", name="purchases_kind_check"),
    CheckConstraint("credits_taken_back BETWEEN 0 AND credits", name="purchases_taken_back_check"),
    Index("purchases_by_user", "user_id", "created_at", "id"),
    Index("purchases_by_time", "created_at", "id"),
    Index("purchases_to_check", "next_check_at", postgresql_where=text("next_check_at IS NOT NULL")),
    schema="credits",
)

purchase_reversals: Final = Table(
    "purchase_reversals",
    metadata,
    Column("stripe_id", Text, primary_key=True),
    Column("payment_intent_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("charge_id", Text),
    Column("amount_cents", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("seen_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("kind IN ('refund', 'dispute', 'charge')", name="purchase_reversals_kind_check"),
    CheckConstraint("state IN ('open', 'counted', 'final', 'void')", name="purchase_reversals_state_check"),
    CheckConstraint("amount_cents >= 0", name="purchase_reversals_amount_check"),
    Index("purchase_reversals_by_intent", "payment_intent_id"),
    schema="credits",
)

stripe_customers: Final = Table(
    "stripe_customers",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("stripe_customer_id", Text, nullable=False, unique=True),
    Column("email", Text),
    _time("created_at"),
    _time("updated_at"),
    Index("stripe_customers_by_email", text("lower(email)")),
    schema="credits",
)

stripe_events: Final = Table(
    "stripe_events",
    metadata,
    Column("id", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("stripe_created", DateTime(timezone=True), nullable=False),
    Column("livemode", Boolean, nullable=False),
    Column("payload", JSONB, nullable=False),
    Column("payment_intent_id", Text),
    Column("purchase_id", UUID),
    Column("source", Text, nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("job_id", UUID),
    _time("handled_at", nullable=True),
    Column("outcome", Text),
    CheckConstraint("source IN ('webhook', 'asked')", name="stripe_events_source_check"),
    Index("stripe_events_by_time", "received_at"),
    Index(
        "stripe_events_by_intent",
        "payment_intent_id",
        postgresql_where=text("payment_intent_id IS NOT NULL"),
    ),
    Index("stripe_events_by_purchase", "purchase_id", postgresql_where=text("purchase_id IS NOT NULL")),
    schema="ops",
)

stripe_events_read: Final = Table(
    "stripe_events_read",
    metadata,
    Column("only_row", Boolean, primary_key=True, server_default="true"),
    Column("read_until", DateTime(timezone=True), nullable=False),
    CheckConstraint("only_row", name="stripe_events_read_one_check"),
    schema="ops",
)

usage_stats: Final = Table(
    "usage_stats",
    metadata,
    _id(),
    Column("user_id", Text, nullable=False),
    Column("app_id", Text, nullable=False),
    Column("credits_used", _credits(), nullable=False),
    Column("date", DateTime(timezone=True), nullable=False),
    Column("metadata", JSONB(none_as_null=True)),
    Column("is_rolled_up", Boolean, nullable=False, server_default="false"),
    Index(
        "usage_stats_rolled_up_key",
        "user_id",
        "app_id",
        "date",
        unique=True,
        postgresql_where=text("is_rolled_up"),
    ),
    Index("usage_stats_by_user", "user_id", "date"),
    schema="credits",
)

usage_pending: Final = Table(
    "usage_pending",
    metadata,
    Column("user_id", Text, nullable=False),
    Column("app_id", Text, nullable=False),
    Column("day", Date, nullable=False),
    Column("credits_used", _credits(), nullable=False),
    schema="ops",
)

reservations: Final = Table(
    "reservations",
    metadata,
    _id(),
    Column("user_id", Text, nullable=False),
    Column("amount", _credits(), nullable=False),
    Column("reason", Text, nullable=False),
    Column("status", reservation_status, nullable=False, server_default="reserved"),
    _time("created_at"),
    _time("resolved_at", nullable=True),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("is_expired", Boolean, nullable=False, server_default="false"),
    Index(
        "reservations_open_by_expiry",
        "expires_at",
        postgresql_where=text("status = 'reserved'"),
    ),
    Index("reservations_open_by_user", "user_id", postgresql_where=text("status = 'reserved'")),
    Index("reservations_by_user", "user_id", "created_at"),
    schema="credits",
)

sync_subscriptions: Final = Table(
    "sync_subscriptions",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("active", Boolean, nullable=False, server_default="false"),
    Column("billing_interval", sync_billing_interval, nullable=False, server_default="monthly"),
    Column("amount_charged", Integer, nullable=False, server_default="30"),
    _time("activated_at", nullable=True),
    _time("next_charge_at", nullable=True),
    _time("paused_at", nullable=True),
    Column("is_gifted", Boolean, nullable=False, server_default="false"),
    Column("gifted_by", Text),
    _time("gifted_at", nullable=True),
    _time("created_at"),
    _time("updated_at"),
    Column("auto_resume", Boolean, nullable=False, server_default="false"),
    Column("anchor_day", SmallInteger),  # the day of the month that its charges keep
    _time("paid_from", nullable=True),  # the start of the period charged last
    _time("paid_until", nullable=True),  # under a gift: the end of the paid period, when it began
    Column("contact_email", Text),  # of the signed token that activated it
    _time("reminded_for", nullable=True),  # the charge that a reminder was sent of
    Column("problem", Text),  # why it could not be charged, and when
    _time("problem_at", nullable=True),
    CheckConstraint("anchor_day BETWEEN 1 AND 31", name="sync_subscriptions_anchor_day_check"),
    Index(
        "sync_subscriptions_by_email",
        text("lower(contact_email)"),
        postgresql_where=text("contact_email IS NOT NULL"),
    ),
    Index("sync_subscriptions_due", "next_charge_at", postgresql_where=text("active AND NOT is_gifted")),
    Index(
        "sync_subscriptions_to_resume",
        "paused_at",
        postgresql_where=text("auto_resume AND NOT active AND NOT is_gifted AND paused_at IS NOT NULL"),
    ),
    schema="credits",
)

idempotent_answers: Final = Table(
    "idempotent_answers",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("operation", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_digest", Text, nullable=False),
    Column("answer", JSON, nullable=False),
    _time("created_at"),
    schema="ops",
)

jobs: Final = Table(
    "jobs",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("payload", JSONB, nullable=False),
    Column("state", Text, nullable=False, server_default="waiting"),
    Column("unique_key", Text),
    Column("user_id", Text),
    Column("subject", Text),
    Column("horizon", Interval, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("run_at", DateTime(timezone=True), nullable=False),
    Column("nudge_at", DateTime(timezone=True), nullable=False),
    _time("sent_at", nullable=True),
    _time("started_at", nullable=True),
    _time("finished_at", nullable=True),
    _time("retry_until", nullable=True),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("attempts_ended", Integer, nullable=False, server_default="0"),
    Column("last_error", Text),
    Column("errors", JSONB, nullable=False, server_default=text("'[]'")),
    Column("result", JSONB(none_as_null=True)),
    CheckConstraint(
        "state IN ('waiting', 'done', 'refused', 'failed', 'cancelled')", name="jobs_state_check"
    ),
    CheckConstraint("(state = 'waiting') = (finished_at IS NULL)", name="jobs_finished_check"),
    Index("jobs_unique_key_key", "unique_key", unique=True, postgresql_where=text("unique_key IS NOT NULL")),
    Index("jobs_to_nudge", "queue", "nudge_at", postgresql_where=text("state = 'waiting'")),
    Index(
        "jobs_not_done",
        "finished_at",
        postgresql_where=text("state IN ('refused', 'failed', 'cancelled')"),
    ),
    Index("jobs_by_user", "user_id", "created_at", postgresql_where=text("user_id IS NOT NULL")),
    Index(
        "jobs_ended_badly",
        "id",
        postgresql_where=text("state IN ('refused', 'failed', 'cancelled')"),
    ),
    Index("jobs_by_subject", "subject", postgresql_where=text("subject IS NOT NULL")),
    Index("jobs_done", "finished_at", postgresql_where=text("state = 'done'")),
    schema="ops",
)

timetable: Final = Table(
    "timetable",
    metadata,
    Column("name", Text, primary_key=True),
    Column("last_slot", DateTime(timezone=True), nullable=False),
    Column("job_id", UUID, nullable=False),
    schema="ops",
)

heartbeats: Final = Table(
    "heartbeats",
    metadata,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("seen_at", DateTime(timezone=True), nullable=False),
    Column("details", JSONB, nullable=False),
    schema="ops",
)

ledger_checks: Final = Table(
    "ledger_checks",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("checked_at", DateTime(timezone=True), nullable=False),
    Column("took_seconds", Double, nullable=False),
    Column("violation_count", Integer, nullable=False),
    Column("findings", JSONB, nullable=False),
    Index("ledger_checks_by_time", "checked_at"),
    schema="ops",
)

gift_code_type: Final = _enum("gift_code_type", "simple", "personalized")
gift_code_status: Final = _enum("gift_code_status", "active", "depleted", "expired", "cancelled", "refunded")
gift_redemption_status: Final = _enum(
    "gift_redemption_status",
    "success",
    "failed_wrong_user",
    "failed_depleted",
    "failed_expired",
    "failed_already_claimed",
)

gift_codes: Final = Table(
    "gift_codes",
    metadata,
    _id(),
    Column("code", Text, nullable=False, unique=True),
    Column("short_url", Text),
    Column("creator_id", Text, nullable=False),
    Column("creator_name", Text),
    Column("total_credits", Integer, nullable=False),
    Column("redeemed", Integer, nullable=False, server_default="0"),
    Column("type", gift_code_type, nullable=False, server_default="simple"),
    Column("status", gift_code_status, nullable=False, server_default="active"),
    Column("target_email", Text),
    Column("message", Text),
    _time("expires_at", nullable=True),
    Column("reservation_transaction_id", UUID),
    _time("created_at"),
    _time("updated_at"),
    Column("target_address", Text),
    Index("gift_codes_active_by_expiry", "expires_at", postgresql_where=text("status = 'active'")),
    Index("gift_codes_active_by_address", "target_address", postgresql_where=text("status = 'active'")),
    Index("gift_codes_by_creator", "creator_id", "created_at"),
    Index("gift_codes_by_address", "target_address", postgresql_where=text("target_address IS NOT NULL")),
    schema="gifts",
)

gift_redemptions: Final = Table(
    "gift_redemptions",
    metadata,
    _id(),
    Column("gift_code_id", UUID, ForeignKey(gift_codes.c.id), nullable=False),
    Column("redeemer_user_id", Text, nullable=False),
    Column("status", gift_redemption_status, nullable=False),
    Column("credits_received", Integer, nullable=False, server_default="0"),
    Column("credit_transaction_id", UUID),
    Column("source_app_id", Text),
    _time("created_at"),
    Index("gift_redemptions_by_redeemer", "redeemer_user_id", "created_at"),
    Index("gift_redemptions_by_gift", "gift_code_id"),
    schema="gifts",
)

erasures: Final = Table(
    "erasures",
    metadata,
    Column("pseudonym", Text, primary_key=True),
    Column("erased_at", DateTime(timezone=True), nullable=False),
    Column("row_count", Integer, nullable=False),
    schema="ops",
)

audit: Final = Table(
    "audit",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text),
    Column("user_id", Text),
    Column("reason", Text, nullable=False),
    Column("details", JSONB, nullable=False, server_default=text("'{}'")),
    Column("outcome", Text, nullable=False),
    CheckConstraint("reason <> ''", name="audit_reason_check"),
    Index("audit_by_person", "user_id", "id", postgresql_where=text("user_id IS NOT NULL")),
    Index("audit_by_subject", "subject", "id", postgresql_where=text("subject IS NOT NULL")),
    schema="ops",
)

operator_sessions: Final = Table(
    "operator_sessions",
    metadata,
    Column("token_digest", Text, primary_key=True),
    Column("actor", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("seen_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("role IN ('viewer', 'operator')", name="operator_sessions_role_check"),
    schema="ops",
)

hour_figures: Final = Table(
    "hour_figures",
    metadata,
    Column("hour", DateTime(timezone=True), primary_key=True),
    Column("entries", Integer, nullable=False),
    *(
        Column(name, _credits(), nullable=False)
        for name in (
            *("sold", "taken_back", "spent", "refunded", "granted", "withdrawn"),
            *("gifts_made", "gifts_received", "gifts_returned"),
        )
    ),
    schema="ops",
)

webhook_endpoints: Final = Table(
    "webhook_endpoints",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("app_id", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("description", Text),
    Column("events", ARRAY(Text), nullable=False),
    Column("low_balance_threshold", _credits()),
    Column("secret", Text, nullable=False),
    Column("retired_secrets", JSONB, nullable=False, server_default=text("'[]'")),
    Column("state", Text, nullable=False, server_default="active"),
    Column("state_reason", Text),
    Column("state_at", DateTime(timezone=True), nullable=False),
    _time("failing_since", nullable=True),
    _time("rest_until", nullable=True),
    _time("delivered_at", nullable=True),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    CheckConstraint(
        "state IN ('active', 'paused', 'disabled', 'deleted')", name="webhook_endpoints_state_check"
    ),
    CheckConstraint(
        "(low_balance_threshold IS NOT NULL) = ('balance.low' = ANY (events))",
        name="webhook_endpoints_threshold_check",
    ),
    Index(
        "webhook_endpoints_app_url_key",
        "app_id",
        "url",
        unique=True,
        postgresql_where=text("state <> 'deleted'"),
    ),
    schema="ops",
)

app_events: Final = Table(
    "app_events",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("seq", BigInteger, Identity(always=True), nullable=False),
    Column("type", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("data", JSON, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Index("app_events_by_user", "user_id"),
    Index(
        "app_events_by_giver",
        text("(data ->> 'creatorId')"),
        postgresql_where=text("type = 'gift.redeemed'"),
    ),
    schema="ops",
)

webhook_deliveries: Final = Table(
    "webhook_deliveries",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("endpoint_id", UUID, ForeignKey(webhook_endpoints.c.id), nullable=False),
    Column("event_id", UUID, ForeignKey(app_events.c.id), nullable=False),
    Column("user_id", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("state", Text, nullable=False, server_default="waiting"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("tried", JSONB, nullable=False, server_default=text("'[]'")),
    Column("last_error", Text),
    Column("created_at", DateTime(timezone=True), nullable=False),
    _time("ended_at", nullable=True),
    CheckConstraint("state IN ('waiting', 'delivered', 'failed')", name="webhook_deliveries_state_check"),
    CheckConstraint("(state = 'waiting') = (ended_at IS NULL)", name="webhook_deliveries_ended_check"),
    Index("webhook_deliveries_event_endpoint_key", "event_id", "endpoint_id", unique=True),
    Index(
        "webhook_deliveries_waiting",
        "endpoint_id",
        "user_id",
        "seq",
        unique=True,
        postgresql_where=text("state = 'waiting'"),
    ),
    Index("webhook_deliveries_by_endpoint", "endpoint_id", "id"),
    Index("webhook_deliveries_failed", "endpoint_id", "id", postgresql_where=text("state = 'failed'")),
    Index("webhook_deliveries_by_user", "user_id"),
    schema="ops",
)

webhook_lanes: Final = Table(
    "webhook_lanes",
    metadata,
    Column("endpoint_id", UUID, ForeignKey(webhook_endpoints.c.id), primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("next_at", DateTime(timezone=True), nullable=False),
    Column("claim", UUID),
    Column("failures", Integer, nullable=False, server_default="0"),
    _time("failing_since", nullable=True),
    Index("webhook_lanes_due", "endpoint_id", "next_at"),
    schema="ops",
)

low_balances: Final = Table(
    "low_balances",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("endpoint_id", UUID, ForeignKey(webhook_endpoints.c.id), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
    schema="ops",
)

low_balance_look: Final = Table(
    "low_balance_look",
    metadata,
    Column("only_row", Boolean, primary_key=True, server_default="true"),
    Column("read_until", DateTime(timezone=True), nullable=False),
    Column("next_page", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("only_row", name="low_balance_look_one_check"),
    schema="ops",
)
