"""Books of any size, written in bulk and right: a database like one that the service has filled for a while.

A person `PREFIX-N` has one grant, then `uses` deductions of 2, one after the other in the order of time among
all people.  Triggers are off meanwhile, for they would write entries of their own; the invariants hold after.
"""

from __future__ import annotations

import psycopg

from bench.rig import CREDITS_EACH, Rig

USED = 2

BALANCES = """
INSERT INTO credits.balances (user_id, balance, total_earned, total_spent, version)
SELECT '{prefix}-' || g, {credits} - {uses} * {used}, {credits}, {uses} * {used}, 1 + {uses}
FROM generate_series({first}, {first} + {users} - 1) g
"""

ENTRIES = """
INSERT INTO credits.transactions (
    id, user_id, type, status, amount, balance_before, balance_after, version, earned_change, spent_change,
    app_id, description, metadata, created_at, completed_at)
SELECT
    (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(random, 1, 3) || 'a'
        || substr(random, 4, 15))::uuid,
    '{prefix}-' || g,
    CASE v WHEN 1 THEN 'grant' ELSE 'usage' END::public.transaction_type, 'completed',
    CASE v WHEN 1 THEN {credits} ELSE -{used} END,
    CASE v WHEN 1 THEN 0 ELSE {credits} - {used} * (v - 2) END,
    {credits} - {used} * (v - 1),
    v,
    CASE v WHEN 1 THEN {credits} ELSE 0 END, CASE v WHEN 1 THEN 0 ELSE {used} END,
    CASE v WHEN 1 THEN 'community' ELSE 'chat' END, CASE v WHEN 1 THEN 'Welcome' ELSE 'AI message' END,
    '{{"model":"small"}}', at, at
FROM generate_series(1, 1 + {uses}) v
CROSS JOIN generate_series({first}, {first} + {users} - 1) g
CROSS JOIN LATERAL (
    SELECT date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '{days} days'
           + interval '1 second' * ({days} * 86400 - 1)
             * (((v - 1)::float8 * {users} + g - {first}) / ((1 + {uses})::float8 * {users})) AS at,
           md5('{prefix}' || v || '-' || g) AS random
) one
"""

STATISTICS = """
INSERT INTO credits.usage_stats (user_id, app_id, credits_used, date, is_rolled_up)
SELECT '{prefix}-' || g, 'chat', {uses} * {used},
       (date_trunc('day', now() AT TIME ZONE 'UTC') - interval '1 day') AT TIME ZONE 'UTC', true
FROM generate_series({first}, {first} + {users} - 1) g WHERE {uses} > 0
"""


def fill(rig: Rig, *, users: int, uses: int, prefix: str = "user", first: int = 0, days: int = 1) -> None:
    """Add people `prefix-first` and on, with `1 + uses` entries each, of the last so many days.

    For more than one day no usage statistics are made: the fact about them alone does not hold then.
    """
    values = {
        "prefix": prefix,
        "first": first,
        "users": users,
        "uses": uses,
        "used": USED,
        "credits": CREDITS_EACH,
        "days": days,
    }
    with psycopg.connect(rig.url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET synchronous_commit = off")
        for statement in (BALANCES, ENTRIES, *(() if days > 1 else (STATISTICS,))):
            connection.execute(statement.format(**values).encode())
        connection.commit()
    rig.sql("VACUUM ANALYZE")
    rig.settle()
