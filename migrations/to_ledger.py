"""How the old service's rows become the ledger's, said once.

Revision 0002 does it for everybody in one transaction; migrations.adoption for a slice of the people at a time.
The statements come in order: the columns, what is carried over, the guards, the door.
"""

from __future__ import annotations

from typing import Final

import msgspec


class Slice(msgspec.Struct, frozen=True):
    """People by their ids, in the database's order: after `after` (None: from the first), up to `up_to` (None: all)."""

    after: str | None = None
    up_to: str | None = None

    def holds(self, column: str) -> str:
        """The condition in SQL that a column of ids is of these people; its values are `parameters`."""
        bounds = []
        if self.after is not None:
            bounds.append(f"{column} > %(after)s")
        if self.up_to is not None:
            bounds.append(f"{column} <= %(up_to)s")
        return " AND ".join(bounds) or "TRUE"

    @property
    def parameters(self) -> dict[str, str]:
        """The values in the condition."""
        bounds = {"after": self.after, "up_to": self.up_to}
        return {name: value for name, value in bounds.items() if value is not None}


EVERYBODY: Final = Slice()

COLUMNS: Final = {
    "balances": """
        ALTER TABLE credits.balances
            ALTER balance TYPE numeric(18,3), ALTER total_earned TYPE numeric(18,3),
            ALTER total_spent TYPE numeric(18,3), ALTER version TYPE bigint,
            ADD held numeric(18,3) NOT NULL DEFAULT 0,
            ADD CONSTRAINT balances_held_check CHECK (held >= 0);
        -- Room on each page for the next version of a row, so that an update stays on its page and touches no index.
        ALTER TABLE credits.balances SET (fillfactor = 70);
    """,
    "entries": """
        ALTER TABLE credits.transactions
            ALTER amount TYPE numeric(18,3), ALTER balance_before TYPE numeric(18,3),
            ALTER balance_after TYPE numeric(18,3),
            ADD version bigint,
            ADD held_after numeric(18,3) NOT NULL DEFAULT 0,
            ADD earned_change numeric(18,3) NOT NULL DEFAULT 0,
            ADD spent_change numeric(18,3) NOT NULL DEFAULT 0,
            ADD posting_key text;
    """,
    "usage statistics": """
        ALTER TABLE credits.usage_stats
            ALTER credits_used TYPE numeric(18,3),
            ADD is_rolled_up boolean NOT NULL DEFAULT false;
    """,
    "reservations": """
        ALTER TABLE credits.reservations
            ALTER amount TYPE numeric(18,3),
            ADD expires_at timestamptz,
            ADD is_expired boolean NOT NULL DEFAULT false;
    """,
    "new tables": """
        CREATE SCHEMA ops;
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
    """,
}
"""Exact amounts, and room for what the ledger adds.  Each rewrites its table once, under an exclusive lock."""


def carry_over(people: Slice) -> tuple[str, ...]:
    """The statements that make rows of these people the ledger's; run in order, in one transaction."""
    return (
        _EXPIRY.format(these=people.holds("user_id")),
        _BALANCES.format(these=people.holds("user_id")),
        _HELD.format(these=people.holds("user_id")),
        _ENTRIES.format(
            these=people.holds("e.user_id"),
            buyers=people.holds("p.user_id"),
            written=people.holds("t.user_id"),
        ),
        _OPENING.format(these=people.holds("user_id"), owners=people.holds("b.user_id")),
    )


