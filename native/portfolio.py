# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The balances of many loans on one day, computed over columns that hold the events of all loans.

This file runs as Python and, compiled by Cython, as C. Units are those of `timeline`: days are signed 32-bit counts
since 1970-01-01, amounts signed 64-bit minor units. The compiled build releases the GIL and can use several threads.
"""

from array import array

import cython

from native.columns import check_columns, check_day, run_in_threads

# Binary search stops at this many days, and a linear count finishes: it vectorizes and has no mispredicted branches.
_LINEAR_SCAN_SIZE = cython.declare(cython.Py_ssize_t, 64)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _fill_balances(
    day: cython.int,
    start_days: cython.const[cython.int][::1],
    initials: cython.const[cython.longlong][::1],
    offsets: cython.const[cython.longlong][::1],
    days: cython.const[cython.int][::1],
    running: cython.const[cython.longlong][::1],
    out: cython.longlong[::1],
    first: cython.Py_ssize_t,
    last: cython.Py_ssize_t,
) -> cython.Py_ssize_t:
    """Fill out[first:last], and return -1 or the first loan whose offsets point outside the event columns."""
    events: cython.Py_ssize_t = days.shape[0] if cython.compiled else len(days)
    loan: cython.Py_ssize_t
    low: cython.Py_ssize_t
    high: cython.Py_ssize_t
    middle: cython.Py_ssize_t
    i: cython.Py_ssize_t
    for loan in range(first, last):
        low = offsets[loan]
        high = offsets[loan + 1]
        if low < 0 or high < low or high > events:
            return loan
        start: cython.Py_ssize_t = low
        while high - low > _LINEAR_SCAN_SIZE:
            middle = (low + high) >> 1
            if days[middle] <= day:
                low = middle + 1
            else:
                high = middle
        count: cython.int = 0
        for i in range(low, high):
            count += days[i] <= day
        i = low + count
        balance: cython.longlong = initials[loan] if i == start else running[i - 1]
        out[loan] = balance if start_days[loan] <= day else 0
    return -1


def _fill_chunk(day, start_days, initials, offsets, days, running, out, first, last):
    c_day: cython.int = day
    c_start_days: cython.const[cython.int][::1] = start_days
    c_initials: cython.const[cython.longlong][::1] = initials
    c_offsets: cython.const[cython.longlong][::1] = offsets
    c_days: cython.const[cython.int][::1] = days
    c_running: cython.const[cython.longlong][::1] = running
    c_out: cython.longlong[::1] = out
    c_first: cython.Py_ssize_t = first
    c_last: cython.Py_ssize_t = last
    bad_loan: cython.Py_ssize_t
    with cython.nogil:
        bad_loan = _fill_balances(c_day, c_start_days, c_initials, c_offsets, c_days, c_running, c_out, c_first, c_last)
    return bad_loan


def portfolio_balances(day, *, start_days, initials, offsets, days, running, out=None, threads=1):
    """Return the balance of each of n loans at the end of a day.

    All columns are contiguous buffers (array, memoryview, NumPy) of exactly the given types.

    Args:
        day: Days since 1970-01-01; may be negative.
        start_days: n x int32: the day on which each loan starts.
        initials: n x int64: the principal of each loan, in minor units.
        offsets: (n + 1) x int64: the events of loan i are [offsets[i], offsets[i + 1]) of the event columns.
        days: int32: the day of each event, sorted within each loan.
        running: int64: the running balance after each event, in minor units.
        out: A writable buffer of n x int64 to fill; None allocates an array.
        threads: The maximum number of threads.

    Returns:
        `out`, filled with minor units; 0 for a loan that starts later.

    Raises:
        ValueError: If a column has another type or length, or if offsets point outside the event columns.
        OverflowError: If the day does not fit 32 bits.

    After an error the content of `out` is undefined.
    """
    day = check_day(day)
    if out is None:
        out = array("q", bytes(8 * len(initials)))
    columns = check_columns(
        start_days=(start_days, "i"),
        initials=(initials, "q"),
        offsets=(offsets, "q"),
        days=(days, "i"),
        running=(running, "q"),
        out=(out, "q"),
    )
    loans = len(columns["initials"])
    if len(columns["start_days"]) != loans or len(columns["out"]) != loans or len(columns["offsets"]) != loans + 1:
        raise ValueError(f"for {loans} initials, start_days and out must have {loans} items, and offsets {loans + 1}")
    if len(columns["running"]) != len(columns["days"]):
        raise ValueError("days and running must have the same length")

    bad_loans = run_in_threads(
        lambda first, last: _fill_chunk(day, *columns.values(), first, last), loans, len(columns["days"]), threads
    )
    for loan in bad_loans:
        if loan >= 0:
            raise ValueError(f"the offsets of loan {loan} point outside the event columns")
    return out
