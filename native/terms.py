# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The terms of a loan over time: rate, day count, order of allocation and grace days, from a day on.

This file runs as Python and, compiled by Cython, as C. A rate is an integer count of 1e-8 a year.
"""

from array import array
from itertools import permutations
from operator import index

import cython

RATE_SCALE = 10**8
MAX_RATE = 10 * RATE_SCALE
MAX_GRACE_DAYS = 2**31 - 1
# A code is a position in these.
DAY_COUNTS = ("ACT/365F", "ACT/360", "ACT/ACT", "30E/360")
ALLOCATIONS = tuple(permutations(("fees", "interest", "principal")))

CODES = "iIIBB"  # of the columns: effective day, rate, grace days, day count, allocation

_MAX_RATE = cython.declare(cython.uint, MAX_RATE)
_MAX_GRACE_DAYS = cython.declare(cython.uint, MAX_GRACE_DAYS)
_DAY_COUNTS = cython.declare(cython.uint, len(DAY_COUNTS))
_ALLOCATIONS = cython.declare(cython.uint, len(ALLOCATIONS))


def to_columns(terms):
    """Return the columns of rows (effective day, rate, day count, allocation, grace days).

    Raises:
        OverflowError: If a value does not fit its column.
        TypeError: If a value is not an integer.
    """
    columns = [array(code) for code in CODES]
    for day, rate, day_count, allocation, grace_days in terms:
        for column, value in zip(columns, (day, rate, grace_days, day_count, allocation), strict=True):
            column.append(index(value))
    return columns


def to_rows(columns):
    """Return the rows of columns, as `to_columns` reads them."""
    days, rates, graces, day_counts, allocations = columns
    return list(zip(days, rates, day_counts, allocations, graces, strict=True))


def check_columns(columns):
    """Check the columns of one loan against the rules of LAYOUT.md.

    Raises:
        ValueError: If a rule does not hold.
    """
    days: cython.const[cython.int][::1] = columns[0]
    i: cython.Py_ssize_t
    for i in range(1, len(days)):
        if days[i] <= days[i - 1]:
            raise ValueError(f"terms {i}: terms must be ordered by effective day, and each day must be distinct")
    check_values(columns)


def check_values(columns):
    """Check rates, grace days, day counts and allocations against the rules of LAYOUT.md.

    Raises:
        ValueError: If a rule does not hold.
    """
    rates: cython.const[cython.uint][::1] = columns[1]
    graces: cython.const[cython.uint][::1] = columns[2]
    day_counts: cython.const[cython.uchar][::1] = columns[3]
    allocations: cython.const[cython.uchar][::1] = columns[4]
    i: cython.Py_ssize_t
    for i in range(len(rates)):
        if rates[i] > _MAX_RATE:
            raise ValueError(f"terms {i}: the rate {rates[i]} is above {_MAX_RATE}")
        if graces[i] > _MAX_GRACE_DAYS:
            raise ValueError(f"terms {i}: {graces[i]} grace days are above {_MAX_GRACE_DAYS}")
        if day_counts[i] >= _DAY_COUNTS:
            raise ValueError(f"terms {i}: unknown day count {day_counts[i]}")
        if allocations[i] >= _ALLOCATIONS:
            raise ValueError(f"terms {i}: unknown allocation {allocations[i]}")
