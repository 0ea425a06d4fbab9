"""A plan made while the tables were empty must not scan them for ever."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, Engine, text

from domain import ledger, reservations, usage_stats
from domain.ids import new_id
from tests.support.ledger import NOW, give, post, set_aside, take, words

ENTRIES = 200_000
USERS = 1_000
ROUNDS = 10  # the server settles for a plan after the fifth

CLEAR = ("DELETE FROM ops.usage_pending", "DELETE FROM credits.transactions", "DELETE FROM credits.balances")

# Half of the entries are one person's: hers must not be read one by one.
FILL = (
    f"""CREATE TEMP TABLE wanted ON COMMIT DROP AS
        SELECT 'user-' || mod(n, {USERS}) AS user_id, n / {USERS} + 1 AS version
        FROM generate_series(0, {ENTRIES // 2 - 1}) n
        UNION ALL SELECT 'hot', n FROM generate_series(1, {ENTRIES // 2}) n""",
    """INSERT INTO credits.balances (user_id, balance, total_earned, version)
       SELECT user_id, count(*), count(*), count(*) FROM wanted GROUP BY user_id""",
    """INSERT INTO credits.transactions (user_id, type, status, amount, balance_before, balance_after, version,
                                         earned_change, app_id, description, posting_key)
       SELECT user_id, 'grant', 'completed', 1, version - 1, version, version, 1, 'x', 'x', 'grant:' || version
       FROM wanted""",
)


def run_without_triggers(connection: Connection, *statements: str) -> None:
    """Rows in bulk, which no door is made for.  Commits."""
    connection.exec_driver_sql("SET LOCAL session_replication_role = 'replica'")
    for statement in statements:
        connection.exec_driver_sql(statement)
    connection.commit()


def counters(connection: Connection) -> tuple[int, int, int]:
    """Scans of whole tables, rows that those read, and rows that indexes gave, of the ledger's tables so far."""
    connection.execute(text("SELECT pg_stat_force_next_flush()"))
    connection.commit()
    connection.execute(text("SELECT pg_stat_clear_snapshot()"))
    scans, read, fetched = connection.execute(
        text("""SELECT sum(seq_scan), sum(seq_tup_read), sum(idx_tup_fetch) FROM pg_stat_user_tables
                WHERE schemaname = 'credits' AND relname IN ('balances', 'transactions')""")
    ).one()
    connection.commit()
    return int(scans), int(read), int(fetched)


def post_everything(connection: Connection) -> None:
    """Each kind of posting, in lists of one and of several, with used and unused keys."""
    users = ["hot", "user-1", "user-2"]
    lists = [
        [take("hot", 1)],
        [take("hot", 1, posting_key=f"use:{new_id(NOW)}")],
        [take("hot", 1, posting_key="use:again")],
        [take(user_id, 1, posting_key="use:again") for user_id in users],
        [give(user_id, 1, posting_key=f"grant:{new_id(NOW)}") for user_id in users],
        [give(user_id, 1, creates_balance=False) for user_id in users],
        [set_aside("hot", 0, id=new_id(NOW))],
    ]
    for postings in lists:
        outcomes = ledger.post(connection, postings, now=NOW)
        assert set(words(outcomes)) <= {"posted", "replayed", "no_balance", "insufficient"}
        connection.commit()


@pytest.mark.parametrize("young", ["never looked at", "known to be small"])
def test_the_door_keeps_to_index_look_ups_after_a_plan_on_young_tables(engine: Engine, young: str) -> None:
    if young == "known to be small":
        post(engine, give("first", 1))
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql("VACUUM ANALYZE credits.balances, credits.transactions")
    with engine.connect() as connection:
        for _ in range(ROUNDS):
            post_everything(connection)
        run_without_triggers(connection, *CLEAR, *FILL)
        before = counters(connection)
        for _ in range(ROUNDS):
            post_everything(connection)
        after = counters(connection)
    assert after[0] == before[0], "a whole table was scanned"
    # A posting looks at its balance a few times, and at the entry of its key.
    assert after[2] - before[2] < ROUNDS * 13 * 10, "an index gave far more rows than were asked for"


def test_reads_and_sweeps_find_their_rows_by_index(engine: Engine) -> None:
    """What runs for every request or every few seconds, looked at on big tables."""
    with engine.connect() as connection:
        run_without_triggers(connection, *FILL)
        connection.exec_driver_sql(
            """INSERT INTO credits.reservations (user_id, amount, reason, status, expires_at)
               SELECT 'user-1', 1, 'x', 'refunded', now() FROM generate_series(1, 20000)"""
        )
        connection.commit()
        connection.exec_driver_sql("ANALYZE credits.reservations, credits.transactions, credits.balances")
        connection.commit()
        before = counters(connection)
        ledger.balance_of(connection, "hot")
        ledger.entries_of(connection, "hot", limit=50)
        ledger.entries_of(connection, "hot", limit=50, before_version=100_000)
        reservations.release_expired(connection, reservations.Released(), now=NOW)
        usage_stats.roll_up(connection)
        connection.commit()
        after = counters(connection)
        scans = connection.execute(
            text("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'reservations'")
        ).scalar_one()
    assert after[0] == before[0]
    assert after[2] - before[2] < 200
    assert scans <= 20_000  # ANALYZE's own
