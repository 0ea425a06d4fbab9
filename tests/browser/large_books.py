"""Fill an empty migrated database with large books: 200,000 entries, 50,000 jobs, 1,000 of them failed, and more.

By hand: `python -m tests.browser.large_books postgresql://…`; tests use it where LARGE_BOOKS is set.
Its entries chain, and its balances are their sums.
"""

import sys
from datetime import UTC, datetime

import psycopg
from sqlalchemy import Engine

from domain.database import transaction
from domain.operators import figures
from tests.support.jobs import engine_on

PEOPLE = 2_000
ENTRIES_OF_EACH = 100
JOBS = 50_000
FAILED = 1_000
SUBSCRIPTIONS = 1_500

# A purchase begins each person's entries; uses and some refunds follow, over forty days up to now.
LEDGER = """
CREATE TEMP TABLE p AS
    SELECT n, 'user-' || lpad(n::text, 5, '0') AS user_id, gen_random_uuid() AS purchase_id
    FROM generate_series(1, {people}) n;
INSERT INTO credits.packages (id, name, credits, price_euro_cents)
    VALUES ('00000000-0000-4000-8000-000000000001', 'Thousand', 1000, 900);
INSERT INTO credits.purchases (id, user_id, package_id, credits, price_euro_cents, stripe_payment_intent_id,
                               status, created_at, completed_at)
    SELECT purchase_id, user_id, '00000000-0000-4000-8000-000000000001', 1000, 900, 'pi_large' || n, 'completed',
           now() - ((n % 40) || ' days')::interval - interval '30 minutes',
           now() - ((n % 40) || ' days')::interval - interval '29 minutes'
    FROM p;
CREATE TEMP TABLE e AS
    SELECT p.user_id, v AS version, p.purchase_id, p.n,
           CASE WHEN v = 1 THEN 1000 WHEN v % 25 = 0 THEN 1.5 ELSE -(1 + (p.n * v) % 50 / 10.0) END
               ::numeric(18,3) AS amount,
           CASE WHEN v = 1 THEN 'purchase' WHEN v % 25 = 0 THEN 'refund' ELSE 'usage' END AS type,
           now() - ((p.n % 40) || ' days')::interval * (1 - (v - 1)::float / {entries}) - interval '29 minutes' AS at
    FROM p, generate_series(1, {entries}) v;
INSERT INTO credits.transactions (id, user_id, type, status, amount, balance_before, balance_after, app_id,
        description, created_at, completed_at, version, earned_change, spent_change, posting_key)
    SELECT gen_random_uuid(), user_id, type::transaction_type, 'completed', amount, sum - amount, sum,
           CASE type WHEN 'purchase' THEN 'stripe' ELSE (ARRAY['chat', 'picture', 'research'])[1 + version % 3] END,
           CASE type WHEN 'purchase' THEN 'Credits bought' ELSE 'AI message' END, at, at, version,
           CASE type WHEN 'purchase' THEN amount ELSE 0 END, CASE type WHEN 'purchase' THEN 0 ELSE -amount END,
           CASE type WHEN 'purchase' THEN 'purchase:' || purchase_id END
    FROM (SELECT *, sum(amount) OVER (PARTITION BY user_id ORDER BY version) FROM e) s ORDER BY at;
INSERT INTO credits.balances (user_id, balance, total_earned, total_spent, version)
    SELECT user_id, sum(amount), sum(amount) FILTER (WHERE type = 'purchase'),
           -sum(amount) FILTER (WHERE type <> 'purchase'), max(version) FROM e GROUP BY user_id;
INSERT INTO credits.usage_stats (user_id, app_id, credits_used, date, is_rolled_up)
    SELECT user_id, app_id, -sum(amount), date_trunc('day', created_at, 'UTC'), true
    FROM credits.transactions WHERE type = 'usage' GROUP BY 1, 2, 4;
INSERT INTO credits.stripe_customers (user_id, stripe_customer_id, email)
    SELECT user_id, 'cus_large' || n, user_id || '@example.com' FROM p;
"""

