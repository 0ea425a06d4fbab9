"""Cloud Sync: what renewals, gifts over a paid period, resuming and reminders note with a subscription.

Rows of the old service and of other teams' scripts lack the notes, and are understood without them
(domain.sync_billing.calendar.anchor_day_of).  Nothing is rewritten but one thing: an active subscription that
the old service gave no date, and so charged never, gets its next anniversary; the time before is not charged.
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

TAKE_OVER = """
UPDATE credits.sync_subscriptions s SET next_charge_at = next.date AT TIME ZONE 'UTC'
FROM credits.sync_subscriptions o
CROSS JOIN LATERAL (
    SELECT now() AT TIME ZONE 'UTC' AS today, coalesce(o.activated_at, now()) AT TIME ZONE 'UTC' AS began,
           CASE o.billing_interval WHEN 'monthly' THEN 1 WHEN 'quarterly' THEN 3 ELSE 12 END AS step
) facts
CROSS JOIN LATERAL (
    SELECT greatest(0, (extract(year FROM today) - extract(year FROM began))::int * 12
                       + (extract(month FROM today) - extract(month FROM began))::int) / step AS passed
) past
CROSS JOIN LATERAL (
    SELECT min(began + make_interval(months => step * n)) AS date
    FROM generate_series(passed, passed + 1) n WHERE began + make_interval(months => step * n) > today
) next
WHERE s.user_id = o.user_id AND o.active AND NOT o.is_gifted AND o.next_charge_at IS NULL;
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
    op.execute(TAKE_OVER)


def downgrade() -> None:
    """Forget the notes; a paid period under a gift is lost."""
    op.execute(BACK)