# An open reservation of the old service never expired; it gets a day from now.
_EXPIRY: Final = """
    UPDATE credits.reservations
    SET expires_at = CASE WHEN status = 'reserved' THEN now() ELSE created_at END + interval '24 hours'
    WHERE {these}
"""
_BALANCES: Final = """
    INSERT INTO credits.balances (user_id)
    SELECT user_id FROM credits.transactions WHERE {these}
    UNION
    SELECT user_id FROM credits.reservations WHERE status = 'reserved' AND {these}
    ON CONFLICT DO NOTHING
"""
_HELD: Final = """
    UPDATE credits.balances b SET held = open.amount
    FROM (
        SELECT user_id, sum(amount) AS amount FROM credits.reservations
        WHERE status = 'reserved' AND {these} GROUP BY user_id
    ) open
    WHERE b.user_id = open.user_id
"""
# A purchase's key is given to an entry of its buyer alone, named by the purchase's id or else by its payment's.
_ENTRIES: Final = """
    WITH numbered AS (
        SELECT id,
               -- newest first, so that the newest is -1 and version 0 is left for the opening entry
               -row_number() OVER (PARTITION BY user_id ORDER BY created_at DESC, id DESC) AS version,
               -- the first row with a key owns it
               CASE WHEN key IS NOT NULL AND length(key) <= 300
                    AND row_number() OVER (PARTITION BY user_id, key ORDER BY created_at, id) = 1 THEN key END AS key
        FROM (
            SELECT e.id, e.user_id, e.created_at,
                   CASE
                       WHEN e.status <> 'completed' THEN NULL
                       WHEN e.type = 'usage' AND e.idempotency_key IS NOT NULL THEN 'use:' || e.idempotency_key
                       WHEN e.type = 'refund' AND e.idempotency_key IS NOT NULL THEN 'refund:' || e.idempotency_key
                       WHEN e.type = 'grant' THEN 'grant:' || (e.metadata ->> 'referenceId')
                       WHEN e.type = 'purchase' THEN 'purchase:' || p.id
                   END AS key
            FROM credits.transactions e
            LEFT JOIN credits.purchases p
                ON e.type = 'purchase' AND p.user_id = e.user_id AND {buyers}
                AND CASE WHEN e.metadata ->> 'purchaseId' IS NOT NULL THEN p.id::text = e.metadata ->> 'purchaseId'
                         ELSE p.stripe_payment_intent_id = e.metadata ->> 'paymentIntentId' END
            WHERE {these}
        ) keyed
    )
    UPDATE credits.transactions t
    SET version = n.version,
        posting_key = n.key,
        earned_change = CASE WHEN amount > 0 AND type IN ('purchase', 'grant', 'gift') THEN amount ELSE 0 END,
        spent_change = CASE WHEN amount < 0 THEN -amount ELSE 0 END
    FROM numbered n WHERE n.id = t.id AND {written}
"""
_OPENING: Final = """
    INSERT INTO credits.transactions (
        user_id, type, status, amount, balance_before, balance_after, held_after, version,
        earned_change, spent_change, app_id, description, metadata, created_at, completed_at)
    SELECT b.user_id, 'grant', 'completed',
           b.balance + b.held - e.amount, e.amount - b.held, b.balance, b.held, 0,
           b.total_earned - e.earned, b.total_spent - e.spent, 'system', 'Opening balance',
           '{{"source": "migration"}}', now(), now()
    FROM credits.balances b
    LEFT JOIN (
        SELECT user_id, sum(amount) AS amount, sum(earned_change) AS earned, sum(spent_change) AS spent
        FROM credits.transactions WHERE {these} GROUP BY user_id
    ) t USING (user_id)
    CROSS JOIN LATERAL (
        SELECT coalesce(t.amount, 0) AS amount, coalesce(t.earned, 0) AS earned, coalesce(t.spent, 0) AS spent
    ) e
    WHERE {owners} AND (
        (b.balance + b.held, b.total_earned, b.total_spent) <> (e.amount, e.earned, e.spent) OR b.balance < 0)
"""

GUARDS: Final = {
    "a date for each reservation": "ALTER TABLE credits.reservations ALTER expires_at SET NOT NULL",
    "a version for each entry": "ALTER TABLE credits.transactions ALTER version SET NOT NULL",
    # Versions from 1 on are ours and must be right; what was taken over is as it was.
    "arithmetic": """
        ALTER TABLE credits.transactions
            ADD CONSTRAINT transactions_arithmetic_check
                CHECK (version <= 0 OR balance_after = balance_before + amount),
            ADD CONSTRAINT transactions_completed_check CHECK (version <= 0 OR status = 'completed')
    """,
    "entries by version": """
        CREATE UNIQUE INDEX transactions_user_id_version_key ON credits.transactions (user_id, version)
    """,
    "entries by key": """
        CREATE UNIQUE INDEX transactions_user_id_posting_key_key ON credits.transactions (user_id, posting_key)
        WHERE posting_key IS NOT NULL
    """,
    "open reservations": """
        CREATE INDEX reservations_open_by_expiry ON credits.reservations (expires_at) WHERE status = 'reserved';
        CREATE INDEX reservations_open_by_user ON credits.reservations (user_id) WHERE status = 'reserved'
    """,
    "statistics by day": """
        CREATE UNIQUE INDEX usage_stats_rolled_up_key ON credits.usage_stats (user_id, app_id, date)
        WHERE is_rolled_up
    """,
}
"""What holds from here on.  Each reads its table once, or builds an index."""

DOOR: Final = """
-- One door: credits.post sets credits.posting while it runs.  A balance that a person or a script writes by
-- hand is not lost from the books: the difference becomes an entry of its own, in the same transaction.
CREATE FUNCTION credits.record_direct_write() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    difference numeric := NEW.balance + NEW.held;
    earned numeric := NEW.total_earned;
    spent numeric := NEW.total_spent;
    made bigint;
BEGIN
    PERFORM set_config('credits.posting', 'on', true);
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
    PERFORM set_config('credits.posting', 'off', true);
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
"""From here on only credits.post writes entries, and no balance changes without one."""
