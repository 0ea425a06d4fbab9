"""Every revision goes up and down, and the schema it makes is the one that the code knows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import psycopg
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Enum
from sqlalchemy.schema import CreateSchema

from devkit.waiting import wait_until
from domain.database import make_engine
from domain.ledger.post import POST_FUNCTION_DIGEST
from domain.tables import metadata
from migrations.config import alembic_config
from migrations.revisions import head_revision, with_digest
from tests.migrations.old_service import TABLES, run_migrations

REVISIONS = [
    script.revision
    for script in ScriptDirectory.from_config(alembic_config("")).walk_revisions("base", "head")
][::-1]

# What there is, in words: columns, constraints, indexes, triggers, functions and types, outside of Alembic's own.
SCHEMA = """
    SELECT format('%s.%s.%s %s %s %s', table_schema, table_name, column_name,
                  concat_ws(' ', udt_name, numeric_precision, numeric_scale), is_nullable, column_default)
    FROM information_schema.columns WHERE table_schema IN ('credits', 'gifts', 'ops')
    UNION ALL
    SELECT format('%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE connamespace::regnamespace::text IN ('credits', 'gifts', 'ops')
    UNION ALL
    SELECT indexdef FROM pg_indexes WHERE schemaname IN ('credits', 'gifts', 'ops')
    UNION ALL
    SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT format('%s %s', proname, md5(prosrc)) FROM pg_proc
    WHERE pronamespace::regnamespace::text IN ('credits', 'gifts', 'ops')
    UNION ALL
    SELECT format('%s %s', typname, (SELECT string_agg(enumlabel, ' ' ORDER BY enumsortorder)
                                     FROM pg_enum WHERE enumtypid = t.oid))
    FROM pg_type t WHERE typtype = 'e'
    UNION ALL
    SELECT format('%s %s', relname, reloptions) FROM pg_class WHERE reloptions IS NOT NULL
        AND relnamespace::regnamespace::text IN ('credits', 'gifts', 'ops')
    UNION ALL
    SELECT nspname FROM pg_namespace WHERE nspname IN ('credits', 'gifts', 'ops')
"""

# What the code knows of a table, without what only the database does: columns, constraints, indexes.
KNOWN = r"""
    SELECT format('%%s %%s %%s %%s', column_name, concat_ws(' ', udt_name, numeric_precision, numeric_scale),
                  -- DEFAULT '0' is 0
                  is_nullable, regexp_replace(column_default, '^''([0-9]+)''::[a-z]+$', '\1'))
    FROM information_schema.columns WHERE table_schema || '.' || table_name = %(table)s
    UNION ALL
    SELECT format('%%s %%s', conname, pg_get_constraintdef(oid)) FROM pg_constraint WHERE conrelid = %(table)s::regclass
    UNION ALL
    SELECT indexdef FROM pg_indexes WHERE schemaname || '.' || tablename = %(table)s
"""


def lines(database_url: str, query: str, **parameters: str) -> set[str]:
    with psycopg.connect(database_url) as connection:
        cursor = connection.execute(query.encode(), parameters or None)
        return {row[0] for row in cursor.fetchall()}


def test_from_empty_up_and_down_and_up_again(empty_database_url: str) -> None:
    run_migrations(empty_database_url)
    first = lines(empty_database_url, SCHEMA)
    run_migrations(empty_database_url, "downgrade", "base")
    assert lines(empty_database_url, SCHEMA) == set()
    run_migrations(empty_database_url)
    assert lines(empty_database_url, SCHEMA) == first


def test_going_down_a_revision_leaves_the_schema_of_the_one_below(empty_database_url: str) -> None:
    """And going up again makes what going up made."""
    run_migrations(empty_database_url, "upgrade", REVISIONS[0])
    schema = without_the_door(lines(empty_database_url, SCHEMA))
    for below, revision in pairwise(REVISIONS):
        run_migrations(empty_database_url, "upgrade", revision)
        made = without_the_door(lines(empty_database_url, SCHEMA))
        assert made != schema, revision
        run_migrations(empty_database_url, "downgrade", below)
        assert without_the_door(lines(empty_database_url, SCHEMA)) == schema, revision
        run_migrations(empty_database_url, "upgrade", revision)
        assert without_the_door(lines(empty_database_url, SCHEMA)) == made, revision
        schema = made


def without_the_door(schema: set[str]) -> set[str]:
    """The ledger's function goes with the code and not with a revision."""
    return {line for line in schema if not line.startswith("post ")}


def test_the_oldest_revision_is_the_old_services_schema(empty_database_url: str) -> None:
    """By the contract's section 4, column by column."""
    run_migrations(empty_database_url, "upgrade", "0001")
    with psycopg.connect(empty_database_url) as connection:
        rows = connection.execute(
            """SELECT table_schema || '.' || table_name, string_agg(column_name, ', ' ORDER BY ordinal_position)
               FROM information_schema.columns WHERE table_schema IN ('credits', 'gifts') GROUP BY 1"""
        ).fetchall()
    assert dict(rows) == TABLES


def test_the_ledgers_function_in_a_migrated_database_is_the_codes(database_url: str) -> None:
    comment = "SELECT obj_description('credits.post'::regproc)"
    assert lines(database_url, comment) == {POST_FUNCTION_DIGEST}


def test_a_changed_function_is_put_in_place_by_migrating_though_no_revision_is_new(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("COMMENT ON FUNCTION credits.post(json, timestamptz, numeric) IS 'older'")
    run_migrations(database_url)
    comment = "SELECT obj_description('credits.post'::regproc)"
    assert lines(database_url, comment) == {f"{POST_FUNCTION_DIGEST} older"}


def test_going_back_to_an_older_function_forgets_the_newer_ones() -> None:
    placed: list[str] = []
    for digest in ("one", "two", "three"):
        placed = with_digest(placed, digest)
    assert placed == ["three", "two", "one"]
    assert with_digest(placed, "two") == ["two", "one"]
    assert with_digest(placed, "three") == placed


def test_a_migration_does_not_make_others_wait_for_who_is_in_its_way(
    database_url: str,
) -> None:
    """A lock that is waited for is one that everybody who comes after waits for."""
    run_migrations(database_url, "downgrade", "0007")
    with ThreadPoolExecutor(1) as pool, psycopg.connect(database_url) as writer:
        writer.execute("LOCK TABLE credits.purchases IN ROW EXCLUSIVE MODE")
        migrating = pool.submit(run_migrations, database_url)
        waits = "SELECT 'waits' FROM pg_locks WHERE NOT granted AND relation = 'credits.purchases'::regclass"
        assert wait_until(lambda: bool(lines(database_url, waits)), 60)
        assert wait_until(lambda: not lines(database_url, waits), 60), "it did not give up for a moment"
        assert not migrating.done()
        writer.rollback()
        migrating.result(60)
    assert lines(database_url, "SELECT version_num FROM alembic_version") == {head_revision()}


def test_alembic_sees_no_difference_between_the_tables_in_the_code_and_in_the_database(
    database_url: str,
) -> None:
    engine = make_engine(database_url, pool_size=1)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": is_another_type,
                "compare_server_default": True,
                "include_schemas": True,
                "include_object": is_ours,
            },
        )
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == head_revision()
    engine.dispose()


