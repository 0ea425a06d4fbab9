"""A short run of `./dev drill restore`."""

from __future__ import annotations

import asyncio

from tests.production.drill import drill, lost_of

SECONDS = 4.0


def test_a_use_that_is_lost_or_is_another_would_be_found() -> None:
    told = {"one": "id-1", "two": "id-2"}
    assert lost_of(told, {"id-1": "one", "id-2": "two", "id-3": "not told"}) == []
    assert "1 acknowledged" in lost_of(told, {"id-1": "one"})[0]
    assert "1 acknowledged" in lost_of(told, {"id-1": "one", "id-2": "one"})[0]


async def test_what_was_acknowledged_is_in_every_backup_and_a_service_goes_on_from_it() -> None:
    result = await asyncio.wait_for(drill(SECONDS, print, is_short=True), 300)
    assert result.findings == []
    assert result.acknowledged > 200
    assert [one.must_hold > 50 for one in result.backups] == [True] * 3
    assert result.backups[-1].must_hold == result.acknowledged
