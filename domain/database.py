"""Connections to PostgreSQL: the engine for jobs and cold paths, the pool for the front's hot paths.

Most need a server process of their own for as long as they live: for locks that outlast a transaction, for asking
what became of a lost answer, for prepared statements.  A pooler of transactions gives none, so it is refused there.
The front's cold paths need one for a transaction alone, and may go through a pooler (`make_pooled_engine`).
"""

from __future__ import annotations

import select
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from decimal import Decimal
from typing import Any, Final

import msgspec
import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from sqlalchemy import Connection, Engine, QueuePool, create_engine, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DisconnectionError, OperationalError

from domain.errors import Refusal
from domain.nudge import Nudge, take_added
from domain.settings import Settings, SettingsError

STATEMENT_TIMEOUT_SECONDS: Final = 30
"""A statement that runs longer is ended: nothing here needs more, and what hangs would hold locks."""

LOCK_TIMEOUT_SECONDS: Final = 10
"""How long a statement waits for a row that another transaction holds, unless told otherwise."""

IDLE_IN_TRANSACTION_SECONDS: Final = 60
"""A transaction whose owner went silent (stopped, cut off) is ended, and its locks go."""

CONNECT_TIMEOUT_SECONDS: Final = 5

ASK_AGAIN_SECONDS: Final = 0.5
"""How often a pool is asked anew for a connection while there is none: so soon one is had once the database is back.
Not more often, for each try that fails is three lines in the log."""

POOLER_REFUSES: Final = "unsupported startup parameter"
"""What PgBouncer says of the time-outs that a direct connection begins with."""

SILENCE_SECONDS: Final = 25
"""Whoever fell silent for so long (the machine vanished, the network swallows everything) is gone: the service
thinks so of the server, and the server of the service, whose locks go then.  By default it is a quarter of an hour
for somebody who is being told something, and two hours for somebody who is waited for."""

PROBES: Final = 3
"""Questions whether somebody is still there, in the last three fifths of the silence."""

CONNECTIONS_OVER_MAX: Final = 2
"""Connections that an engine opens beyond its pool's size, for a moment of need."""


class BehindPooler(psycopg.OperationalError):
    """The address is that of a pooler of transactions, where PostgreSQL itself is needed."""

    def __init__(self) -> None:
        super().__init__(
            "DATABASE_URL leads to a pooler such as PgBouncer: set DATABASE_DIRECT_URL to PostgreSQL itself beside it"
        )


def _plain(value: object) -> object:
    # Amounts from the edge are of types of their own, which msgspec does not take for what they are.
    if isinstance(value, Decimal):
        return Decimal(value)
    raise NotImplementedError(type(value).__name__)


_json_encoder: Final = msgspec.json.Encoder(decimal_format="number", enc_hook=_plain)
_json_decoder: Final = msgspec.json.Decoder(float_hook=Decimal)


def _to_json(value: object) -> str:
    return _json_encoder.encode(value).decode()


def _from_json(text: str) -> object:
    # Numbers stay exact: a fraction is a Decimal, never a float.
    return _json_decoder.decode(text)


SESSION_SETTINGS: Final = {
    "statement_timeout": f"{STATEMENT_TIMEOUT_SECONDS}s",
    "lock_timeout": f"{LOCK_TIMEOUT_SECONDS}s",
    "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_SECONDS}s",
    "timezone": "UTC",
}
"""What each transaction through a pooler begins with, unless told otherwise: the session is somebody else's before and
after."""


def _silence() -> dict[str, int]:
    return {
        "keepalives_idle": SILENCE_SECONDS * 2 // 5,
        "keepalives_interval": SILENCE_SECONDS // 5,
        "keepalives_count": PROBES,
        "tcp_user_timeout": SILENCE_SECONDS * 1_000,
    }


def _session_options(statement_timeout_seconds: int, lock_timeout_seconds: int = LOCK_TIMEOUT_SECONDS) -> str:
    lock_seconds = lock_timeout_seconds if statement_timeout_seconds else 0
    return (
        f"-c statement_timeout={statement_timeout_seconds}s -c lock_timeout={lock_seconds}s"
        f" -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_SECONDS}s"
        f" -c tcp_keepalives_idle={SILENCE_SECONDS * 2 // 5} -c tcp_keepalives_interval={SILENCE_SECONDS // 5}"
        f" -c tcp_keepalives_count={PROBES}"
        # Keepalive is for connections on which nothing is under way.  An answer that nobody acknowledges, as when a
        # machine vanishes while it is sent, would hold the session and its locks for a quarter of an hour.
        f" -c tcp_user_timeout={SILENCE_SECONDS}s"
        " -c timezone=UTC -c client_encoding=UTF8"
    )


