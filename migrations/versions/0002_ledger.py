"""The ledger: exact amounts, entries in an unbroken chain, keys used once, holds that expire.

An old database keeps every row.  Its entries get versions below zero in the order they were written; where
they do not add up to the balance a person has, an opening entry of version 0 says the difference; one that
was below zero has such an entry too, so that the debt is known to have come over.

Locks: each table of `credits` is rewritten or updated once under an exclusive lock; measured at about 12 s
per million entries on two cores.  Stop the old service first (its integers would not fit anyway).
A large database is brought here by migrations.adoption, which does the same in steps.
"""

from __future__ import annotations

from alembic import op

from migrations.to_ledger import COLUMNS, DOOR, EVERYBODY, GUARDS, carry_over

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Whole credits again: a balance is rounded up, in the person's favour; an entry to the nearest.
BACK = """
-- Uses that wait to be added to the statistics would be gone with `ops`.
INSERT INTO credits.usage_stats (user_id, app_id, credits_used, date)
SELECT user_id, app_id, sum(credits_used), day::timestamp AT TIME ZONE 'UTC'
FROM ops.usage_pending GROUP BY user_id, app_id, day;
DROP FUNCTION IF EXISTS credits.post(json, timestamptz, numeric);
DROP FUNCTION credits.record_direct_write() CASCADE;
DROP FUNCTION credits.keep_version() CASCADE;
DROP FUNCTION credits.refuse_entry_change() CASCADE;
DROP INDEX credits.transactions_user_id_version_key, credits.transactions_user_id_posting_key_key,
    credits.reservations_open_by_expiry, credits.reservations_open_by_user, credits.usage_stats_rolled_up_key;
DELETE FROM credits.transactions WHERE version = 0 OR version > 0 AND amount = 0;
ALTER TABLE credits.transactions
    DROP CONSTRAINT transactions_arithmetic_check, DROP CONSTRAINT transactions_completed_check,
    DROP version, DROP held_after, DROP earned_change, DROP spent_change, DROP posting_key,
    ALTER amount TYPE integer USING round(amount), ALTER balance_before TYPE integer USING round(balance_before),
    ALTER balance_after TYPE integer USING round(balance_after);
ALTER TABLE credits.balances
    DROP CONSTRAINT balances_held_check, DROP held,
    ALTER balance TYPE integer USING ceil(balance), ALTER total_earned TYPE integer USING round(total_earned),
    ALTER total_spent TYPE integer USING round(total_spent), ALTER version TYPE integer;
ALTER TABLE credits.balances RESET (fillfactor);
ALTER TABLE credits.usage_stats DROP is_rolled_up, ALTER credits_used TYPE integer USING round(credits_used);
ALTER TABLE credits.reservations
    DROP expires_at, DROP is_expired, ALTER amount TYPE integer USING round(amount);
DROP SCHEMA ops CASCADE;
"""


def upgrade() -> None:
    """Carry the old schema and its rows to the ledger.  Exclusive locks on `credits`, until it commits."""
    for statement in (*COLUMNS.values(), *carry_over(EVERYBODY), *GUARDS.values(), DOOR):
        op.execute(statement)


def downgrade() -> None:
    """Back to the old schema.  Fractions are rounded, balances up; exclusive locks until it commits."""
    op.execute(BACK)
