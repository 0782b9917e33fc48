# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The parts of a balance: fees, interest and principal, in the order in which payments pay them.

This file runs as Python and, compiled by Cython, as C. Units are those of `timeline`: amounts are signed 64-bit minor
units. No value is a float, and no arithmetic wraps: a value that does not fit raises OverflowError.
"""

import cython

ORDER = ("fees", "interest", "principal")

_MAX = cython.declare(cython.longlong, 9223372036854775807)


@cython.cfunc
@cython.inline
@cython.exceptval(-1, check=True)
def _add(part: cython.longlong, amount: cython.longlong) -> cython.longlong:
    # C would wrap, and Python would grow. Checking before the addition makes both builds raise.
    if (amount > 0 and part > _MAX - amount) or (amount < 0 and part < -_MAX - 1 - amount):
        raise OverflowError("a part of the balance does not fit 64 bits of minor units")
    return part + amount


def _find_effective(kinds, amounts):
    """Return one byte for each event: 0 for a reversal and for the event that it reverses, 1 for any other.

    A reversal cancels the latest earlier event of its type and amount that is not yet canceled. A reversal that is
    dated before its event cancels the next such event.
    """
    effective = bytearray(b"\1") * len(kinds)
    unmatched = {}  # positions of events that are not canceled, by (kind, amount)
    for i, kind in enumerate(kinds):
        counterparts = unmatched.get((kind ^ 0x80, abs(amounts[i])))
        if counterparts:
            effective[i] = effective[counterparts.pop()] = 0
        else:
            unmatched.setdefault((kind, abs(amounts[i])), []).append(i)
    return bytes(effective)


def balance_parts(timeline, day):
    """Return the outstanding fees, interest and principal at the end of a day.

    A fee or interest increases its part. A payment reduces fees, then interest, then principal; an overpayment makes
    the principal negative, and later fees and interest do not use it up. A reversal and the event that it reverses
    count as if neither had been posted. A reversal that is dated before its event counts by itself until then: the
    reversal of a fee or of interest like a payment, the reversal of a payment as additional principal.

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
    kinds, amounts = timeline.columns(day)
    kind_of: cython.const[cython.uchar][::1] = kinds
    amount_of: cython.const[cython.longlong][::1] = amounts
    count: cython.Py_ssize_t = len(kinds)
    i: cython.Py_ssize_t
    reversals: cython.bint = False
    for i in range(count):
        if kind_of[i] >= 0x80:
            reversals = True
            break
    effective: cython.const[cython.uchar][::1] = _find_effective(kinds, amounts) if reversals else b""
    fees: cython.longlong = 0
    interest: cython.longlong = 0
    principal: cython.longlong = timeline.initial
    amount: cython.longlong
    for i in range(count):
        if reversals and effective[i] == 0:
            continue
        amount = amount_of[i]
        if amount > 0:
            # Literals instead of FEE and INTEREST: in C, a module-level name costs a lookup for each event.
            if kind_of[i] == 1:
                fees = _add(fees, amount)
            elif kind_of[i] == 2:
                interest = _add(interest, amount)
            else:
                principal = _add(principal, amount)
            continue
        # Plain additions are safe: the amount is negative, and fees and interest are never negative.
        amount = amount + fees
        fees = amount if amount > 0 else 0
        if amount < 0:
            amount = amount + interest
            interest = amount if amount > 0 else 0
            if amount < 0:
                principal = _add(principal, amount)
    return fees, interest, principal
