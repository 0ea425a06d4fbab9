"""Cloud Sync: what renewals, gifts over a paid period, resuming and reminders note with a subscription.

Nothing is rewritten: rows of the old service and of other teams' scripts lack the notes, and are understood
without them (domain.sync_billing.calendar.anchor_day_of).
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

COLUMNS = """
ALTER TABLE credits.sync_subscriptions
    ADD auto_resume boolean NOT NULL DEFAULT false,
    ADD anchor_day smallint,
    ADD paid_from timestamptz,
    ADD paid_until timestamptz,
    ADD contact_email text,
    ADD reminded_for timestamptz,
    ADD problem text,
    ADD problem_at timestamptz,
    ADD CONSTRAINT sync_subscriptions_anchor_day_check CHECK (anchor_day BETWEEN 1 AND 31);
-- Renewals' question, and the reminders': whose date has come, or comes soon?
CREATE INDEX sync_subscriptions_due ON credits.sync_subscriptions (next_charge_at)
    WHERE active AND NOT is_gifted;
-- The question of every few seconds: who waits for credits?
CREATE INDEX sync_subscriptions_to_resume ON credits.sync_subscriptions (paused_at)
    WHERE auto_resume AND NOT active AND NOT is_gifted AND paused_at IS NOT NULL;
"""

BACK = """
DROP INDEX credits.sync_subscriptions_due, credits.sync_subscriptions_to_resume;
ALTER TABLE credits.sync_subscriptions
    DROP auto_resume, DROP anchor_day, DROP paid_from, DROP paid_until, DROP contact_email,
    DROP reminded_for, DROP problem, DROP problem_at;
"""


def upgrade() -> None:
    """New columns without a value or with a constant one, and two small indexes: moments, whatever the size."""
    op.execute(COLUMNS)


def downgrade() -> None:
    """Forget the notes; a paid period under a gift is lost."""
    op.execute(BACK)
