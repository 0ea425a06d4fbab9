"""Webhooks to apps: endpoints, app events, their deliveries in each person's order, and who is low on credits."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

FORWARD = """
CREATE TABLE ops.webhook_endpoints (
    id uuid PRIMARY KEY,
    app_id text NOT NULL,
    url text NOT NULL,
    description text,
    events text[] NOT NULL,
    low_balance_threshold numeric(18, 3),
    secret text NOT NULL,
    retired_secrets jsonb NOT NULL DEFAULT '[]',
    state text NOT NULL DEFAULT 'active',
    state_reason text,
    state_at timestamptz NOT NULL,
    failing_since timestamptz,
    rest_until timestamptz,
    delivered_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT webhook_endpoints_state_check CHECK (state IN ('active', 'paused', 'disabled', 'deleted')),
    CONSTRAINT webhook_endpoints_threshold_check
        CHECK ((low_balance_threshold IS NOT NULL) = ('balance.low' = ANY (events)))
);
CREATE UNIQUE INDEX webhook_endpoints_app_url_key ON ops.webhook_endpoints (app_id, url) WHERE state <> 'deleted';

-- The order of a person's events is that of `seq`: it is given while the person's balance is locked.
CREATE TABLE ops.app_events (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    type text NOT NULL,
    user_id text NOT NULL,
    data json NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX app_events_by_user ON ops.app_events (user_id);
CREATE INDEX app_events_by_giver ON ops.app_events ((data ->> 'creatorId')) WHERE type = 'gift.redeemed';

CREATE TABLE ops.webhook_deliveries (
    id uuid PRIMARY KEY,
    endpoint_id uuid NOT NULL REFERENCES ops.webhook_endpoints (id),
    event_id uuid NOT NULL REFERENCES ops.app_events (id),
    user_id text NOT NULL,
    seq bigint NOT NULL,
    state text NOT NULL DEFAULT 'waiting',
    attempts integer NOT NULL DEFAULT 0,
    tried jsonb NOT NULL DEFAULT '[]',
    last_error text,
    created_at timestamptz NOT NULL,
    ended_at timestamptz,
    CONSTRAINT webhook_deliveries_state_check CHECK (state IN ('waiting', 'delivered', 'failed')),
    CONSTRAINT webhook_deliveries_ended_check CHECK ((state = 'waiting') = (ended_at IS NULL))
);
CREATE UNIQUE INDEX webhook_deliveries_event_endpoint_key ON ops.webhook_deliveries (event_id, endpoint_id);
-- The deliverer's question: what comes first in this lane?
CREATE UNIQUE INDEX webhook_deliveries_waiting ON ops.webhook_deliveries (endpoint_id, user_id, seq)
    WHERE state = 'waiting';
-- The operators' questions: what was sent there, what was given up, what concerned this person?
CREATE INDEX webhook_deliveries_by_endpoint ON ops.webhook_deliveries (endpoint_id, id);
CREATE INDEX webhook_deliveries_failed ON ops.webhook_deliveries (endpoint_id, id) WHERE state = 'failed';
CREATE INDEX webhook_deliveries_by_user ON ops.webhook_deliveries (user_id);

-- A row for each person with something on its way to an endpoint; rewritten at each attempt: clean it early.
CREATE TABLE ops.webhook_lanes (
    endpoint_id uuid NOT NULL REFERENCES ops.webhook_endpoints (id),
    user_id text NOT NULL,
    next_at timestamptz NOT NULL,
    claim uuid,
    failures integer NOT NULL DEFAULT 0,
    failing_since timestamptz,
    PRIMARY KEY (endpoint_id, user_id)
);
ALTER TABLE ops.webhook_lanes SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX webhook_lanes_due ON ops.webhook_lanes (endpoint_id, next_at);

-- Whose balance is below an endpoint's threshold, as far as was seen: the endpoint is told once.
CREATE TABLE ops.low_balances (
    user_id text NOT NULL,
    endpoint_id uuid NOT NULL REFERENCES ops.webhook_endpoints (id),
    version bigint NOT NULL,
    since timestamptz NOT NULL,
    PRIMARY KEY (user_id, endpoint_id)
);

-- Up to when entries were looked at, and the page of balances that is looked at next; one row.
CREATE TABLE ops.low_balance_look (
    only_row boolean PRIMARY KEY DEFAULT true,
    read_until timestamptz NOT NULL,
    next_page bigint NOT NULL DEFAULT 0,
    CONSTRAINT low_balance_look_one_check CHECK (only_row)
);
"""

BACK = """
DROP TABLE ops.low_balance_look, ops.low_balances, ops.webhook_lanes, ops.webhook_deliveries, ops.app_events,
    ops.webhook_endpoints
"""


def upgrade() -> None:
    """New tables only: no lock on what is there, and nothing is written into them before an endpoint is made."""
    op.execute(FORWARD)


def downgrade() -> None:
    """Forget the endpoints, their secrets, and what waits to be sent."""
    op.execute(BACK)
