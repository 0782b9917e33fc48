# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The parts of a balance: fees, interest and principal, in the order in which payments pay them.

This file runs as Python and, compiled by Cython, as C. Units are those of `timeline`: amounts are signed 64-bit minor
units. No value is a float, and no arithmetic wraps: a value that does not fit raises OverflowError.
"""

from array import array
from concurrent.futures import ThreadPoolExecutor
from operator import index

import cython

ORDER = ("fees", "interest", "principal")

_MAX = cython.declare(cython.longlong, 9223372036854775807)
# With fewer events for each thread, starting a thread costs more than it saves.
_MIN_EVENTS_PER_THREAD = 100_000
# Results of the kernel for a loan that it cannot compute.
_OVERFLOW = cython.declare(cython.int, 1)
_OUTSIDE = cython.declare(cython.int, 2)


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
def _allocate(
    initial: cython.longlong,
    kinds: cython.const[cython.uchar][::1],
    running: cython.const[cython.longlong][::1],
    links: cython.const[cython.uint][::1],
    linked: cython.bint,
    first: cython.Py_ssize_t,
    last: cython.Py_ssize_t,
    out: cython.longlong[::1],
    at: cython.Py_ssize_t,
) -> cython.int:
    """Fill out[at:at + 3] with the parts after the events [first, last), and return 0 or _OVERFLOW."""
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
            return _OVERFLOW
        amount = after - before
        before = after
        if linked and links[i] != 0 and links[i] <= count:
            continue  # a reversal and the event that it reverses: both are dated by now
        if amount > 0:
            # Literals instead of FEE and INTEREST: in C, a module-level name costs a lookup for each event.
            if kinds[i] == 1:
                if _is_overflow(fees, amount):
                    return _OVERFLOW
                fees = fees + amount
            elif kinds[i] == 2:
                if _is_overflow(interest, amount):
                    return _OVERFLOW
                interest = interest + amount
            else:
                if _is_overflow(principal, amount):
                    return _OVERFLOW
                principal = principal + amount
            continue
        # Plain additions are safe: the amount is negative, and fees and interest are never negative.
        amount = amount + fees
        fees = amount if amount > 0 else 0
        if amount < 0:
            amount = amount + interest
            interest = amount if amount > 0 else 0
            if amount < 0:
                if _is_overflow(principal, amount):
                    return _OVERFLOW
                principal = principal + amount
    out[at] = fees
    out[at + 1] = interest
    out[at + 2] = principal
    return 0


def balance_parts(timeline, day):
    """Return the outstanding fees, interest and principal at the end of a day.

    A fee or interest increases its part. A payment reduces fees, then interest, then principal; an overpayment makes
    the principal negative, and later fees and interest do not use it up. From the date of a reversal on, the reversal
    and the event that it reverses count as if neither had been posted. A reversal that is dated before its event counts
    by itself until then: the reversal of a fee or of interest like a payment, the reversal of a payment as additional
    principal.

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
    parts = array("q", bytes(24))
    kind_of: cython.const[cython.uchar][::1] = kinds
    running_after: cython.const[cython.longlong][::1] = running
    link_of: cython.const[cython.uint][::1] = links
    out: cython.longlong[::1] = parts
    if _allocate(timeline.initial, kind_of, running_after, link_of, len(links) > 0, 0, len(kinds), out, 0):
        raise OverflowError("a part of the balance does not fit 64 bits of minor units")
    return tuple(parts)
