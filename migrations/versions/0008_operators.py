"""Operators: what they did and why, who is signed in, and the indexes that their questions need.

Entries get a block range index on their time: it is a few pages large and costs a posting nothing, and
entries lie in the order of their time.
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

FORWARD = """
CREATE TABLE ops.audit (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    subject text,
    user_id text,
    reason text NOT NULL,
    details jsonb NOT NULL DEFAULT '{}',
    outcome text NOT NULL,
    CONSTRAINT audit_reason_check CHECK (reason <> '')
);
CREATE INDEX audit_by_person ON ops.audit (user_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX audit_by_subject ON ops.audit (subject, id) WHERE subject IS NOT NULL;

CREATE TABLE ops.operator_sessions (
    token_digest text PRIMARY KEY,
    actor text NOT NULL,
    role text NOT NULL,
    created_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT operator_sessions_role_check CHECK (role IN ('viewer', 'operator'))
);

-- Figures of thirty days, and the export of a period.
CREATE INDEX transactions_by_time ON credits.transactions USING brin (created_at) WITH (pages_per_range = 32);
-- Jobs that ended badly, newest first; and the jobs of a purchase or an event.
CREATE INDEX jobs_ended_badly ON ops.jobs (id) WHERE state IN ('refused', 'failed', 'cancelled');
CREATE INDEX jobs_by_subject ON ops.jobs (subject) WHERE subject IS NOT NULL;
-- Purchases, newest first; and the events of a payment.
CREATE INDEX purchases_by_time ON credits.purchases (created_at, id);
CREATE INDEX stripe_events_by_intent ON ops.stripe_events (payment_intent_id)
    WHERE payment_intent_id IS NOT NULL;
-- One person's page.
CREATE INDEX reservations_by_user ON credits.reservations (user_id, created_at);
CREATE INDEX usage_stats_by_user ON credits.usage_stats (user_id, date);
-- Who has this address?
CREATE INDEX stripe_customers_by_email ON credits.stripe_customers (lower(email));
CREATE INDEX sync_subscriptions_by_email ON credits.sync_subscriptions (lower(contact_email))
    WHERE contact_email IS NOT NULL;
CREATE INDEX gift_codes_by_address ON gifts.gift_codes (target_address) WHERE target_address IS NOT NULL;
"""

BACK = """
DROP INDEX gifts.gift_codes_by_address, credits.sync_subscriptions_by_email, credits.stripe_customers_by_email,
    credits.usage_stats_by_user, credits.reservations_by_user, ops.stripe_events_by_intent,
    credits.purchases_by_time, ops.jobs_by_subject, ops.jobs_ended_badly, credits.transactions_by_time;
DROP TABLE ops.operator_sessions, ops.audit;
"""


def upgrade() -> None:
    """Two tables, ten indexes.  Nobody writes an indexed table until it commits: seconds for a million rows."""
    op.execute(FORWARD)


def downgrade() -> None:
    """Forget what operators did: export the audit first."""
    op.execute(BACK)
