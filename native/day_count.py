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
    number: cython.longlong = day + _EPOCH
    year: cython.longlong = _year(number)
    leap_years: cython.longlong = _leap_years_before(year)
    return 366 * leap_years + (number - _first_day(year) if _is_leap(year) else 0)


def count_thirty_days(day):
    """Return 360 Y + 30 M + min(D, 30) of a day."""
    number: cython.longlong = day + _EPOCH
    year: cython.longlong = _year(number)
    february: cython.longlong = 28 + _is_leap(year)
    left: cython.longlong = number - _first_day(year)  # days since January 1
    month: cython.longlong
    if left < 31 + february:
        month = left // 31
        left = left - 31 * month
    else:
        # From March on, five months have 153 days: 31, 30, 31, 30 and 31.
        left = left - 31 - february
        month = (5 * left + 2) // 153
        left = left - (153 * month + 2) // 5
        month = month + 2
    return 360 * year + 30 * (month + 1) + (left + 1 if left < 30 else 30)


def is_in_leap_year(day):
    """Return whether a day belongs to a leap year."""
    return _is_leap(_year(day + _EPOCH))


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _is_leap(year: cython.longlong) -> cython.bint:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _leap_years_before(year: cython.longlong) -> cython.longlong:
    return (year + 3) // 4 - (year + 99) // 100 + (year + 399) // 400


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _first_day(year: cython.longlong) -> cython.longlong:
    return 365 * year + _leap_years_before(year)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _year(number: cython.longlong) -> cython.longlong:
    # The mean length of a year is 146097 / 400 days. No year begins more than two days from its mean beginning.
    year: cython.longlong = 400 * number // 146_097
    if _first_day(year) > number:
        return year - 1
    if _first_day(year + 1) <= number:
        return year + 1
    return year
