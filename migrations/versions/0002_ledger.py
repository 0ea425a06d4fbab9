"""The ledger: exact amounts, entries in an unbroken chain, keys used once, holds that expire.

An old database keeps every row.  Its entries get versions below zero in the order they were written; where
they do not add up to the balance a person has, an opening entry of version 0 says the difference; one that
was below zero has such an entry too, so that the debt is known to have come over.

Locks: each table of `credits` is rewritten or updated once under an exclusive lock; measured at about 12 s
per million entries on two cores.  Stop the old service first (its integers would not fit anyway).
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

COLUMNS = """
CREATE SCHEMA ops;

ALTER TABLE credits.balances
    ALTER balance TYPE numeric(18,3), ALTER total_earned TYPE numeric(18,3),
    ALTER total_spent TYPE numeric(18,3), ALTER version TYPE bigint,
    ADD held numeric(18,3) NOT NULL DEFAULT 0,
    ADD CONSTRAINT balances_held_check CHECK (held >= 0);
-- Room on each page for the next version of a row, so that an update stays on its page and touches no index.
ALTER TABLE credits.balances SET (fillfactor = 70);

ALTER TABLE credits.transactions
    ALTER amount TYPE numeric(18,3), ALTER balance_before TYPE numeric(18,3),
    ALTER balance_after TYPE numeric(18,3),
    ADD version bigint,
    ADD held_after numeric(18,3) NOT NULL DEFAULT 0,
    ADD earned_change numeric(18,3) NOT NULL DEFAULT 0,
    ADD spent_change numeric(18,3) NOT NULL DEFAULT 0,
    ADD posting_key text;

ALTER TABLE credits.usage_stats
    ALTER credits_used TYPE numeric(18,3),
    ADD is_rolled_up boolean NOT NULL DEFAULT false;

ALTER TABLE credits.reservations
    ALTER amount TYPE numeric(18,3),
    ADD expires_at timestamptz,
    ADD is_expired boolean NOT NULL DEFAULT false;

CREATE TABLE ops.usage_pending (
    user_id text NOT NULL,
    app_id text NOT NULL,
    day date NOT NULL,
    credits_used numeric(18,3) NOT NULL
);
-- Emptied again every few seconds: clean it as often.
ALTER TABLE ops.usage_pending SET (
    autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_scale_factor = 1);
CREATE TABLE ops.idempotent_answers (
    user_id text NOT NULL,
    operation text NOT NULL,
    key text NOT NULL,
    request_digest text NOT NULL,
    answer json NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, operation, key)
);
"""

# What the old service kept becomes what the ledger keeps; the reasons stand in the module's docstring.
CARRY_OVER = """
-- An open reservation of the old service never expired; it gets a day from now.
UPDATE credits.reservations
SET expires_at = CASE WHEN status = 'reserved' THEN now() ELSE created_at END + interval '24 hours';

INSERT INTO credits.balances (user_id)
SELECT user_id FROM credits.transactions UNION SELECT user_id FROM credits.reservations WHERE status = 'reserved'
ON CONFLICT DO NOTHING;

UPDATE credits.balances b SET held = open.amount
FROM (SELECT user_id, sum(amount) AS amount FROM credits.reservations WHERE status = 'reserved' GROUP BY user_id) open
WHERE b.user_id = open.user_id;

WITH numbered AS (
    SELECT id,
           -- newest first, so that the newest is -1 and version 0 is left for the opening entry
           -row_number() OVER (PARTITION BY user_id ORDER BY created_at DESC, id DESC) AS version,
           -- the first row with a key owns it
           CASE WHEN key IS NOT NULL AND length(key) <= 300
                AND row_number() OVER (PARTITION BY user_id, key ORDER BY created_at, id) = 1 THEN key END AS key
    FROM (
        SELECT id, user_id, created_at,
               CASE
                   WHEN status <> 'completed' THEN NULL
                   WHEN type = 'usage' AND idempotency_key IS NOT NULL THEN 'use:' || idempotency_key
                   WHEN type = 'refund' AND idempotency_key IS NOT NULL THEN 'refund:' || idempotency_key
                   WHEN type = 'grant' THEN 'grant:' || (metadata ->> 'referenceId')
                   WHEN type = 'purchase' THEN 'purchase:' || (metadata ->> 'purchaseId')
               END AS key
        FROM credits.transactions
    ) keyed
)
UPDATE credits.transactions t
SET version = n.version,
    posting_key = n.key,
    earned_change = CASE WHEN amount > 0 AND type IN ('purchase', 'grant', 'gift') THEN amount ELSE 0 END,
    spent_change = CASE WHEN amount < 0 THEN -amount ELSE 0 END
FROM numbered n WHERE n.id = t.id;

INSERT INTO credits.transactions (
    user_id, type, status, amount, balance_before, balance_after, held_after, version,
    earned_change, spent_change, app_id, description, metadata, created_at, completed_at)
SELECT b.user_id, 'grant', 'completed',
       b.balance + b.held - e.amount, e.amount - b.held, b.balance, b.held, 0,
       b.total_earned - e.earned, b.total_spent - e.spent, 'system', 'Opening balance',
       '{"source": "migration"}', now(), now()
