"""The due dates of a schedule: every n months, on one day of the month or on its last day."""

from calendar import monthrange
from datetime import date


def due_dates(first: date, count: int, every_months: int, *, end_of_month: bool = False) -> list[date]:
    """Return due dates at equal intervals of months.

    Args:
        first: The first due date. Later ones are on its day of the month, or on the last day of a shorter month.
        count: How many dates.
        every_months: The number of months between them.
        end_of_month: Whether each is the last day of its month.

    Raises:
        ValueError: If a date is after 9999-12-31, or the first is not at the end of its month but should be.
    """
    if end_of_month and first.day != monthrange(first.year, first.month)[1]:
        raise ValueError("expected a first due date on the last day of its month, because of end_of_month")
    first_month = 12 * first.year + first.month - 1
    if (first_month + (count - 1) * every_months) // 12 > date.max.year:
        raise ValueError(f"expected due dates up to {date.max.isoformat()}")
    dates = []
    for number in range(count):
        year, month = divmod(first_month + number * every_months, 12)
        last_day = monthrange(year, month + 1)[1]
        dates.append(date(year, month + 1, last_day if end_of_month else min(first.day, last_day)))
    return dates
