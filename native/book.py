# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The parts, payoffs and arrears of many loans on one day, computed over columns that hold the records of all loans.

This file runs as Python and, compiled by Cython, as C. The compiled build releases the GIL and can use several threads.
"""

from array import array

import cython

from native.builds import load
from native.columns import check_columns, check_day, run_in_threads
from native.results import Payoffs

if cython.compiled:
    from cython.cimports.native.walk import Walk
else:
    Walk = load("walk", "interpreted").Walk

_terms = load("terms", "compiled" if cython.compiled else "interpreted")
_ZERO = array("q", [0])
# What `_fill` found, below the numbers of loans with wrong offsets.
_DONE = cython.declare(cython.Py_ssize_t, -1)
_OVERFLOW = cython.declare(cython.Py_ssize_t, -2)


def portfolio_parts(
    day,
    *,
    start_days,
    initials,
    offsets,
    days,
    kinds,
    running,
    links,
    term_offsets=None,
    term_days=None,
    rates=None,
    grace_days=None,
    day_counts=None,
    allocations=None,
    threads=1,
):
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
        term_offsets: (n + 1) x int64: the terms of loan i are [term_offsets[i], term_offsets[i + 1]) of the columns of
            terms. None for loans without terms, as are these columns then.
        term_days: int32: the effective day of each of the terms, sorted within each loan.
        rates: uint32: the rate of each, in units of 1e-8 a year.
        grace_days: uint32: the grace days of each.
        day_counts: uint8: the day count of each, a position in DAY_COUNTS.
        allocations: uint8: the order of allocation of each, a position in ALLOCATIONS.
        threads: The maximum number of threads.

    Returns:
        An array of 3 x n int64, in minor units. The parts of loan i begin at 3 * i, in the order of `PARTS`. They are 0
        for a loan that starts later.

    Raises:
        ValueError: If a column has another type or length, if offsets point outside their columns, or if a rate, day
            count or allocation is invalid.
        OverflowError: If a part does not fit 64 bits, or the day 32 bits.
    """
    day = check_day(day)
    loans = check_columns(start_days=(start_days, "i"), initials=(initials, "q"), offsets=(offsets, "q"))
    events = check_columns(days=(days, "i"), kinds=(kinds, "B"), running=(running, "q"), links=(links, "I"))
    terms = _check_terms(loans, term_offsets, term_days, rates, grace_days, day_counts, allocations)
    _check_lengths(loans, events)
    out = _ZERO * (3 * len(loans["initials"]))
    results = _run(day, loans, events, terms, None, (out, _ZERO, _ZERO, _ZERO, _ZERO, array("B", [0])), threads)
    for loan in results:
        if loan <= _OVERFLOW:
            raise OverflowError(f"a part of loan {_OVERFLOW - loan} does not fit 64 bits of minor units")
    return out


def portfolio_payoffs(
    day,
    *,
    start_days,
    initials,
    offsets,
    days,
    kinds,
    running,
    links,
    term_offsets,
    term_days,
    rates,
    grace_days,
    day_counts,
    allocations,
    schedule_offsets,
    schedule_days,
    ends,
    installment_offsets,
    amounts,
    due_days,
    threads=1,
):
    """Return the parts, payoffs and arrears of each of n loans at the end of a day.

    The columns up to `allocations` are those of `portfolio_parts`.

    Args:
        day: Days since 1970-01-01; may be negative.
        start_days: See `portfolio_parts`.
        initials: See `portfolio_parts`.
        offsets: See `portfolio_parts`.
        days: See `portfolio_parts`.
        kinds: See `portfolio_parts`.
        running: See `portfolio_parts`.
        links: See `portfolio_parts`.
        term_offsets: See `portfolio_parts`.
        term_days: See `portfolio_parts`.
        rates: See `portfolio_parts`.
        grace_days: See `portfolio_parts`.
        day_counts: See `portfolio_parts`.
        allocations: See `portfolio_parts`.
        schedule_offsets: (n + 1) x int64: the schedules of loan i are [schedule_offsets[i], schedule_offsets[i + 1]) of
            the columns of schedules.
        schedule_days: int32: the effective day of each schedule, sorted within each loan.
        ends: uint32: the number of installments of a schedule and all before it of the loan.
        installment_offsets: (n + 1) x int64: the installments of loan i are
            [installment_offsets[i], installment_offsets[i + 1]) of the columns of installments.
        amounts: int64: the amount of each installment, in minor units.
        due_days: int32: the due day of each installment, sorted within each schedule.
        threads: The maximum number of threads.

    Returns:
        Payoffs. A loan with a value that does not fit 64 bits is flagged, and its other values are 0.

    Raises:
        ValueError: If a column has another type or length, if offsets or ends point outside their columns, or if a
            rate, day count or allocation is invalid.
        OverflowError: If the day does not fit 32 bits.
    """
    day = check_day(day)
    loans = check_columns(start_days=(start_days, "i"), initials=(initials, "q"), offsets=(offsets, "q"))
    events = check_columns(days=(days, "i"), kinds=(kinds, "B"), running=(running, "q"), links=(links, "I"))
    terms = _check_terms(loans, term_offsets, term_days, rates, grace_days, day_counts, allocations)
    schedules = check_columns(
        schedule_offsets=(schedule_offsets, "q"),
        schedule_days=(schedule_days, "i"),
        ends=(ends, "I"),
        installment_offsets=(installment_offsets, "q"),
        amounts=(amounts, "q"),
        due_days=(due_days, "i"),
    )
    _check_lengths(loans, events, schedules)
    count = len(loans["initials"])
    out = Payoffs(_ZERO * (3 * count), *(_ZERO * count for _ in range(4)), array("B", [0]) * count)
    _run(day, loans, events, terms, schedules, out, threads)
    return out


