# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The schedules of a loan over time: the installments that are due, from a day on.

This file runs as Python and, compiled by Cython, as C. The installments of all schedules are in the same columns;
schedule i has those at [ends[i - 1], ends[i]).
"""

from array import array
from itertools import pairwise
from operator import index

import cython

SCHEDULE_CODES = "iI"  # of the columns of schedules: effective day, end of its installments
INSTALLMENT_CODES = "qi"  # of the columns of installments: amount, due day


def to_columns(schedules):
    """Return the columns of rows (effective day, [(due day, amount), ...]): of schedules, then of installments.

    Raises:
        OverflowError: If a value does not fit its column.
        TypeError: If a value is not an integer.
    """
    days, ends = map(array, SCHEDULE_CODES)
    amounts, due_days = map(array, INSTALLMENT_CODES)
    for day, installments in schedules:
        for due_day, amount in installments:
            due_days.append(index(due_day))
            amounts.append(index(amount))
        days.append(index(day))
        ends.append(len(amounts))
    return days, ends, amounts, due_days


def to_rows(columns):
    """Return the rows of columns, as `to_columns` reads them."""
    days, ends, amounts, due_days = columns
    installments = list(zip(due_days, amounts, strict=True))
    bounds = pairwise((0, *ends))
    return [(day, installments[first:last]) for day, (first, last) in zip(days, bounds, strict=True)]


def check_columns(columns):
    """Check the columns against the rules of LAYOUT.md.

    Raises:
        ValueError: If a rule does not hold.
    """
    days: cython.const[cython.int][::1] = columns[0]
    ends: cython.const[cython.uint][::1] = columns[1]
    amounts: cython.const[cython.longlong][::1] = columns[2]
    due_days: cython.const[cython.int][::1] = columns[3]
    count: cython.Py_ssize_t = len(amounts)
    first: cython.Py_ssize_t = 0
    last: cython.Py_ssize_t
    i: cython.Py_ssize_t
    k: cython.Py_ssize_t
    for i in range(len(days)):
        if i > 0 and days[i] <= days[i - 1]:
            raise ValueError(f"schedule {i}: schedules must be ordered by effective day, and each day must be distinct")
        last = ends[i]
        if last < first or last > count:
            raise ValueError(f"schedule {i}: its end {last} is not from {first} to the number of installments {count}")
        for k in range(first, last):
            if amounts[k] <= 0:
                raise ValueError(f"schedule {i}: the amount {amounts[k]} of an installment is not positive")
            if k > first and due_days[k] < due_days[k - 1]:
                raise ValueError(f"schedule {i}: installments must be ordered by due day")
        first = last
    if first != count:
        raise ValueError(f"schedules: {count - first} installments belong to none")
