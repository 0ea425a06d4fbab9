"""Ids: of the form that RFC 9562 gives version 7, different, and in the order in which they are made."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import RFC_4122, UUID

from domain.ids import new_id
from tests.support.ledger import NOW

MANY = 10_000


def milliseconds(made: UUID) -> int:
    return made.int >> 80


def test_an_id_is_a_uuid_of_version_7_with_its_time_in_front() -> None:
    made = new_id(NOW)
    assert (made.version, made.variant) == (7, RFC_4122)
    assert milliseconds(made) == int(NOW.timestamp() * 1000)


def test_ids_of_one_millisecond_are_in_the_order_in_which_they_were_made() -> None:
    made = [new_id(NOW) for _ in range(MANY)]
    assert made == sorted(made)
    assert {(one.version, one.variant, milliseconds(one)) for one in made} == {
        (7, RFC_4122, milliseconds(made[0]))
    }


def test_ids_of_times_that_are_used_in_turn_are_in_order_within_each() -> None:
    pairs = [(new_id(NOW), new_id(NOW + timedelta(milliseconds=5))) for _ in range(MANY)]
    earlier, later = [list(made) for made in zip(*pairs, strict=True)]
    # The clock's first step forward begins anew; from then on both go up.
    assert earlier[1:] == sorted(earlier[1:])
    assert later == sorted(later)
    assert max(earlier) < min(later)


def test_ids_of_several_threads_are_different() -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: new_id(NOW), range(MANY)))
    assert len(set(made)) == MANY


def test_a_process_that_was_forked_off_does_not_go_on_with_its_parents_ids() -> None:
    before = new_id(NOW)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, new_id(NOW).bytes)
        os._exit(0)
    os.waitpid(child, 0)
    of_the_child, of_ours = UUID(bytes=os.read(reading, 16)), new_id(NOW)
    os.close(reading)
    os.close(writing)
    # Within 2 ** 32 of the last one is what goes on from it.
    low_bits = (1 << 62) - 1
    assert (of_ours.int - before.int) & low_bits <= 1 << 32
    assert (of_the_child.int - before.int) & low_bits > 1 << 32