def _check_terms(loans, term_offsets, term_days, rates, grace_days, day_counts, allocations):
    if term_offsets is None:
        return None
    terms = check_columns(
        term_offsets=(term_offsets, "q"),
        term_days=(term_days, "i"),
        rates=(rates, "I"),
        grace_days=(grace_days, "I"),
        day_counts=(day_counts, "B"),
        allocations=(allocations, "B"),
    )
    if len(terms["term_offsets"]) != len(loans["initials"]) + 1:
        raise ValueError(f"term_offsets must have {len(loans['initials']) + 1} items")
    columns = [column for name, column in terms.items() if name != "term_offsets"]
    if len(set(map(len, columns))) != 1:
        raise ValueError("term_days, rates, grace_days, day_counts and allocations must have the same length")
    _terms.check_values(columns)
    return terms


def _check_lengths(loans, events, schedules=None):
    count = len(loans["initials"])
    if len(loans["start_days"]) != count or len(loans["offsets"]) != count + 1:
        raise ValueError(f"for {count} initials, start_days must have {count} items, and offsets {count + 1}")
    if len(set(map(len, events.values()))) != 1:
        raise ValueError("days, kinds, running and links must have the same length")
    if schedules is None:
        return
    if len(schedules["schedule_offsets"]) != count + 1 or len(schedules["installment_offsets"]) != count + 1:
        raise ValueError(f"schedule_offsets and installment_offsets must have {count + 1} items")
    if len(schedules["schedule_days"]) != len(schedules["ends"]):
        raise ValueError("schedule_days and ends must have the same length")
    if len(schedules["amounts"]) != len(schedules["due_days"]):
        raise ValueError("amounts and due_days must have the same length")


def _run(day, loans, events, terms, schedules, out, threads):
    """Fill `out`, and return the results of `_fill` of each thread.

    Raises:
        ValueError: If offsets point outside their columns.
    """
    results = run_in_threads(
        lambda first, last: _fill_chunk(day, loans, events, terms, schedules, out, first, last),
        len(loans["initials"]),
        len(events["days"]),
        threads,
    )
    for loan in results:
        if loan >= 0:
            raise ValueError(f"the offsets of loan {loan} point outside the columns of events, terms or schedules")
    return results


