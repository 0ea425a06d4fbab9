"""Jobs, what the timetable has done, who is alive, and what the ledger checks found."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE ops.jobs (
    id uuid PRIMARY KEY,
    kind text NOT NULL,
    queue text NOT NULL,
    payload jsonb NOT NULL,
    state text NOT NULL DEFAULT 'waiting',
    unique_key text,
    user_id text,
    subject text,
    horizon interval NOT NULL,
    created_at timestamptz NOT NULL,
    run_at timestamptz NOT NULL,
    nudge_at timestamptz NOT NULL,
    sent_at timestamptz,
    started_at timestamptz,
    finished_at timestamptz,
    retry_until timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    attempts_ended integer NOT NULL DEFAULT 0,
    last_error text,
    errors jsonb NOT NULL DEFAULT '[]',
    result jsonb,
    CONSTRAINT jobs_state_check CHECK (state IN ('waiting', 'done', 'refused', 'failed', 'cancelled')),
    CONSTRAINT jobs_finished_check CHECK ((state = 'waiting') = (finished_at IS NULL))
);
-- A row is rewritten about three times in its short life, then deleted a week later: clean it early.
ALTER TABLE ops.jobs SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE UNIQUE INDEX jobs_unique_key_key ON ops.jobs (unique_key) WHERE unique_key IS NOT NULL;
-- The relay's question, every second: what is due to be sent?
CREATE INDEX jobs_to_nudge ON ops.jobs (queue, nudge_at) WHERE state = 'waiting';
-- The operators' questions: what ended badly, and what concerns this person?
CREATE INDEX jobs_not_done ON ops.jobs (finished_at) WHERE state IN ('refused', 'failed', 'cancelled');
CREATE INDEX jobs_by_user ON ops.jobs (user_id, created_at) WHERE user_id IS NOT NULL;
-- Pruning's question: what was done long ago?
CREATE INDEX jobs_done ON ops.jobs (finished_at) WHERE state = 'done';

CREATE TABLE ops.timetable (
    name text PRIMARY KEY,
    last_slot timestamptz NOT NULL,
    job_id uuid NOT NULL
);

CREATE TABLE ops.heartbeats (
    name text PRIMARY KEY,
    role text NOT NULL,
    started_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    details jsonb NOT NULL
);

CREATE TABLE ops.ledger_checks (
    id uuid PRIMARY KEY,
    checked_at timestamptz NOT NULL,
    took_seconds double precision NOT NULL,
    violation_count integer NOT NULL,
    findings jsonb NOT NULL
);
CREATE INDEX ledger_checks_by_time ON ops.ledger_checks (checked_at);
"""


def upgrade() -> None:
    """New tables only: no lock on what is there."""
    op.execute(TABLES)


def downgrade() -> None:
    """Forget the jobs, done and waiting: let the workers finish first."""
    op.execute("DROP TABLE ops.ledger_checks, ops.heartbeats, ops.timetable, ops.jobs")
