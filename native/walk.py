# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The walk over a loan's events, terms and installments: parts, interest, and what payments satisfy, on one day.

This file runs as Python and, compiled by Cython, as C. Units are those of `timeline` and `terms`. No value is a float.
Sums of interest have the unit of the denominator by which they are kept, and fit 128 bits: a principal has 63 bits, all
days together 33 and a rate 30. Sums that are returned fit 64 bits, or the walk reports that they do not.
"""

from operator import index

import cython

from native.builds import load

if cython.compiled:
    from cython.cimports.cpython.buffer import Py_buffer, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
    from cython.cimports.native.day_count import count_leap_days, count_thirty_days
else:
    _counts = load("day_count", "interpreted")
    count_leap_days, count_thirty_days = _counts.count_leap_days, _counts.count_thirty_days
    int128 = int

# The least common multiple of 360, 365 and 366, and the unit of a rate.
_COMMON = cython.declare(cython.longlong, 1_603_080)
_SCALE = cython.declare(cython.longlong, 100_000_000)
_MAX = cython.declare(cython.longlong, 9223372036854775807)
# Before and after all days.
_NEVER = cython.declare(cython.longlong, 1 << 40)
# Up to this many days, a linear count vectorizes and has no mispredicted branches, unlike binary search.
_LINEAR_SCAN_SIZE = cython.declare(cython.Py_ssize_t, 64)

_Bytes = cython.typedef(cython.pointer(cython.const[cython.uchar]))
_Ints = cython.typedef(cython.pointer(cython.const[cython.int]))
_Uints = cython.typedef(cython.pointer(cython.const[cython.uint]))
_Longs = cython.typedef(cython.pointer(cython.const[cython.longlong]))


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _count_through(days: _Ints, low: cython.Py_ssize_t, high: cython.Py_ssize_t, day: cython.int) -> cython.Py_ssize_t:
    """Return the position of the first later day in the sorted days [low, high)."""
    middle: cython.Py_ssize_t
    i: cython.Py_ssize_t
    count: cython.int = 0
    while high - low > _LINEAR_SCAN_SIZE:
        middle = (low + high) >> 1
        if days[middle] <= day:
            low = middle + 1
        else:
            high = middle
    for i in range(low, high):
        count += days[i] <= day
    return low + count


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _part(allocation: cython.int, step: cython.int) -> cython.int:
    """Return the part, 0 to 2, that is paid at a step of an order of allocation, which is a position in ALLOCATIONS."""
    first: cython.int = allocation >> 1
    second: cython.int = (allocation & 1) + ((allocation & 1) >= first)
    if step == 0:
        return first
    return second if step == 1 else 3 - first - second


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _divide(numerator: int128, denominator: cython.longlong) -> int128:
    """Return the floor of a quotient that is not negative; 64 bits take a fraction of the time of 128."""
    if numerator <= _MAX:
        return cython.cast(cython.longlong, numerator) // denominator
    return numerator // denominator


@cython.cfunc
@cython.exceptval(check=True)
def _find(column) -> _Bytes:
    """Return where the content of a buffer is, while something else keeps the buffer alive."""
    view = cython.declare(Py_buffer)
    PyObject_GetBuffer(column, cython.address(view), PyBUF_SIMPLE)
    start: _Bytes = cython.cast(_Bytes, view.buf)
    PyBuffer_Release(cython.address(view))
    return start


@cython.cfunc
def _to_bytes(column) -> _Bytes:
    return _find(column) if cython.compiled else column


@cython.cfunc
def _to_ints(column) -> _Ints:
    return cython.cast(_Ints, _find(column)) if cython.compiled else column


@cython.cfunc
def _to_uints(column) -> _Uints:
    return cython.cast(_Uints, _find(column)) if cython.compiled else column


@cython.cfunc
def _to_longs(column) -> _Longs:
    return cython.cast(_Longs, _find(column)) if cython.compiled else column


def to_int(value):
    """Return 128 bits as a Python integer."""
    if not cython.compiled:
        return value
    high: cython.longlong = cython.cast(cython.longlong, value >> 64)
    low: cython.ulonglong = cython.cast(cython.ulonglong, value)
    return (cython.cast(object, high) << 64) + low


class Walk:
    """A walk over the records of one loan at a time, which are at given positions of columns.

    Args:
        events: The columns of events: days, kinds, running balances, and links or None; see `Timeline.columns`.
        terms: The columns of terms, as `Timeline.term_columns` returns them; None for a loan without terms.
        schedules: The columns of schedules and their installments, as `Timeline.schedule_columns` returns them; None
            for a loan without schedules.

    After `run`, these attributes are those of the end of the day:
        fees, interest, principal, balance: The parts of the balance, and their sum.
        first_accrual_day: The day on which interest begins to accrue.
        charged: The interest that was charged after the first accrual day.
        over_365, over_360, over_366: The accrued interest, in units of 1e-8 of a minor unit over each denominator.
        satisfying: What payments since the schedule's effective day left after fees.
        term, schedule: The positions of the terms and of the schedule in effect; -1 for none.
        rate, day_count: Those of the terms in effect.

    After `settle`: uncharged, total. After `find_arrears`: due, past_due, days_past_due, is_due, oldest_due_day.
    """

    def __init__(self, events, terms=None, schedules=None):
        self._buffers = events, terms, schedules  # keeps the columns alive
        days, kinds, running, links = events
        self._days = _to_ints(days)
        self._kinds = _to_bytes(kinds)
        self._running = _to_longs(running)
        self._linked = links is not None
        self._links = _to_uints(links if self._linked else b"")
        if terms is not None:
            self._term_days = _to_ints(terms[0])
            self._rates = _to_uints(terms[1])
            self._graces = _to_uints(terms[2])
            self._day_counts = _to_bytes(terms[3])
            self._allocations = _to_bytes(terms[4])
        if schedules is not None:
            self._schedule_days = _to_ints(schedules[0])
            self._ends = _to_uints(schedules[1])
            self._amounts = _to_longs(schedules[2])
            self._due_days = _to_ints(schedules[3])
        self._has_terms = terms is not None
        self.traced = -1
        self._begin(0, 0, 0)

    def trace(self, out):
        """Write a segment to `out` for each range of days on which interest accrues on one principal at one rate.

        Args:
            out: An array of int64 with six items for each event and each of the terms, and one segment more:
                first day, last day (excluded), principal, position of the terms, and the numbers of days by the
                day count that are outside and in leap years; all are outside except for ACT/ACT.
        """
        view: cython.longlong[::1] = out
        self._trace = cython.address(view[0]) if cython.compiled else out
        self._traced_buffer = out
        self.traced = 0

    def run(self, day, start_day, initial, first, last, first_term, last_term, first_schedule, last_schedule):
        """Walk over the records of a loan that count on a day, and return whether its parts fit 64 bits.

        Args:
            day: The day.
            start_day: The day on which the loan starts.
            initial: The principal at the start.
            first: The position of the loan's first event.
            last: The position after its last event.
            first_term: The position of its first terms.
            last_term: The position after its last terms.
            first_schedule: The position of its first schedule.
            last_schedule: The position after its last schedule.
        """
        i: cython.Py_ssize_t
        paying_from: cython.longlong = _NEVER

        self.fees = self.interest = self.principal = self.balance = 0
        self.schedule = -1
        self.satisfying = 0
        if self._has_terms:
            self._begin(start_day, first_term, last_term)
        if day < start_day:
            return True
        if first_schedule < last_schedule:
            i = _count_through(self._schedule_days, first_schedule, last_schedule, day) - 1
            if i >= first_schedule:
                self.schedule = i
                paying_from = self._schedule_days[i]
        last = _count_through(self._days, first, last, day)
        # The constants let C compile the walk twice; without terms and schedules it is a small part.
        if first_term == last_term and paying_from == _NEVER:
            return self._walk(initial, first, last, _NEVER, False)
        if not self._walk(initial, first, last, paying_from, True):
            return False
        if self._at != _NEVER:
            self._advance(day, self.principal)
            self._add_interest()
        return True

    def _walk(self, initial, first, last, paying_from, dated):
        """Walk over events, and return whether the parts fit 64 bits.

        Args:
            initial: The principal at the start.
            first: The position of the first event.
            last: The position after the last event.
            paying_from: The day from which on payments satisfy installments.
            dated: Whether the days of events matter, which is so with terms or a schedule.
        """
        days: _Ints = self._days
        kinds: _Bytes = self._kinds
        running: _Longs = self._running
        links: _Uints = self._links
        linked: cython.bint = self._linked
        fees: cython.longlong = 0
        interest: cython.longlong = 0
        principal: cython.longlong = initial
        before: cython.longlong = initial
        after: cython.longlong
        amount: cython.longlong
        fees_before: cython.longlong
        event_day: cython.longlong
        charged: int128 = 0
        satisfying: int128 = 0
        base: cython.int
        step: cython.int
        allocation: cython.int = 0
        which: cython.int
        part: cython.longlong
        increase: cython.longlong
        fees_increase: cython.longlong
        interest_increase: cython.longlong
        principal_increase: cython.longlong
        left: cython.longlong
        i: cython.Py_ssize_t
        count: cython.Py_ssize_t = last - first
        first_accrual_day: cython.longlong = self.first_accrual_day

        for i in range(first, last):
            after = running[i]
            if (before < 0 and after > _MAX + before) or (before > 0 and after < -_MAX - 1 + before):
                return False
            amount = after - before
            before = after
            if linked and links[i] != 0 and links[i] <= count:
                continue  # a reversal and the event that it reverses: both are dated by now
            # Literals instead of FEE and the like: in C, a module-level name costs a lookup for each event.
            base = kinds[i] & 0x7F
            event_day = 0
            if dated:
                event_day = days[i]
                if event_day > self._at:
                    self._advance(event_day, principal)
                    allocation = self._allocation
                # Interest and its credits have even kinds.
                charged = charged + (amount if base & 1 == 0 and event_day > first_accrual_day else 0)
            # Kinds and signs are hard to predict, so the only branches are those that few events take.
            left = amount if amount < 0 else 0
            increase = amount - left
            fees_increase = increase if base == 1 else 0
            principal_increase = increase if base == 3 else 0
            interest_increase = increase - fees_increase - principal_increase
            if fees > _MAX - fees_increase or interest > _MAX - interest_increase:
                return False
            fees = fees + fees_increase
            interest = interest + interest_increase
            if principal > _MAX - principal_increase:
                return False
            principal = principal + principal_increase
            fees_before = fees
            if not dated or allocation == 0 or base == 4:
                # Plain additions to fees and interest are safe: what is left is not positive, and they not negative.
                if base != 4:
                    part = fees + left
                    left = part if part < 0 else 0
                    fees = part if part > 0 else 0
                part = interest + left
                left = part if part < 0 else 0
                interest = part if part > 0 else 0
            else:
                for step in range(3):
                    which = _part(allocation, step)
                    if which == 0:
                        left = left + fees
                        fees = left if left > 0 else 0
                    elif which == 1:
                        left = left + interest
                        interest = left if left > 0 else 0
                    elif principal > 0:
                        left = left + principal
                        principal = left if left > 0 else 0
                    left = left if left < 0 else 0
            if principal < -_MAX - 1 - left:
                return False
            principal = principal + left
            if dated and kinds[i] == 3 and event_day >= paying_from:
                satisfying = satisfying - amount - (fees_before - fees)
        self.fees = fees
        self.interest = interest
        self.principal = principal
        self.balance = before
        if dated:
            self.charged = charged
            self.satisfying = satisfying
        return True

    def _begin(self, start_day, first_term, last_term):
        self.term = -1
        self._next_term = first_term
        self._last_term = last_term
        self._allocation = 0
        self.charged = 0
        self.over_365 = self.over_360 = self.over_366 = 0
        self._at = self.first_accrual_day = _NEVER
        if first_term < last_term:
            self._at = -_NEVER
            self.first_accrual_day = max(start_day, self._term_days[first_term])
            self._accrued_to = self.first_accrual_day
            self._weight = self._leap_weight = 0

    def _advance(self, day, principal):
        """Accrue interest up to a day, and apply the terms that are effective by then."""
        term: cython.Py_ssize_t
        if day <= self._at:
            return
        while self._next_term < self._last_term and self._term_days[self._next_term] <= day:
            term = self._next_term
            self._accrue(self._term_days[term], principal)
            self._add_interest()
            self.term = term
            self.rate = self._rates[term]
            self.day_count = self._day_counts[term]
            self._allocation = self._allocations[term]
            if self.day_count == 2:
                self._mark = count_leap_days(self._accrued_to)
            elif self.day_count == 3:
                self._mark = count_thirty_days(self._accrued_to)
            self._next_term = term + 1
        self._accrue(day, principal)
        self._at = day

    def _accrue(self, day, principal):
        """Accrue interest from the last day so far up to another one."""
        days: cython.longlong = day - self._accrued_to
        leap_days: cython.longlong = 0
        mark: cython.longlong
        owed: int128
        if days <= 0:
            return
        if self.day_count == 2:
            mark = count_leap_days(day)
            leap_days = mark - self._mark
            days = days - leap_days
            self._mark = mark
        elif self.day_count == 3:
            mark = count_thirty_days(day)
            days = mark - self._mark
            self._mark = mark
        if principal > 0:
            owed = principal
            self._weight = self._weight + owed * days
            self._leap_weight = self._leap_weight + owed * leap_days
        if self.traced >= 0:
            self._note(day, max(0, principal), days, leap_days)
        self._accrued_to = day

    def _add_interest(self):
        """Add the interest of the time for which the rate stayed."""
        if self._weight == 0 and self._leap_weight == 0:
            return
        if self.day_count == 1 or self.day_count == 3:
            self.over_360 = self.over_360 + self._weight * self.rate
        else:
            self.over_365 = self.over_365 + self._weight * self.rate
            self.over_366 = self.over_366 + self._leap_weight * self.rate
        self._weight = self._leap_weight = 0

    def _note(self, day, principal, days, leap_days):
        """Add the days from the last one so far to the trace, and continue its last segment if nothing changed."""
        at: cython.Py_ssize_t = 6 * self.traced
        if at > 0 and self._trace[at - 4] == principal and self._trace[at - 3] == self.term:
            self._trace[at - 5] = day
            self._trace[at - 2] += days
            self._trace[at - 1] += leap_days
            return
        self._trace[at] = self._accrued_to
        self._trace[at + 1] = day
        self._trace[at + 2] = principal
        self._trace[at + 3] = self.term
        self._trace[at + 4] = days
        self._trace[at + 5] = leap_days
        self.traced = self.traced + 1

    def settle(self):
        """Round the balance with the interest accrued and not charged, half to even; return whether it fits 64 bits."""
        whole: int128 = self.balance
        rest: cython.longlong = 0  # in units of a minor unit / (_COMMON * _SCALE)
        quotient: int128
        uncharged: int128
        whole = whole - self.charged
        if self.over_365 != 0:
            quotient = _divide(self.over_365, 365 * _SCALE)
            whole = whole + quotient
            rest = rest + (self.over_365 - quotient * (365 * _SCALE)) * (_COMMON // 365)
        if self.over_360 != 0:
            quotient = _divide(self.over_360, 360 * _SCALE)
            whole = whole + quotient
            rest = rest + (self.over_360 - quotient * (360 * _SCALE)) * (_COMMON // 360)
        if self.over_366 != 0:
            quotient = _divide(self.over_366, 366 * _SCALE)
            whole = whole + quotient
            rest = rest + (self.over_366 - quotient * (366 * _SCALE)) * (_COMMON // 366)
        while rest >= _COMMON * _SCALE:
            whole = whole + 1
            rest = rest - _COMMON * _SCALE
        if 2 * rest > _COMMON * _SCALE or (2 * rest == _COMMON * _SCALE and whole % 2 != 0):
            whole = whole + 1
        uncharged = whole - self.balance
        if whole > _MAX or whole < -_MAX - 1 or uncharged > _MAX or uncharged < -_MAX - 1:
            return False
        self.total = whole
        self.uncharged = uncharged
        return True

    def find_arrears(self, day, first_schedule, first_installment, last_installment):
        """Find what is due and past due, after `settle`, and return whether the schedule is within the installments.

        Args:
            day: The day.
            first_schedule: The position of the loan's first schedule.
            first_installment: The position of the loan's first installment.
            last_installment: The position after its last installment.
        """
        low: cython.longlong = first_installment
        high: cython.longlong
        i: cython.Py_ssize_t
        left: int128 = self.satisfying
        amount: int128
        self.due = self.past_due = 0
        self.days_past_due = 0
        self.is_due = False
        if self.schedule < 0:
            return True
        high = low + self._ends[self.schedule]
        if self.schedule > first_schedule:
            low = low + self._ends[self.schedule - 1]
        if low > high or high > last_installment:
            return False
        if self.total <= 0:
            return True
        for i in range(low, high):
            if self._due_days[i] > day:
                break
            amount = self._amounts[i]
            if left >= amount:
                left = left - amount
                continue
            amount = amount - left
            left = 0
            if not self.is_due:
                self.is_due = True
                self.oldest_due_day = self._due_days[i]
            self.due = self.due + amount
            if self._due_days[i] < day:
                self.past_due = self.past_due + amount
        if self.is_due:
            self.days_past_due = day - self.oldest_due_day
            if self.days_past_due <= (self._graces[self.term] if self.term >= 0 else 0):
                self.days_past_due = 0
                self.past_due = 0
            elif self.past_due > self.total:
                self.past_due = self.total
        return True


def read_loan(timeline):
    """Return a walk over a timeline of either build, for `walk_to`."""
    loan, events, terms, schedules = timeline.columns()
    walk: Walk = Walk(events, terms, schedules)
    walk.start_day, walk.initial, walk.event_count, walk.term_count, walk.schedule_count, walk.installment_count = loan
    return walk


def walk_to(walk, day):
    """Walk over a loan to the end of a day.

    Raises:
        OverflowError: If a part does not fit 64 bits, or the day 32 bits.
    """
    number: cython.longlong = day if type(day) is int else index(day)
    if not -2147483648 <= number <= 2147483647:
        raise OverflowError(f"day {number} does not fit 32 bits")
    if not walk.run(
        number,
        walk.start_day,
        walk.initial,
        0,
        walk.event_count,
        0,
        walk.term_count,
        0,
        walk.schedule_count,
    ):
        raise OverflowError("a part of the balance does not fit 64 bits of minor units")
