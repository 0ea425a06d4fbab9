"""Money in: what became of each purchase at Stripe, what was taken back of it, and the events Stripe sent.

Purchases of the old service keep their rows.  Open ones are asked about at Stripe; a completed one whose
entry is missing or is not over its credits is marked, for a person to look at, instead of being repaired.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = """
ALTER TABLE credits.purchases
    ADD kind text NOT NULL DEFAULT 'payment_intent',
    ADD checkout_session_id text,
    ADD checkout_url text,
    ADD stripe_status_at timestamptz,
    ADD failure_code text,
    ADD problem text,
    ADD credits_taken_back integer NOT NULL DEFAULT 0,
    ADD take_backs integer NOT NULL DEFAULT 0,
    ADD next_check_at timestamptz,
    ADD checks integer NOT NULL DEFAULT 0,
    ADD CONSTRAINT purchases_kind_check CHECK (kind IN ('payment_intent', 'checkout_session')),
    ADD CONSTRAINT purchases_checkout_session_id_key UNIQUE (checkout_session_id),
    ADD CONSTRAINT purchases_taken_back_check CHECK (credits_taken_back BETWEEN 0 AND credits);
-- The owner's list, newest first.
CREATE INDEX purchases_by_user ON credits.purchases (user_id, created_at, id);
-- Reconciliation's question: about which ones is Stripe to be asked now?
CREATE INDEX purchases_to_check ON credits.purchases (next_check_at) WHERE next_check_at IS NOT NULL;

CREATE TABLE credits.purchase_reversals (
    stripe_id text PRIMARY KEY,
    payment_intent_id text NOT NULL,
    kind text NOT NULL,
    charge_id text,
    amount_cents bigint NOT NULL,
    state text NOT NULL,
    seen_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT purchase_reversals_kind_check CHECK (kind IN ('refund', 'dispute', 'charge')),
    CONSTRAINT purchase_reversals_state_check CHECK (state IN ('open', 'counted', 'final', 'void')),
    CONSTRAINT purchase_reversals_amount_check CHECK (amount_cents >= 0)
);
CREATE INDEX purchase_reversals_by_intent ON credits.purchase_reversals (payment_intent_id);

CREATE TABLE ops.stripe_events (
    id text PRIMARY KEY,
    type text NOT NULL,
    stripe_created timestamptz NOT NULL,
    livemode boolean NOT NULL,
    payload jsonb NOT NULL,
    payment_intent_id text,
    purchase_id uuid,
    source text NOT NULL,
    received_at timestamptz NOT NULL,
    job_id uuid,
    handled_at timestamptz,
    outcome text,
    CONSTRAINT stripe_events_source_check CHECK (source IN ('webhook', 'asked'))
);
CREATE INDEX stripe_events_by_time ON ops.stripe_events (received_at);
CREATE INDEX stripe_events_by_purchase ON ops.stripe_events (purchase_id) WHERE purchase_id IS NOT NULL;

-- Up to when Stripe's list of events has been read; one row.
CREATE TABLE ops.stripe_events_read (
    only_row boolean PRIMARY KEY DEFAULT true,
    read_until timestamptz NOT NULL,
    CONSTRAINT stripe_events_read_one_check CHECK (only_row)
);
"""

TAKE_OVER = """
UPDATE credits.purchases SET next_check_at = now()
WHERE status IN ('pending', 'failed') AND stripe_payment_intent_id IS NOT NULL;

UPDATE credits.purchases p SET problem = 'taken over: no entry over its credits'
WHERE p.status = 'completed' AND NOT EXISTS (
    SELECT FROM credits.transactions t
    WHERE t.user_id = p.user_id AND t.posting_key = 'purchase:' || p.id AND t.amount = p.credits);

UPDATE credits.purchases p SET problem = 'taken over: credited and not completed'
WHERE p.status <> 'completed' AND EXISTS (
    SELECT FROM credits.transactions t
    WHERE t.user_id = p.user_id AND t.posting_key = 'purchase:' || p.id);
"""

BACK = """
DROP TABLE ops.stripe_events_read, ops.stripe_events, credits.purchase_reversals;
DROP INDEX credits.purchases_by_user, credits.purchases_to_check;
ALTER TABLE credits.purchases
    DROP kind, DROP checkout_session_id, DROP checkout_url, DROP stripe_status_at, DROP failure_code,
    DROP problem, DROP credits_taken_back, DROP take_backs, DROP next_check_at, DROP checks;
"""


def upgrade() -> None:
    """New columns with constant defaults and new tables; purchases are locked while their old rows are marked."""
    op.execute(TABLES)
    op.execute(TAKE_OVER)


def downgrade() -> None:
    """Forget what Stripe said; what was credited and taken back stays in the ledger."""
    op.execute(BACK)
