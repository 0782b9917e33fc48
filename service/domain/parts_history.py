"""The parts of a balance over time, with few enough points to draw them."""

from typing import NamedTuple

from native import Timeline, balance_parts, day_number
from service.domain.date_range import DateRange
from service.domain.history import month_ends

MAX_POINTS = 400
"""The most points of a history. A year of daily changes fits."""


class PartsPoint(NamedTuple):
    """The balance at the end of a day, and its parts, in minor units."""

    day: int
    balance: int
    parts: tuple[int, int, int]


class PartsHistory(NamedTuple):
    """The balance of a loan over a range of days.

    Attributes:
        points: In the order of the days.
        months: How many months are between two points; 0 if each change has a point.
        changes: The number of days on which the balance may have changed.
    """

    points: list[PartsPoint]
    months: int
    changes: int


def parts_history(timeline: Timeline, date_range: DateRange) -> PartsHistory:
    """Return the balances at the end of days within a range, with their parts.

    The days are the first one and each day on which the balance may have changed. If they are too many, the days are
    the first one and ends of months, at equal distances that count from the end of the range.

    Args:
        timeline: The loan's events.
        date_range: The days to choose from.
    """
    first = day_number(date_range.first)
    changes = [day for day, _ in timeline.changes(first, day_number(date_range.last))]
    if len(changes) <= MAX_POINTS:
        return PartsHistory(_points(timeline, changes), 0, len(changes))
    months = -(-date_range.months // (MAX_POINTS - 1))
    days = [day_number(day) for day in month_ends(date_range)]
    kept = days[::-1][::months][::-1]
    return PartsHistory(_points(timeline, [first, *kept] if kept[0] != first else kept), months, len(changes))


def _points(timeline: Timeline, days: list[int]) -> list[PartsPoint]:
    balances = timeline.balances_at(days)
    return [PartsPoint(day, balance, balance_parts(timeline, day)) for day, balance in zip(days, balances, strict=True)]
