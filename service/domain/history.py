"""A balance over time, as points: days and the balances at their end."""

from calendar import monthrange
from collections.abc import Iterator
from datetime import date

from native import Timeline, day_number, to_date
from service.domain.date_range import DateRange
from service.errors import InvalidRequest

MAX_POINTS = 10_000
STEPS = ("change", "day", "month")


def balance_points(timeline: Timeline, date_range: DateRange, step: str) -> list[tuple[date, int]]:
    """Return the balances at the end of days within a range.

    Args:
        timeline: The loan's events.
        date_range: The days to choose from.
        step: `change` (the first day, and each day on which the balance changed), `day` (each day) or `month` (the
            last day of each month, and the last day of the range).

    Returns:
        Pairs of a day and a balance in minor units, in the order of the days.

    Raises:
        InvalidRequest: If there would be more than MAX_POINTS.
    """
    if step == "change":
        points = _changes(timeline, date_range)
        _check_count(len(points))
        return points
    # Check first: a long range is rejected before its days are computed.
    _check_count(date_range.days if step == "day" else date_range.months)
    days = list(_days(date_range) if step == "day" else month_ends(date_range))
    return list(zip(days, timeline.balances_at(map(day_number, days)), strict=True))


def _changes(timeline: Timeline, date_range: DateRange) -> list[tuple[date, int]]:
    points: list[tuple[date, int]] = []
    for day, balance in timeline.changes(day_number(date_range.first), day_number(date_range.last)):
        if not points or points[-1][1] != balance:  # the events of a day may cancel each other
            points.append((to_date(day), balance))
    return points


def _days(date_range: DateRange) -> Iterator[date]:
    first = day_number(date_range.first)
    return map(to_date, range(first, first + date_range.days))


def month_ends(date_range: DateRange) -> Iterator[date]:
    """Yield the last day of each month of a range, and the last day of the range instead of its last month's."""
    first_month = date_range.first.month - 1
    for number in range(first_month, first_month + date_range.months):
        year, month = date_range.first.year + number // 12, number % 12 + 1
        yield min(date(year, month, monthrange(year, month)[1]), date_range.last)


def _check_count(points: int) -> None:
    if points > MAX_POINTS:
        detail = f"expected at most {MAX_POINTS} points, got {points}: use a shorter date range or a longer step"
        raise InvalidRequest([("step", detail)])
