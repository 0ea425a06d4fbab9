"""The awkward dates, in a table written by hand."""

from datetime import UTC, datetime

import pytest

from domain.sync_billing.calendar import Interval, Period, anchor_day_of, current_period, first_period, moved

MONTHLY, QUARTERLY, YEARLY = Interval.MONTHLY, Interval.QUARTERLY, Interval.YEARLY


def at(text: str) -> datetime:
    """`2026-01-31` or `2026-01-31 15:28:32.039`, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("interval", "dates"),
    [
        (MONTHLY, "2026-01-31 2026-02-28 2026-03-31 2026-04-30 2026-05-31 2026-06-30 2026-07-31"),
        (MONTHLY, "2027-12-31 2028-01-31 2028-02-29 2028-03-31"),
        (MONTHLY, "2027-12-30 2028-01-30 2028-02-29 2028-03-30"),
        (MONTHLY, "2026-11-29 2026-12-29 2027-01-29 2027-02-28 2027-03-29"),
        (MONTHLY, "2026-12-01 2027-01-01 2027-02-01"),
        (QUARTERLY, "2025-11-30 2026-02-28 2026-05-30 2026-08-30 2026-11-30 2027-02-28"),
        (QUARTERLY, "2027-11-30 2028-02-29 2028-05-30"),
        (QUARTERLY, "2026-01-31 2026-04-30 2026-07-31 2026-10-31 2027-01-31"),
        (YEARLY, "2024-02-29 2025-02-28 2026-02-28 2027-02-28 2028-02-29 2029-02-28"),
        (YEARLY, "2096-02-29 2097-02-28 2098-02-28 2099-02-28 2100-02-28 2101-02-28 2104-02-29"),
        (YEARLY, "2026-12-31 2027-12-31 2028-12-31"),
    ],
)
def test_charges_keep_the_day_they_began_on_or_the_months_last(interval: Interval, dates: str) -> None:
    wanted = [at(f"{date} 15:28:32.039") for date in dates.split()]
    start = wanted[0]
    period = first_period(start, interval)
    found = [start, period.end]
    while found[-1] < wanted[-1]:
        period = current_period(period.end, interval, start.day, period.end)
        found.append(period.end)
    assert [date for date in wanted if date not in found] == []
    if "2104" not in dates:  # that row leaves out the years 2102 and 2103
        assert found == wanted


@pytest.mark.parametrize(
    ("interval", "due", "anchor", "now", "charged", "following"),
    [
        (MONTHLY, "2026-01-31", 31, "2026-01-31", "2026-01-31", "2026-02-28"),
        (MONTHLY, "2026-01-31", 31, "2026-02-27 23:59:59", "2026-01-31", "2026-02-28"),
        (MONTHLY, "2026-01-31", 31, "2026-02-28", "2026-02-28", "2026-03-31"),
        (MONTHLY, "2026-01-31", 31, "2026-05-15", "2026-04-30", "2026-05-31"),
        (MONTHLY, "2026-02-28", 31, "2026-03-30 12:00", "2026-02-28", "2026-03-31"),
        (MONTHLY, "2026-02-28", 31, "2026-03-31", "2026-03-31", "2026-04-30"),
        (MONTHLY, "2025-12-15", 15, "2027-01-14 23:59:59.999", "2026-12-15", "2027-01-15"),
        (MONTHLY, "2025-12-15", 15, "2027-01-15", "2027-01-15", "2027-02-15"),
        (QUARTERLY, "2025-11-30", 30, "2026-05-29", "2026-02-28", "2026-05-30"),
        (QUARTERLY, "2025-11-30", 30, "2026-05-30", "2026-05-30", "2026-08-30"),
        (YEARLY, "2024-02-29", 29, "2028-02-28 23:00", "2027-02-28", "2028-02-29"),
        (YEARLY, "2024-02-29", 29, "2028-02-29", "2028-02-29", "2029-02-28"),
        (YEARLY, "2020-06-01", 1, "2026-05-31", "2025-06-01", "2026-06-01"),
    ],
)
def test_late_by_periods_the_newest_that_has_begun_is_charged_and_the_next_date_is_to_come(
    interval: Interval, due: str, anchor: int, now: str, charged: str, following: str
) -> None:
    assert current_period(at(due), interval, anchor, at(now)) == Period(at(charged), at(following))


@pytest.mark.parametrize(
    ("due", "kept", "activated", "anchor"),
    [
        ("2026-02-28", 31, "2026-01-31", 31),
        ("2026-02-28", None, "2026-01-31", 31),  # written by the old service, which cut the month short
        ("2026-03-03", None, "2026-01-31", 3),  # written by the old service, which let February run over
        ("2026-02-28", None, None, 28),
        ("2026-02-28", None, "2026-01-15", 28),
        ("2026-03-30", None, "2026-01-31", 30),
        ("2026-05-10", 31, "2026-01-31", 10),  # somebody moved the date by hand: the date counts
        ("2028-02-29", 29, "2024-02-29", 29),
        ("2027-02-28", 29, "2024-02-29", 29),
        ("2026-04-30", 30, "2026-01-31", 30),
    ],
)
def test_the_anchor_is_the_day_kept_or_else_what_the_row_lets_be_known(
    due: str, kept: int | None, activated: str | None, anchor: int
) -> None:
    assert anchor_day_of(at(due), kept, None if activated is None else at(activated)) == anchor


def test_a_date_given_with_another_offset_is_the_same_date_in_utc() -> None:
    berlin = datetime.fromisoformat("2026-04-01T00:30:00+02:00")  # still March in UTC
    assert first_period(berlin, MONTHLY) == Period(at("2026-03-31 22:30"), at("2026-04-30 22:30"))


def test_a_charge_that_is_not_due_is_refused() -> None:
    with pytest.raises(ValueError, match="not due"):
        current_period(at("2026-02-01"), MONTHLY, 1, at("2026-01-31 23:59:59.999999"))


def test_a_date_that_stood_still_moves_by_whole_minutes() -> None:
    due = at("2026-05-31 12:00:00.039")
    assert moved(due, at("2026-05-01"), at("2026-05-01 00:00:59.999")) == due
    assert moved(due, at("2026-05-01"), at("2026-05-11 01:02:03")) == at("2026-06-10 13:02:00.039")
    assert moved(due, at("2026-05-02"), at("2026-05-01")) == due