FROM credits.balances b
LEFT JOIN (
    SELECT user_id, sum(amount) AS amount, sum(earned_change) AS earned, sum(spent_change) AS spent
    FROM credits.transactions GROUP BY user_id
) t USING (user_id)
CROSS JOIN LATERAL (
    SELECT coalesce(t.amount, 0) AS amount, coalesce(t.earned, 0) AS earned, coalesce(t.spent, 0) AS spent
) e
WHERE (b.balance + b.held, b.total_earned, b.total_spent) <> (e.amount, e.earned, e.spent) OR b.balance < 0;

ALTER TABLE credits.reservations ALTER expires_at SET NOT NULL;
ALTER TABLE credits.transactions ALTER version SET NOT NULL;
"""

GUARDS = """
-- Versions from 1 on are ours and must be right; what was taken over is as it was.
ALTER TABLE credits.transactions
    ADD CONSTRAINT transactions_arithmetic_check CHECK (version <= 0 OR balance_after = balance_before + amount),
    ADD CONSTRAINT transactions_completed_check CHECK (version <= 0 OR status = 'completed');
CREATE UNIQUE INDEX transactions_user_id_version_key ON credits.transactions (user_id, version);
CREATE UNIQUE INDEX transactions_user_id_posting_key_key ON credits.transactions (user_id, posting_key)
    WHERE posting_key IS NOT NULL;
CREATE INDEX reservations_open_by_expiry ON credits.reservations (expires_at) WHERE status = 'reserved';
CREATE INDEX reservations_open_by_user ON credits.reservations (user_id) WHERE status = 'reserved';
CREATE UNIQUE INDEX usage_stats_rolled_up_key ON credits.usage_stats (user_id, app_id, date) WHERE is_rolled_up;

-- One door: credits.post sets credits.posting while it runs.  A balance that a person or a script writes by
-- hand is not lost from the books: the difference becomes an entry of its own, in the same transaction.
CREATE FUNCTION credits.record_direct_write() RETURNS trigger LANGUAGE plpgsql
SET credits.posting = 'on'
AS $$
DECLARE
    difference numeric := NEW.balance + NEW.held;
    earned numeric := NEW.total_earned;
    spent numeric := NEW.total_spent;
    made bigint;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        difference := difference - OLD.balance - OLD.held;
        earned := earned - OLD.total_earned;
        spent := spent - OLD.total_spent;
    END IF;
    made := 1 + greatest(NEW.version, coalesce(
        (SELECT max(version) FROM credits.transactions WHERE user_id = NEW.user_id), 0));
    UPDATE credits.balances SET version = made WHERE user_id = NEW.user_id;
    INSERT INTO credits.transactions (
        user_id, type, status, amount, balance_before, balance_after, held_after, version,
        earned_change, spent_change, app_id, description, metadata, created_at, completed_at)
    VALUES (
        NEW.user_id, 'grant', 'completed', difference, NEW.balance - difference, NEW.balance, NEW.held, made,
        earned, spent, 'system', 'Balance written outside the ledger',
        jsonb_build_object('source', 'direct_write', 'by', current_user), clock_timestamp(), clock_timestamp());
    RETURN NULL;
END $$;
-- A script that sets `version` too may set it back, and versions would then be given twice: it stays.
CREATE FUNCTION credits.keep_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := OLD.version;
    RETURN NEW;
END $$;
CREATE TRIGGER version_stays BEFORE UPDATE ON credits.balances FOR EACH ROW
    WHEN (NEW.version < OLD.version) EXECUTE FUNCTION credits.keep_version();
CREATE TRIGGER direct_insert AFTER INSERT ON credits.balances FOR EACH ROW
    WHEN ((NEW.balance, NEW.held, NEW.total_earned, NEW.total_spent) <> (0, 0, 0, 0))
    EXECUTE FUNCTION credits.record_direct_write();
CREATE TRIGGER direct_update AFTER UPDATE ON credits.balances FOR EACH ROW
    WHEN (current_setting('credits.posting', true) IS DISTINCT FROM 'on'
          AND (NEW.balance, NEW.held, NEW.total_earned, NEW.total_spent)
              <> (OLD.balance, OLD.held, OLD.total_earned, OLD.total_spent))
    EXECUTE FUNCTION credits.record_direct_write();

-- Entries are written by the door alone and never change; erasure may take personal data out of them.
CREATE FUNCTION credits.refuse_entry_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'entries are written by credits.post and never changed (% on %)', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER entries_by_the_door BEFORE INSERT ON credits.transactions FOR EACH STATEMENT
    WHEN (current_setting('credits.posting', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION credits.refuse_entry_change();
CREATE TRIGGER entries_stay BEFORE DELETE OR TRUNCATE OR UPDATE OF
    id, type, status, amount, balance_before, balance_after, held_after, version, earned_change, spent_change,
    created_at
    ON credits.transactions FOR EACH STATEMENT EXECUTE FUNCTION credits.refuse_entry_change();
"""

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
    op.execute(COLUMNS)
    op.execute(CARRY_OVER)
    op.execute(GUARDS)


def downgrade() -> None:
    """Back to the old schema.  Fractions are rounded, balances up; exclusive locks until it commits."""
    op.execute(BACK)
