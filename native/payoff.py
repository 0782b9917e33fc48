# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""What settles one loan on a day, and how late it is.

This file runs as Python and, compiled by Cython, as C. Timelines may be of either build. Days are counts since
1970-01-01, amounts are minor units. Before the start of the loan every amount is 0. A value that does not fit 64 bits,
or a day that does not fit 32, raises OverflowError.
"""

from array import array
from math import gcd

import cython

from native.builds import load
from native.results import Arrears, Payoff, Segment

if cython.compiled:
    from cython.cimports.native.day_count import is_in_leap_year
    from cython.cimports.native.walk import Walk, read_loan, to_int, walk_to
else:
    _walk = load("walk", "interpreted")
    Walk, read_loan, to_int, walk_to = _walk.Walk, _walk.read_loan, _walk.to_int, _walk.walk_to
    is_in_leap_year = load("day_count", "interpreted").is_in_leap_year

_terms = load("terms", "compiled" if cython.compiled else "interpreted")
# The least common multiple of 360, 365 and 366, and the denominator of a sum of interest.
_COMMON = 1_603_080
_DENOMINATOR = _COMMON * _terms.RATE_SCALE
_TRACE_SIZE = 6  # integers of a segment in a trace


def payoff_at(timeline, day):
    """Return the Payoff at the end of a day."""
    walk: Walk = _settle(timeline, day)
    return Payoff(walk.fees, walk.interest, walk.principal, walk.uncharged, walk.total, _per_diem(walk, day))


def payoff_totals(timeline, days):
    """Return the list of payoff totals at the end of each day."""
    walk: Walk = read_loan(timeline)
    totals = []
    for day in days:
        walk_to(walk, day)
        _check_fits(walk.settle())
        totals.append(walk.total)
    return totals


def arrears_at(timeline, day):
    """Return the Arrears at the end of a day."""
    walk: Walk = _settle(timeline, day)
    walk.find_arrears(day, 0, 0, walk.installment_count)
    due = to_int(walk.due)
    _check_fits(due < 1 << 63)
    return Arrears(due, to_int(walk.past_due), walk.days_past_due, walk.oldest_due_day if walk.is_due else None)


def installments_at(timeline, day):
    """Return a list of (due day, amount, satisfied amount): the installments of the schedule in effect on a day.

    What payments on or after the schedule's effective day leave after fees satisfies the installments in their order.
    The list is empty before the start of the loan, and without a schedule in effect.
    """
    walk: Walk = read_loan(timeline)
    walk_to(walk, day)
    if walk.schedule < 0:
        return []
    _, ends, amounts, due_days = timeline.columns()[3]
    schedule = walk.schedule
    first = ends[schedule - 1] if schedule else 0
    last = ends[schedule]
    left = to_int(walk.satisfying)
    rows = []
    for due_day, amount in zip(due_days[first:last], amounts[first:last], strict=True):
        satisfied = min(amount, left)
        left -= satisfied
        rows.append((due_day, amount, satisfied))
    return rows


def accrual_segments(timeline, day):
    """Return the list of Segments in which interest accrues from the first accrual day up to a day, in order.

    The sum of their interest is the interest accrued on the day, exactly.
    """
    walk: Walk = read_loan(timeline)
    terms = timeline.terms
    trace = array("q", [0]) * (_TRACE_SIZE * (walk.event_count + walk.term_count + 1))
    walk.trace(trace)
    walk_to(walk, day)
    starts = range(0, _TRACE_SIZE * walk.traced, _TRACE_SIZE)
    return [_to_segment(terms, *trace[start : start + _TRACE_SIZE]) for start in starts]


def uncharged_at(timeline, day):
    """Return the exact interest that accrued and was not charged by the end of a day.

    Returns:
        The numerator and the denominator of a reduced fraction of minor units; the numerator may be negative.
    """
    walk: Walk = read_loan(timeline)
    walk_to(walk, day)
    accrued = (
        to_int(walk.over_365) * (_COMMON // 365)
        + to_int(walk.over_360) * (_COMMON // 360)
        + to_int(walk.over_366) * (_COMMON // 366)
    )
    return _reduce(accrued - to_int(walk.charged) * _DENOMINATOR, _DENOMINATOR)


def first_accrual_day(timeline):
    """Return the day on which interest begins to accrue; None without terms."""
    terms = timeline.terms
    return max(timeline.start_day, terms[0][0]) if terms else None


def _settle(timeline, day):
    walk: Walk = read_loan(timeline)
    walk_to(walk, day)
    _check_fits(walk.settle())
    return walk


def _check_fits(fits):
    if not fits:
        raise OverflowError("an amount of the payoff does not fit 64 bits of minor units")


@cython.cfunc
def _per_diem(walk: Walk, day):
    if walk.term < 0:
        return 0
    basis = 360 if walk.day_count in (1, 3) else 365
    if walk.day_count == 2 and is_in_leap_year(day):
        basis = 366
    denominator = basis * _terms.RATE_SCALE
    principal: object = max(0, walk.principal)  # Python's integers do not wrap
    quotient, rest = divmod(principal * walk.rate, denominator)
    return quotient + (2 * rest > denominator or (2 * rest == denominator and quotient % 2))


def _to_segment(terms, first_day, last_day, principal, term, days, leap_days):
    _, rate, day_count, _, _ = terms[term]
    weight = days * (_COMMON // (360 if day_count in (1, 3) else 365)) + leap_days * (_COMMON // 366)
    numerator, denominator = _reduce(principal * rate * weight, _DENOMINATOR)
    name = _terms.DAY_COUNTS[day_count]
    return Segment(first_day, last_day, principal, rate, name, days + leap_days, numerator, denominator)


def _reduce(numerator, denominator):
    divisor = gcd(numerator, denominator)
    return numerator // divisor, denominator // divisor
