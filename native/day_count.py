# cython: language_level=3, cdivision=True
"""Counts of days that are additive from day to day, in the proleptic Gregorian calendar.

This file runs as Python and, compiled by Cython, as C. Days are signed 32-bit counts since 1970-01-01. A count is
relative to a fixed day long before the first one, so only differences have a meaning.
"""

import cython

# Multiples of 400 years keep all years positive, and leap years where they are. 1970-01-01 is day 719,528 of year 0.
_EPOCH = cython.declare(cython.longlong, 719_528 + 20_000 * 146_097)


def count_leap_days(day):
    """Return the number of days before a day that belong to leap years."""
    number: cython.ulonglong = day + _EPOCH
    year: cython.ulonglong = _year(number)
    leap_years: cython.ulonglong = _leap_years_before(year)
    within: cython.ulonglong = number - 365 * year - leap_years
    return 366 * leap_years + (within if _is_leap(year) else 0)


def count_thirty_days(day):
    """Return 360 Y + 30 M + min(D, 30) of a day, less a constant."""
    # Years that begin on March 1 end with the leap day. Of them, each century has 36524.25 days, and each year 365.25
    # within its century. Of the months from March on, five have 153 days: 31, 30, 31, 30 and 31.
    number: cython.ulonglong = 4 * (day + _EPOCH - 60) + 3
    century: cython.ulonglong = number // 146_097
    within: cython.ulonglong = (number - 146_097 * century) | 3
    year: cython.ulonglong = within // 1461
    left: cython.ulonglong = (within - 1461 * year) // 4
    month: cython.ulonglong = (5 * left + 2) // 153
    left = left - (153 * month + 2) // 5
    return 36_000 * century + 360 * year + 30 * month + (left if left < 29 else 29)


def is_in_leap_year(day):
    """Return whether a day belongs to a leap year."""
    return _is_leap(_year(day + _EPOCH))


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _is_leap(year: cython.ulonglong) -> cython.bint:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _leap_years_before(year: cython.ulonglong) -> cython.ulonglong:
    centuries: cython.ulonglong = (year + 99) // 100
    return (year + 3) // 4 - centuries + (centuries + 3) // 4


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _year(number: cython.ulonglong) -> cython.ulonglong:
    # Counted from March 1, as in `count_thirty_days`; the last two months belong to the next year.
    shifted: cython.ulonglong = 4 * (number - 60) + 3
    century: cython.ulonglong = shifted // 146_097
    within: cython.ulonglong = (shifted - 146_097 * century) | 3
    year: cython.ulonglong = within // 1461
    return 100 * century + year + ((within - 1461 * year) // 4 >= 306)
