"""The parts of a balance over time, with few enough points to draw them."""

from typing import NamedTuple

from native import Timeline, balance_parts, day_number
from service.domain.date_range import DateRange
from service.domain.history import month_ends

MAX_POINTS = 200
"""The most points of a history: each costs a walk over the events before it, and a chart has few pixels more."""
MIN_MONTHS = 36
"""The fewest months of a range for which ends of months are enough."""


class PartsPoint(NamedTuple):
    """The balance at the end of a day, and its parts, in minor units."""

    day: int
    balance: int
    parts: tuple[int, int, int]


class PartsHistory(NamedTuple):
    """The balance of a loan over a range of days.

    Attributes:
        points: In the order of the days.
        changes: The number of days on which the balance may have changed.
        every: The points are each of these days (1), each second one (2), and so on; 0 if they are ends of months.
        months: How many months are between two points; 0 if they are not ends of months.
    """

    points: list[PartsPoint]
    changes: int
    every: int
    months: int


def parts_history(timeline: Timeline, date_range: DateRange) -> PartsHistory:
    """Return the balances at the end of days within a range, with their parts.

    The days are the first one and each day on which the balance may have changed. If they are too many, some of them
    are left out at equal distances; of a long range, only ends of months are kept. The last day of the range is then
    a point, too.

    Args:
        timeline: The loan's events.
        date_range: The days to choose from.
    """
    first, last = day_number(date_range.first), day_number(date_range.last)
    changes = [day for day, _ in timeline.changes(first, last)]
    count = len(changes)
    if count <= MAX_POINTS:
        return PartsHistory(_points(timeline, changes), count, 1, 0)
    if date_range.months < MIN_MONTHS:
        every = -(-count // (MAX_POINTS - 1))
        return PartsHistory(_points(timeline, sorted({*changes[::every], last})), count, every, 0)
    months = -(-date_range.months // (MAX_POINTS - 1))
    ends = [day_number(day) for day in month_ends(date_range)]
    return PartsHistory(_points(timeline, sorted({first, *ends[::-1][::months]})), count, 0, months)


def _points(timeline: Timeline, days: list[int]) -> list[PartsPoint]:
    balances = timeline.balances_at(days)
    return [PartsPoint(day, balance, balance_parts(timeline, day)) for day, balance in zip(days, balances, strict=True)]