def make_engine(
    database_url: str,
    *,
    pool_size: int = 8,
    statement_timeout_seconds: int = STATEMENT_TIMEOUT_SECONDS,
    lock_timeout_seconds: int = LOCK_TIMEOUT_SECONDS,
    application_name: str = "mana-credits",
) -> Engine:
    """An engine on psycopg for a `postgresql://` URL.  A `statement_timeout_seconds` of 0 means none.

    Its connections raise BehindPooler, within SQLAlchemy's OperationalError, where they are not PostgreSQL's own.
    """
    options = _session_options(statement_timeout_seconds, lock_timeout_seconds)
    engine = _engine(database_url, pool_size, {"options": options, "application_name": application_name})
    event.listen(engine, "do_connect", _connect_directly)
    return engine


def make_pooled_engine(
    database_url: str,
    *,
    pool_size: int,
    lock_timeout_seconds: int = LOCK_TIMEOUT_SECONDS,
    application_name: str = "mana-credits",
) -> Engine:
    """An engine whose transactions may each run on another session: for the URL of a pooler."""
    engine = _engine(
        database_url,
        pool_size,
        # A statement that one session has prepared is unknown to the next.
        {"application_name": application_name, "prepare_threshold": None},
    )
    values = {**SESSION_SETTINGS, "lock_timeout": f"{lock_timeout_seconds}s"}
    settings = "; ".join(f"SET LOCAL {name} = '{value}'" for name, value in values.items())

    def begin(connection: Connection) -> None:
        # Also where the statement to come reads through a cursor of the server's.
        connection.exec_driver_sql(settings, execution_options={"stream_results": False, "yield_per": 0})

    event.listen(engine, "begin", begin)
    return engine


def _engine(database_url: str, pool_size: int, connect_args: dict[str, Any]) -> Engine:
    engine = create_engine(
        make_url(database_url).set(drivername="postgresql+psycopg"),
        pool_size=pool_size,
        max_overflow=CONNECTIONS_OVER_MAX,
        hide_parameters=True,  # the values of a statement are personal data, and errors go to the log
        json_serializer=_to_json,
        json_deserializer=_from_json,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_SECONDS, **_silence(), **connect_args},
    )
    event.listen(engine, "checkout", _refuse_dead)
    event.listen(engine, "handle_error", _keep_the_others)
    return engine


def _refuse_dead(connection: psycopg.Connection[Any], *_: object) -> None:
    """Let the pool replace the connection that it hands out when that is dead.

    A server that ended a connection has said so on it, and the kernel says when the machine fell silent: a look at
    the socket tells, where SQLAlchemy's own `pool_pre_ping` asks the server each time.
    """
    try:
        readable = select.poll()
        readable.register(connection.fileno(), select.POLLIN)
        if readable.poll(0):
            connection.execute("SELECT")
            connection.rollback()
    except psycopg.Error as error:
        raise DisconnectionError from error


def _keep_the_others(error: ExceptionContext) -> None:
    """Let the pool drop the one connection that broke: each of the others is looked at when it is handed out.

    By itself it drops all that were made before now, and goes by the wall clock: set back after that, every
    connection, however new, would be made anew at each checkout until the clock has caught up.
    """
    error.invalidate_pool_on_disconnect = False


def _connect_directly(dialect: Any, _record: Any, arguments: Any, parameters: Any) -> Any:
    try:
        connection = dialect.connect(*arguments, **parameters)
    except psycopg.OperationalError as error:
        if POOLER_REFUSES in str(error):
            raise BehindPooler from error
        raise
    connection.autocommit = True
    row = connection.execute(_BACKEND).fetchone()
    if row[0] != connection.info.backend_pid:
        connection.close()
        raise BehindPooler
    connection.autocommit = False
    return connection


_BACKEND: Final = "SELECT pg_backend_pid()"
"""A pooler tells its clients a process id of its own making."""


def check_is_direct(settings: Settings) -> None:
    """For the start of a process: SettingsError when `database_url` leads to a pooler.

    A database that does not answer now is no reason: it is tried again with every request.
    """
    engine = make_engine(settings.database_url, pool_size=1)
    try:
        with engine.connect():
            pass
    except OperationalError as error:
        if isinstance(error.orig, BehindPooler):
            raise SettingsError([str(error.orig)]) from error
    finally:
        engine.dispose()


