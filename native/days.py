"""Conversion between dates and day numbers: days since 1970-01-01, negative before."""

from datetime import date

_EPOCH = date(1970, 1, 1).toordinal()


def day_number(day: date) -> int:
    """Return the number of days from 1970-01-01 to `day`."""
    return day.toordinal() - _EPOCH


def to_date(number: int) -> date:
    """Return the date of a day number.

    Raises:
        ValueError: If the date is outside the years 1 to 9999.
    """
    return date.fromordinal(number + _EPOCH)
