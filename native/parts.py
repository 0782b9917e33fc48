# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The parts of one loan's balance: fees, interest and principal.

This file runs as Python and, compiled by Cython, as C.
"""

import cython

from native.builds import load

if cython.compiled:
    from cython.cimports.native.walk import Walk, read_loan, walk_to
else:
    _walk = load("walk", "interpreted")
    Walk, read_loan, walk_to = _walk.Walk, _walk.read_loan, _walk.walk_to

ORDER = ("fees", "interest", "principal")


def balance_parts(timeline, day):
    """Return the outstanding fees, interest and principal at the end of a day.

    A fee or interest increases its part. A payment reduces the parts in the order of the terms in effect on its date,
    by default fees, then interest, then principal; an overpayment makes the principal negative, and later fees and
    interest do not use it up. An interest credit reduces interest, then principal. From the date of a reversal on, the
    reversal and the event that it reverses count as if neither had been posted. A reversal that is dated before its
    event counts by itself until then: the reversal of a fee or of interest like a payment, the reversal of a payment as
    additional principal, and that of an interest credit as interest.

    Args:
        timeline: The loan's Timeline, of either build.
        day: Days since 1970-01-01; may be negative.

    Returns:
        A tuple in the order of `ORDER`, in minor units. Its sum is `timeline.balance_at(day)`.

    Raises:
        OverflowError: If a part does not fit 64 bits, or the day 32 bits.
    """
    walk: Walk = read_loan(timeline)
    walk_to(walk, day)
    return walk.fees, walk.interest, walk.principal
