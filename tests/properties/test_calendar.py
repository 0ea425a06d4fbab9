"""The calendar of charges, for any date, interval and delay."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from domain.sync_billing.calendar import MONTHS, Interval, anchor_day_of, current_period, first_period

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe")
"""North and south, east and west; the last one's clocks change by half an hour."""

instants = st.datetimes(datetime(2000, 1, 1), datetime(2120, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
intervals = st.sampled_from(list(Interval))
delays = st.timedeltas(timedelta(0), timedelta(days=4000))


def dates(start: datetime, interval: Interval, count: int) -> list[datetime]:
    """The first dates of a subscription that is charged on time."""
    found = [first_period(start, interval).end]
    while len(found) < count:
        anchor = anchor_day_of(found[-1], start.day, start)
        found.append(current_period(found[-1], interval, anchor, found[-1]).end)
    return found


@given(instants, intervals)
def test_each_date_is_so_many_months_after_the_first_on_its_day_or_the_last_of_the_month(
    start: datetime, interval: Interval
) -> None:
    for number, date in enumerate(dates(start, interval, 15), 1):
        months = (date.year - start.year) * 12 + date.month - start.month
        assert months == number * MONTHS[interval]
        is_last_of_month = (date + timedelta(days=1)).month != date.month
        assert date.day == start.day or (is_last_of_month and date.day < start.day)
        assert date.timetz() == start.timetz()


@given(instants, intervals, delays)
def test_a_late_charge_pays_the_period_that_now_is_in_on_the_same_grid_as_a_punctual_one(
    start: datetime, interval: Interval, delay: timedelta
) -> None:
    due = first_period(start, interval).end
    now = due + delay
    period = current_period(due, interval, start.day, now)
    assert due <= period.start <= now < period.end
    punctual = [due, *dates(start, interval, 140)]
    grid = [date for date in punctual if date <= period.end]
    assert grid[-2:] == [period.start, period.end]


@given(instants, intervals, st.lists(st.timedeltas(timedelta(0), timedelta(days=100)), max_size=12))
def test_runs_at_any_times_charge_each_period_at_most_once_and_never_two_that_overlap(
    start: datetime, interval: Interval, gaps: list[timedelta]
) -> None:
    paid = [first_period(start, interval)]
    now = start
    for gap in gaps:
        now += gap
        if paid[-1].end <= now:
            anchor = anchor_day_of(paid[-1].end, start.day, start)
            paid.append(current_period(paid[-1].end, interval, anchor, now))
    for before, after in pairwise(paid):
        assert before.start < before.end <= after.start < after.end


@given(instants, intervals, st.sampled_from(ZONES).map(ZoneInfo))
def test_when_clocks_change_no_charge_is_skipped_doubled_or_moved_by_more_than_the_hour(
    start: datetime, interval: Interval, zone: ZoneInfo
) -> None:
    found = [start, *dates(start, interval, 13)]
    for before, after in pairwise(found):
        assert before < after
        walls = [one.astimezone(zone).replace(tzinfo=None) for one in (before, after)]
        on_the_wall = walls[1] - walls[0]
        assert abs(on_the_wall - (after - before)) <= timedelta(hours=1)
    assert len({(date.year, date.month) for date in found}) == len(found)


@given(instants, intervals, st.lists(intervals, max_size=8))
def test_changing_the_interval_keeps_the_day(
    start: datetime, interval: Interval, later: list[Interval]
) -> None:
    due = first_period(start, interval).end
    for changed in later:
        due = current_period(due, changed, anchor_day_of(due, start.day, start), due).end
        is_last_of_month = (due + timedelta(days=1)).month != due.month
        assert due.day == start.day or (is_last_of_month and due.day < start.day)