# Ids as the service makes them: they sort by their time.
WORK = """
CREATE FUNCTION pg_temp.id_at(at timestamptz, n int) RETURNS uuid LANGUAGE sql AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3)
            || '8' || substr(md5(n::text), 4, 15))::uuid
$$;
INSERT INTO ops.jobs (id, kind, queue, payload, state, user_id, subject, horizon, created_at, run_at, nudge_at,
                      started_at, finished_at, attempts, attempts_ended, last_error, errors)
    SELECT pg_temp.id_at(at, n), (ARRAY['handle_stripe_event', 'refund_credits', 'redeem_pending_gifts'])[1 + n % 3],
           'money', jsonb_build_object('user_id', 'user-' || lpad((1 + n % {people})::text, 5, '0')),
           CASE WHEN is_failed THEN 'failed' WHEN n % 5000 = 1 THEN 'waiting' ELSE 'done' END,
           'user-' || lpad((1 + n % {people})::text, 5, '0'), NULL, '1 hour', at, at, at, at,
           CASE WHEN NOT is_failed AND n % 5000 = 1 THEN NULL ELSE at + interval '80 ms' END,
           CASE WHEN is_failed THEN 5 ELSE 1 END, CASE WHEN is_failed THEN 5 ELSE 1 END,
           CASE WHEN is_failed THEN 'PaymentProviderUnavailable: the answer was cut off' END,
           CASE WHEN is_failed THEN jsonb_build_array(jsonb_build_object(
               'at', to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
               'attempt', 5, 'error', 'PaymentProviderUnavailable: the answer was cut off',
               'where', jsonb_build_array('domain/stripe_gateway.py:88 in _call')))
           ELSE '[]'::jsonb END
    FROM (SELECT n, n % ({jobs} / {failed}) = 0 AS is_failed, now() - (n * interval '10 seconds') AS at
          FROM generate_series(1, {jobs}) n) j;
INSERT INTO ops.stripe_events (id, type, stripe_created, livemode, payload, payment_intent_id, purchase_id, source,
                               received_at, handled_at, outcome)
    SELECT 'evt_large' || n, 'payment_intent.succeeded', created_at, true,
           jsonb_build_object('id', 'evt_large' || n, 'type', 'payment_intent.succeeded'), 'pi_large' || n,
           purchase_id, 'webhook', completed_at, completed_at, 'fulfilled'
    FROM p JOIN credits.purchases ON purchases.id = purchase_id;
INSERT INTO credits.sync_subscriptions (user_id, active, billing_interval, amount_charged, activated_at,
                                        next_charge_at, paused_at, is_gifted)
    SELECT user_id, n % 10 <> 0, (ARRAY['monthly', 'quarterly', 'yearly'])[1 + n % 3]::sync_billing_interval, 30,
           now() - interval '40 days', CASE WHEN n % 7 <> 0 THEN now() + (n % 60 - 1) * interval '1 day' END,
           CASE WHEN n % 10 = 0 THEN now() - interval '3 days' END, n % 7 = 0 AND n % 10 <> 0
    FROM p WHERE n <= {subscriptions};
INSERT INTO ops.audit (id, at, actor, action, user_id, reason, outcome)
    SELECT pg_temp.id_at(now() - n * interval '1 hour', n), now() - n * interval '1 hour', 'login:anna',
           'retry_job', user_id, 'ticket ' || n, 'refund_credits runs again, it was failed' FROM p WHERE n <= 500;
"""


def fill(database_url: str) -> None:
    """Fill it: some ten seconds."""
    numbers = {
        "people": PEOPLE,
        "entries": ENTRIES_OF_EACH,
        "jobs": JOBS,
        "failed": FAILED,
        "subscriptions": SUBSCRIPTIONS,
    }
    with psycopg.connect(database_url) as connection:
        # The ledger is written by its door alone: a trigger says so, and a test may stand above it.
        connection.execute("SET session_replication_role = replica")
        for part in (LEDGER, WORK):
            connection.execute(part.format(**numbers).encode())
    with engine_on(database_url) as engine:
        while keep_figures(engine):
            pass
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def keep_figures(engine: Engine) -> int:
    """As the scheduler does every half minute; how many hours were kept."""
    with transaction(engine) as connection:
        return figures.keep(connection, now=datetime.now(UTC))


if __name__ == "__main__":
    fill(sys.argv[1])
