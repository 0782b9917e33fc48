"""A balance over time, as points: which days a reader wants to see, and what was owed on each."""

from calendar import monthrange
from collections.abc import Iterator
from datetime import date

from native import Timeline, day_number, to_date
from service.domain.date_range import DateRange
from service.errors import InvalidRequest

MAX_POINTS = 10_000
STEPS = ("change", "day", "month")


def balance_points(timeline: Timeline, span: DateRange, step: str) -> list[tuple[date, int]]:
    """What was owed at the end of days within the span, in their order: pairs of a day and minor units.

    step: `change` (the first day, and each on which the balance changed), `day` (each), `month` (the last day of each
    month within the span, and of the span).

    Raises: InvalidRequest for more than MAX_POINTS.
    """
    if step == "change":
        points = _changes(timeline, span)
        _check(len(points))
        return points
    _check(span.days if step == "day" else span.months)  # before any of them is made
    days = list(_days(span) if step == "day" else _month_ends(span))
    return list(zip(days, timeline.balances_at(map(day_number, days)), strict=True))


def _changes(timeline: Timeline, span: DateRange) -> list[tuple[date, int]]:
    points: list[tuple[date, int]] = []
    for day, balance in timeline.changes(day_number(span.first), day_number(span.last)):
        if not points or points[-1][1] != balance:  # events of one day may leave the balance where it was
            points.append((to_date(day), balance))
    return points


def _days(span: DateRange) -> Iterator[date]:
    first = day_number(span.first)
    return map(to_date, range(first, first + span.days))


def _month_ends(span: DateRange) -> Iterator[date]:
    for number in range(span.first.month - 1, span.first.month - 1 + span.months):
        year, month = span.first.year + number // 12, number % 12 + 1
        yield min(date(year, month, monthrange(year, month)[1]), span.last)


def _check(points: int) -> None:
    if points > MAX_POINTS:
        expected = f"expected at most {MAX_POINTS} points, and this would be {points}"
        raise InvalidRequest([("step", f"{expected}: ask for a shorter span, or a longer step")])