def open_all(engine: Engine) -> None:
    """Open as many connections as the engine keeps, so that nobody waits for one later.

    Raises SQLAlchemy's OperationalError when the database does not answer; then each is opened when it is needed.
    """
    size = engine.pool.size() if isinstance(engine.pool, QueuePool) else 0
    with ExitStack() as all_at_once:
        for _ in range(size):
            all_at_once.enter_context(engine.connect())


def connections_in_use(engine: Engine) -> int:
    """How many of an engine's connections somebody holds."""
    return engine.pool.checkedout() if isinstance(engine.pool, QueuePool) else 0


def connections_max(engine: Engine) -> int:
    """How many connections an engine opens at most."""
    return engine.pool.size() + CONNECTIONS_OVER_MAX if isinstance(engine.pool, QueuePool) else 0


def make_async_pool(
    database_url: str,
    *,
    size: int,
    application_name: str = "mana-credits",
    lock_timeout_seconds: int = LOCK_TIMEOUT_SECONDS,
) -> AsyncConnectionPool[AsyncConnection[Any]]:
    """A closed pool of connections in autocommit mode: each statement is its own transaction.

    They are PostgreSQL's own: none is had where a pooler answers.
    """
    return AsyncConnectionPool(
        database_url,
        min_size=size,
        max_size=size,
        open=False,
        timeout=CONNECT_TIMEOUT_SECONDS,
        reconnect_timeout=0,
        configure=_check_is_direct,
        kwargs={
            "autocommit": True,
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "options": _session_options(STATEMENT_TIMEOUT_SECONDS, lock_timeout_seconds),
            "application_name": application_name,
            **_silence(),
        },
    )


async def _check_is_direct(connection: AsyncConnection[Any]) -> None:
    row = await (await connection.execute(_BACKEND)).fetchone()
    if row is None or row[0] != connection.info.backend_pid:
        raise BehindPooler


@asynccontextmanager
async def borrowed(
    pool: AsyncConnectionPool[AsyncConnection[Any]], *, timeout_seconds: float = CONNECT_TIMEOUT_SECONDS
) -> AsyncIterator[AsyncConnection[Any]]:
    """A connection of such a pool.  The pool's own way also commits, which in autocommit mode is time for nothing.

    Raises PoolTimeout.
    """
    try:
        connection = await pool.getconn(min(ASK_AGAIN_SECONDS, timeout_seconds))
    except PoolTimeout:
        connection = await _asked_for_again(pool, timeout_seconds - ASK_AGAIN_SECONDS)
    try:
        yield connection
    finally:
        await pool.putconn(connection)


async def _asked_for_again(
    pool: AsyncConnectionPool[AsyncConnection[Any]], seconds: float
) -> AsyncConnection[Any]:
    """The pool connects when it is asked, and gives up when that fails: who waits on would wait in vain."""
    deadline = time.monotonic() + seconds
    while True:
        left = deadline - time.monotonic()
        try:
            return await pool.getconn(min(ASK_AGAIN_SECONDS, left))
        except PoolTimeout:
            if left <= ASK_AGAIN_SECONDS:
                raise


@contextmanager
def one_by_one(connection: Connection) -> Iterator[None]:
    """Each statement is a transaction of its own, without an exchange for its BEGIN and one for its COMMIT.

    When one fails, the session is not to be used any more.
    """
    driver: Any = connection.connection.driver_connection
    driver.autocommit = True
    yield
    connection.commit()
    driver.autocommit = False


@contextmanager
def transaction(engine: Engine, nudge: Nudge | None = None) -> Iterator[Connection]:
    """The frame of every change: begins, hands out the connection, commits; the domain never commits.

    A refusal undoes what was written, unless it is one that is recorded.  Once it is committed, `nudge` is
    told of the jobs that were added; without it they wait a second for the relay.
    """
    with engine.connect() as connection:
        take_added(connection)  # forget those of a transaction before, on this pooled connection, that failed
        try:
            yield connection
        except Refusal as refusal:
            if not refusal.is_recorded:
                connection.rollback()
                raise
            _commit(connection, nudge)
            raise
        _commit(connection, nudge)


def _commit(connection: Connection, nudge: Nudge | None) -> None:
    connection.commit()
    added = take_added(connection)
    if nudge is not None and added:
        nudge(added)
