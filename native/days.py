"""Dates as the core counts them: days since 1970-01-01, negative before."""

from datetime import date

_EPOCH = date(1970, 1, 1).toordinal()


def day_number(day: date) -> int:
    """Days from 1970-01-01 to `day`."""
    return day.toordinal() - _EPOCH


def day_of(number: int) -> date:
    """The date of a day number; ValueError outside the years 1 to 9999."""
    return date.fromordinal(number + _EPOCH)
