# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""What a balance is made of: fees, interest and principal, by the order in which payments are allocated.

The same file runs interpreted and compiled. Units as in `timeline`: amounts are signed 64-bit minor units. Nothing here
is a float, and nothing wraps: what does not fit raises OverflowError.
"""

import cython

ORDER = ("fees", "interest", "principal")

_MAX = cython.declare(cython.longlong, 9223372036854775807)


@cython.cfunc
@cython.inline
@cython.exceptval(-1, check=True)
def _add(part: cython.longlong, amount: cython.longlong) -> cython.longlong:
    # C would wrap and Python would grow: look before adding, so that both raise.
    if (amount > 0 and part > _MAX - amount) or (amount < 0 and part < -_MAX - 1 - amount):
        raise OverflowError("a part of a balance does not fit 64 bits of minor units")
    return part + amount


def _standing(kinds, amounts):
    """One byte for each event: 0 for a reversal and for what it takes back, 1 for what stands.

    A reversal takes back the latest earlier event of its type and amount that stands; if there is none, because it is
    dated before its event, then the next that follows.
    """
    standing = bytearray(b"\1") * len(kinds)
    waiting = {}  # by kind and amount: the positions of what stands
    for at, kind in enumerate(kinds):
        counterparts = waiting.get((kind ^ 0x80, abs(amounts[at])))
        if counterparts:
            standing[at] = standing[counterparts.pop()] = 0
        else:
            waiting.setdefault((kind, abs(amounts[at])), []).append(at)
    return bytes(standing)


def balance_parts(timeline, day):
    """What is left of (fees, interest, principal) at the end of the day, in minor units; they sum to `balance_at(day)`.

    A fee and interest add to their part. A payment pays fees, then interest, then principal; what is left over makes
    the principal negative, and stays there. A reversal and the event that it takes back count as if neither had been
    posted. A reversal whose event is dated later counts by itself until then: of a fee or of interest as a payment
    does, of a payment as principal.

    Raises: OverflowError for a part that does not fit.
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
    stands: cython.const[cython.uchar][::1] = _standing(kinds, amounts) if reversals else b""
    fees: cython.longlong = 0
    interest: cython.longlong = 0
    principal: cython.longlong = timeline.initial
    amount: cython.longlong
    for i in range(count):
        if reversals and stands[i] == 0:
            continue
        amount = amount_of[i]
        if amount > 0:
            # literals of the timeline's FEE and INTEREST, as there
            if kind_of[i] == 1:
                fees = _add(fees, amount)
            elif kind_of[i] == 2:
                interest = _add(interest, amount)
            else:
                principal = _add(principal, amount)
            continue
        # fees and interest are never negative, so what is below zero grows towards it: that always fits
        amount = amount + fees
        fees = amount if amount > 0 else 0
        if amount < 0:
            amount = amount + interest
            interest = amount if amount > 0 else 0
            if amount < 0:
                principal = _add(principal, amount)
    return fees, interest, principal
