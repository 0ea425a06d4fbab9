"""The operators' command line with Dramatiq's queues beside the jobs: `python -m nudges.operators`.

It has the commands of `python -m domain.operators`, and those that ask Redis, at REDIS_URL.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import typer
from redis.exceptions import RedisError

from domain.errors import DeadLetterNotFound
from domain.jobs import Queue
from domain.operators import audit
from domain.operators.audit import Action
from domain.operators.rows import PAGE_DEFAULT
from domain.operators.shell import acting, looking, webhooks
from domain.operators.shell.acting import Reason, Yes
from domain.operators.shell.frame import app, facts_table, rows_table, run, shell
from nudges.queues import DEAD_LETTERS_SHOWN_MAX, DeadLetter, Queues

Limit = typer.Option(PAGE_DEFAULT, min=1, max=DEAD_LETTERS_SHOWN_MAX, help="How many.")
Offset = typer.Option(0, min=0, help="How many to pass over.")

WORDS: Final = {Action.REQUEUE_DEAD_LETTER: "requeued", Action.DROP_DEAD_LETTER: "dropped"}


def add_to(commands: typer.Typer) -> None:
    """Make them commands."""
    for command in (queues, dead_letters, requeue, drop):
        commands.command(command.__name__.replace("_", "-"))(command)


def queues() -> None:
    """Dramatiq's own queues: how many messages are where.  The rows of jobs are what counts."""
    with _asked() as found:
        seen = found.seen([queue.value for queue in Queue])
    columns = ("name", "ready", "delayed", "unacked", "dead")
    shell().show(seen, lambda: rows_table("Queues", seen, columns))


def dead_letters(queue: Queue, limit: int = Limit, offset: int = Offset) -> None:
    """The dead letters of a queue, the newest first; they go by themselves after an hour."""
    with _asked() as found:
        seen = found.dead_letters(queue.value, limit=limit, offset=offset)
    columns = ("dead_at", "message_id", "actor", "job_id", "failure")
    shell().show(seen, lambda: rows_table(f"Dead letters of {queue.value}", seen, columns))


def requeue(queue: Queue, message_id: str, reason: str = Reason, yes: bool = Yes) -> None:
    """Put a dead letter back into its queue; its job runs when its row says that there is something to do."""
    _handle(queue, message_id, Action.REQUEUE_DEAD_LETTER, Queues.requeue, reason=reason, yes=yes)


def drop(queue: Queue, message_id: str, reason: str = Reason, yes: bool = Yes) -> None:
    """Throw a dead letter away; its job's row stays."""
    _handle(queue, message_id, Action.DROP_DEAD_LETTER, Queues.drop, reason=reason, yes=yes)


def _handle(
    queue: Queue,
    message_id: str,
    action: Action,
    handle: Callable[[Queues, str, str], DeadLetter],
    *,
    reason: str,
    yes: bool,
) -> None:
    """Show it, ask, audit that it begins, do it in Redis, audit how it ended."""
    reason = audit.check_may_act(shell().operator, reason)
    with _asked() as found:
        letter = found.dead_letter(queue.value, message_id)
    if not yes:
        shell().show(letter, lambda: facts_table("Dead letter", _facts(letter)))
        if not typer.confirm("Do it?", err=True):
            return
    with shell().connection() as connection:
        audit_id = audit.record(
            connection,
            by=shell().operator,
            action=action,
            reason=reason,
            outcome="begun",
            subject=f"{queue.value}/{message_id}"[:255],
            now=shell().clock(),
        )
    ended = "failed: Redis did not answer"
    try:
        with _asked() as found:
            done = handle(found, queue.value, message_id)
        ended = f"{WORDS[action]}, job {done.job_id}"
    except DeadLetterNotFound:
        ended = "not there any more"
        raise
    finally:
        with shell().connection() as connection:
            audit.conclude(connection, audit_id, ended)
    shell().show(done, lambda: facts_table(ended, _facts(done)))


def _facts(letter: DeadLetter) -> dict[str, Any]:
    return {name: getattr(letter, name) for name in letter.__struct_fields__}


@contextmanager
def _asked() -> Iterator[Queues]:
    """Redis, for one command; without it, the command says so and ends."""
    found = Queues(shell().settings.redis_url)
    try:
        yield found
    except (RedisError, OSError) as error:
        shell().fail(f"Redis does not answer ({type(error).__name__})")
    finally:
        found.close()


def main() -> int:
    """Run one command; 1 when it was refused, 2 when it was called wrongly."""
    looking.add_to(app)
    acting.add_to(app)
    webhooks.add_to(app)
    add_to(app)
    return run(lambda: datetime.now(UTC))


if __name__ == "__main__":
    sys.exit(main())
