# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The parts of a balance: fees, interest and principal, in the order in which payments pay them.

This file runs as Python and, compiled by Cython, as C. Units are those of `timeline`: amounts are signed 64-bit minor
units. No value is a float, and no arithmetic wraps: a value that does not fit raises OverflowError.
"""

from array import array
from operator import index

import cython

from native.columns import check_columns, run_in_threads

ORDER = ("fees", "interest", "principal")

_MAX = cython.declare(cython.longlong, 9223372036854775807)
_NO_LINKS = array("I")


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _is_overflow(left: cython.longlong, right: cython.longlong) -> cython.bint:
    """Return whether left + right would not fit 64 bits: C would wrap, and Python would grow."""
    return (right > 0 and left > _MAX - right) or (right < 0 and left < -_MAX - 1 - right)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
@cython.returns((cython.longlong, cython.longlong, cython.longlong, cython.bint))
def _allocate(
    initial: cython.longlong,
    kinds: cython.const[cython.uchar][::1],
    running: cython.const[cython.longlong][::1],
    links: cython.const[cython.uint][::1],
    linked: cython.bint,
    first: cython.Py_ssize_t,
    last: cython.Py_ssize_t,
):
    """Return the parts after the events [first, last), and whether one of them does not fit 64 bits."""
    count: cython.Py_ssize_t = last - first
    fees: cython.longlong = 0
    interest: cython.longlong = 0
    principal: cython.longlong = initial
    before: cython.longlong = initial
    after: cython.longlong
    amount: cython.longlong
    i: cython.Py_ssize_t
    for i in range(first, last):
        after = running[i]
        if (before < 0 and after > _MAX + before) or (before > 0 and after < -_MAX - 1 + before):
            return 0, 0, 0, True
        amount = after - before
        before = after
        if linked and links[i] != 0 and links[i] <= count:
            continue  # a reversal and the event that it reverses: both are dated by now
        if amount > 0:
            # Literals instead of FEE and INTEREST: in C, a module-level name costs a lookup for each event.
            if kinds[i] == 1:
                if _is_overflow(fees, amount):
                    return 0, 0, 0, True
                fees = fees + amount
            elif kinds[i] == 2 or kinds[i] == 0x84:
                if _is_overflow(interest, amount):
                    return 0, 0, 0, True
                interest = interest + amount
            else:
                if _is_overflow(principal, amount):
                    return 0, 0, 0, True
                principal = principal + amount
            continue
        # Plain additions are safe: the amount is negative, and fees and interest are never negative.
        if kinds[i] != 4:
            amount = amount + fees
            fees = amount if amount > 0 else 0
        if amount < 0:
            amount = amount + interest
            interest = amount if amount > 0 else 0
            if amount < 0:
                if _is_overflow(principal, amount):
                    return 0, 0, 0, True
                principal = principal + amount
    return fees, interest, principal, False


def balance_parts(timeline, day):
    """Return the outstanding fees, interest and principal at the end of a day.

    A fee or interest increases its part. A payment reduces fees, then interest, then principal; an overpayment makes
    the principal negative, and later fees and interest do not use it up. An interest credit reduces interest, then
    principal. From the date of a reversal on, the reversal
    and the event that it reverses count as if neither had been posted. A reversal that is dated before its event counts
    by itself until then: the reversal of a fee or of interest like a payment, the reversal of a payment as additional
    principal, and that of an interest credit as interest.

    Args:
        timeline: The loan's Timeline, of either build.
        day: Days since 1970-01-01; may be negative.

    Returns:
        A tuple in the order of `ORDER`, in minor units. Its sum is `timeline.balance_at(day)`.

    Raises:
        OverflowError: If a part does not fit 64 bits, or the day 32 bits.
    """
    if day < timeline.start_day:
        return 0, 0, 0
    kinds, running, links = timeline.columns(day)
    kind_of: cython.const[cython.uchar][::1] = kinds
    running_after: cython.const[cython.longlong][::1] = running
    link_of: cython.const[cython.uint][::1] = _NO_LINKS if links is None else links
    fees, interest, principal, overflows = _allocate(
        timeline.initial, kind_of, running_after, link_of, links is not None, 0, len(kinds)
    )
    if overflows:
        raise OverflowError("a part of the balance does not fit 64 bits of minor units")
    return fees, interest, principal


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _fill_parts(
    day: cython.int,
    start_days: cython.const[cython.int][::1],
    initials: cython.const[cython.longlong][::1],
    offsets: cython.const[cython.longlong][::1],
    days: cython.const[cython.int][::1],
    kinds: cython.const[cython.uchar][::1],
    running: cython.const[cython.longlong][::1],
    links: cython.const[cython.uint][::1],
    out: cython.longlong[::1],
    first: cython.Py_ssize_t,
    last: cython.Py_ssize_t,
) -> cython.Py_ssize_t:
    """Fill out[3 * first:3 * last].

    Returns:
        -1; or the first loan whose offsets point outside the event columns; or -2 - the first loan with an overflow.
    """
    events: cython.Py_ssize_t = days.shape[0] if cython.compiled else len(days)
    loan: cython.Py_ssize_t
    low: cython.Py_ssize_t
    high: cython.Py_ssize_t
    middle: cython.Py_ssize_t
    fees: cython.longlong
    interest: cython.longlong
    principal: cython.longlong
    overflows: cython.bint
    for loan in range(first, last):
        low = offsets[loan]
        high = offsets[loan + 1]
        if low < 0 or high < low or high > events:
            return loan
        if start_days[loan] > day:
            out[3 * loan] = 0
            out[3 * loan + 1] = 0
            out[3 * loan + 2] = 0
            continue
        start: cython.Py_ssize_t = low
        while low < high:
            middle = (low + high) >> 1
            if days[middle] <= day:
                low = middle + 1
            else:
                high = middle
        fees, interest, principal, overflows = _allocate(initials[loan], kinds, running, links, True, start, low)
        if overflows:
            return -2 - loan
        out[3 * loan] = fees
        out[3 * loan + 1] = interest
        out[3 * loan + 2] = principal
    return -1


def _fill_chunk(day, start_days, initials, offsets, days, kinds, running, links, out, first, last):
    c_day: cython.int = day
    c_start_days: cython.const[cython.int][::1] = start_days
    c_initials: cython.const[cython.longlong][::1] = initials
    c_offsets: cython.const[cython.longlong][::1] = offsets
    c_days: cython.const[cython.int][::1] = days
    c_kinds: cython.const[cython.uchar][::1] = kinds
    c_running: cython.const[cython.longlong][::1] = running
    c_links: cython.const[cython.uint][::1] = links
    c_out: cython.longlong[::1] = out
    c_first: cython.Py_ssize_t = first
    c_last: cython.Py_ssize_t = last
    bad_loan: cython.Py_ssize_t
    with cython.nogil:
        bad_loan = _fill_parts(
            c_day, c_start_days, c_initials, c_offsets, c_days, c_kinds, c_running, c_links, c_out, c_first, c_last
        )
    return bad_loan


def portfolio_parts(day, *, start_days, initials, offsets, days, kinds, running, links, threads=1):
    """Return the parts of the balance of each of n loans at the end of a day, as `balance_parts` does for one loan.

    All columns are contiguous buffers (array, memoryview, NumPy) of exactly the given types.

    Args:
        day: Days since 1970-01-01; may be negative.
        start_days: n x int32: the day on which each loan starts.
        initials: n x int64: the principal of each loan, in minor units.
        offsets: (n + 1) x int64: the events of loan i are [offsets[i], offsets[i + 1]) of the event columns.
        days: int32: the day of each event, sorted within each loan.
        kinds: uint8: the kind of each event.
        running: int64: the running balance after each event, in minor units.
        links: uint32: for a reversal and for the event that it reverses, 1 + the position of the other among the loan's
            events; 0 for any other event.
        threads: The maximum number of threads.

    Returns:
        An array of 3 x n int64, in minor units. The parts of loan i begin at 3 * i, in the order of `ORDER`. They are 0
        for a loan that starts later.

    Raises:
        ValueError: If a column has another type or length, or if offsets point outside the event columns.
        OverflowError: If a part does not fit 64 bits, or the day 32 bits.
    """
    day = index(day)
    if not -2147483648 <= day <= 2147483647:
        raise OverflowError(f"day {day} does not fit 32 bits")
    out = array("q", bytes(24 * len(initials)))
    columns = check_columns(
        start_days=(start_days, "i"),
        initials=(initials, "q"),
        offsets=(offsets, "q"),
        days=(days, "i"),
        kinds=(kinds, "B"),
        running=(running, "q"),
        links=(links, "I"),
        out=(out, "q"),
    )
    loans, events = len(columns["initials"]), len(columns["days"])
    if len(columns["start_days"]) != loans or len(columns["offsets"]) != loans + 1:
        raise ValueError(f"for {loans} initials, start_days must have {loans} items, and offsets {loans + 1}")
    if not len(columns["kinds"]) == len(columns["running"]) == len(columns["links"]) == events:
        raise ValueError("days, kinds, running and links must have the same length")
    for bad_loan in run_in_threads(
        lambda first, last: _fill_chunk(day, *columns.values(), first, last), loans, events, threads
    ):
        if bad_loan >= 0:
            raise ValueError(f"the offsets of loan {bad_loan} point outside the event columns")
        if bad_loan < -1:
            raise OverflowError(f"a part of loan {-2 - bad_loan} does not fit 64 bits of minor units")
    return out