def is_another_type(context: Any, column: Any, found: Any, in_database: Any, in_code: Any) -> bool | None:
    """For enums, by name and labels: Alembic takes a schema on the search path for another one."""
    if isinstance(in_database, Enum) and isinstance(in_code, Enum):
        return (in_database.name, in_database.enums) != (in_code.name, in_code.enums)
    return None


def is_ours(item: Any, name: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:
    """Whether Alembic is to compare it: not its own table, nor a test's, nor one that the code does not use yet."""
    if kind != "table" or not reflected:
        return True
    return not (name == "alembic_version" or item.schema == "testing" or f"{item.schema}.{name}" in UNUSED)


UNUSED = set(TABLES) - {str(table) for table in metadata.sorted_tables}
"""Tables of the old service that this one keeps and does not touch yet."""


def test_the_tables_in_the_code_are_those_in_the_database_to_the_letter(
    database_url: str, empty_database_url: str
) -> None:
    """Types, defaults, checks and the conditions of indexes too: made from the code in an empty database."""
    engine = make_engine(empty_database_url, pool_size=1)
    with engine.begin() as connection:
        for schema in ("credits", "gifts", "ops"):
            connection.execute(CreateSchema(schema))
        enums = {
            column.type.name: column.type
            for table in metadata.sorted_tables
            for column in table.columns
            if isinstance(column.type, Enum)
        }
        for name, enum in enums.items():
            labels = ", ".join(f"'{label}'" for label in enum.enums)
            connection.exec_driver_sql(f"CREATE TYPE public.{name} AS ENUM ({labels})")
        metadata.create_all(connection)
    engine.dispose()
    for table in metadata.sorted_tables:
        in_code = lines(empty_database_url, KNOWN, table=str(table))
        in_database = lines(database_url, KNOWN, table=str(table))
        assert in_code == in_database, f"{table} differs"