def _fill_chunk(day, loans, events, terms, schedules, out, first, last):
    walk: Walk = Walk(
        [events[name] for name in ("days", "kinds", "running", "links")],
        terms and [terms[name] for name in ("term_days", "rates", "grace_days", "day_counts", "allocations")],
        schedules and [schedules[name] for name in ("schedule_days", "ends", "amounts", "due_days")],
    )
    c_day: cython.int = day
    c_first: cython.Py_ssize_t = first
    c_last: cython.Py_ssize_t = last
    start_days: cython.const[cython.int][::1] = loans["start_days"]
    initials: cython.const[cython.longlong][::1] = loans["initials"]
    offsets: cython.const[cython.longlong][::1] = loans["offsets"]
    term_offsets: cython.const[cython.longlong][::1] = terms["term_offsets"] if terms else _ZERO
    schedule_offsets: cython.const[cython.longlong][::1] = schedules["schedule_offsets"] if schedules else _ZERO
    installment_offsets: cython.const[cython.longlong][::1] = schedules["installment_offsets"] if schedules else _ZERO
    event_count: cython.Py_ssize_t = len(events["days"])
    term_count: cython.Py_ssize_t = len(terms["term_days"]) if terms else -1
    schedule_count: cython.Py_ssize_t = len(schedules["schedule_days"]) if schedules else -1
    installment_count: cython.Py_ssize_t = len(schedules["amounts"]) if schedules else -1
    parts: cython.longlong[::1] = out[0]
    uncharged: cython.longlong[::1] = out[1]
    totals: cython.longlong[::1] = out[2]
    past_due: cython.longlong[::1] = out[3]
    days_past_due: cython.longlong[::1] = out[4]
    overflows: cython.uchar[::1] = out[5]
    result: cython.Py_ssize_t
    with cython.nogil:
        result = _fill(
            c_day,
            walk,
            start_days,
            initials,
            offsets,
            event_count,
            term_offsets,
            term_count,
            schedule_offsets,
            schedule_count,
            installment_offsets,
            installment_count,
            parts,
            uncharged,
            totals,
            past_due,
            days_past_due,
            overflows,
            c_first,
            c_last,
        )
    return result


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _is_outside(low: cython.longlong, high: cython.longlong, count: cython.longlong) -> cython.bint:
    return low < 0 or high < low or high > count


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _fill(
    day: cython.int,
    walk: Walk,
    start_days: cython.const[cython.int][::1],
    initials: cython.const[cython.longlong][::1],
    offsets: cython.const[cython.longlong][::1],
    event_count: cython.Py_ssize_t,
    term_offsets: cython.const[cython.longlong][::1],
    term_count: cython.Py_ssize_t,
    schedule_offsets: cython.const[cython.longlong][::1],
    schedule_count: cython.Py_ssize_t,
    installment_offsets: cython.const[cython.longlong][::1],
    installment_count: cython.Py_ssize_t,
    parts: cython.longlong[::1],
    uncharged: cython.longlong[::1],
    totals: cython.longlong[::1],
    past_due: cython.longlong[::1],
    days_past_due: cython.longlong[::1],
    overflows: cython.uchar[::1],
    first: cython.Py_ssize_t,
    last: cython.Py_ssize_t,
) -> cython.Py_ssize_t:
    """Fill the results of the loans [first, last); those after the parts only if there are schedules.

    The number of terms or schedules is -1 without their columns. Without schedules, a part that does not fit ends the
    work.

    Returns:
        _DONE; or the first loan whose offsets point outside their columns; or _OVERFLOW - the first loan with a part
        that does not fit.
    """
    loan: cython.Py_ssize_t
    first_term: cython.Py_ssize_t = 0
    last_term: cython.Py_ssize_t = 0
    first_schedule: cython.Py_ssize_t = 0
    last_schedule: cython.Py_ssize_t = 0
    fits: cython.bint
    for loan in range(first, last):
        if _is_outside(offsets[loan], offsets[loan + 1], event_count):
            return loan
        if term_count >= 0:
            first_term = term_offsets[loan]
            last_term = term_offsets[loan + 1]
            if _is_outside(first_term, last_term, term_count):
                return loan
        if schedule_count >= 0:
            first_schedule = schedule_offsets[loan]
            last_schedule = schedule_offsets[loan + 1]
            if _is_outside(first_schedule, last_schedule, schedule_count) or _is_outside(
                installment_offsets[loan], installment_offsets[loan + 1], installment_count
            ):
                return loan
        fits = walk.run(
            day,
            start_days[loan],
            initials[loan],
            offsets[loan],
            offsets[loan + 1],
            first_term,
            last_term,
            first_schedule,
            last_schedule,
        )
        if schedule_count < 0:
            if not fits:
                return _OVERFLOW - loan
        else:
            fits = fits and walk.settle()
            overflows[loan] = not fits
            if not fits:
                continue
            if not walk.find_arrears(day, first_schedule, installment_offsets[loan], installment_offsets[loan + 1]):
                return loan
            uncharged[loan] = walk.uncharged
            totals[loan] = walk.total
            past_due[loan] = walk.past_due
            days_past_due[loan] = walk.days_past_due
        parts[3 * loan] = walk.fees
        parts[3 * loan + 1] = walk.interest
        parts[3 * loan + 2] = walk.principal
    return _DONE
