"""Random loans for the model of payoff and arrears: ordinary ones, and those at the edges of the definitions."""

from collections.abc import Callable
from datetime import date, timedelta
from fractions import Fraction
from itertools import permutations
from random import Random

from tests.models.payoff_model import DAY_COUNTS, DEFAULT_ALLOCATION, Event, Loan, Schedule, Terms

CURRENCIES = {"USD": 2, "JPY": 0, "KWD": 3}
KINDS = ("fee", "interest", "payment", "payment", "payment", "interest_credit")
ALLOCATIONS = tuple(permutations(DEFAULT_ALLOCATION))
# Days near which dates lie: ends of months, of leap years and of centuries, and before 1970.
ANCHORS = (
    date(2020, 1, 31), date(2020, 2, 28), date(2019, 12, 15), date(2020, 12, 20), date(2023, 2, 27), date(2000, 2, 20),
    date(1999, 12, 25), date(1900, 2, 20), date(2100, 2, 15), date(1969, 12, 20), date(2024, 2, 29), date(2026, 10, 31),
)  # fmt: skip
SPANS = (8, 20, 40, 40, 40, 90, 90, 120, 400, 1200)  # days over which the dates of a loan spread
SCALES = (10, 10**4, 10**7, 10**7, 10**7, 10**10)
LARGE = 2**61
HALVES = (
    (Fraction(365, 10**4), "ACT/365F"),
    (Fraction(365, 10**4), "ACT/ACT"),
    (Fraction(366, 10**4), "ACT/ACT"),
    (Fraction(36, 10**3), "ACT/360"),
    (Fraction(36, 10**3), "30E/360"),
)


class LoanGenerator:
    """Generates loans whose balances fit 64 bits, although their interest may not.

    Args:
        rng: The source of all choices.
        anchor: A day near which the dates of all loans lie; different ones by default.
        large: The scale of a few loans.
    """

    def __init__(self, rng: Random, anchor: date | None = None, large: int = LARGE) -> None:
        self._rng = rng
        self._anchor = anchor
        self._large = large

    def generate(self) -> Loan:
        rng = self._rng
        self._scale = rng.choice(SCALES) if rng.random() < 0.97 else self._large
        self._span = rng.choice(SPANS)
        self._first = self._anchor or rng.choice(ANCHORS)
        if self._anchor is None and rng.random() < 0.5:
            self._first += timedelta(days=rng.randrange(-2000, 2000))
        start = min(self._day(), self._day(), self._day()) if rng.random() < 0.8 else self._day()
        # Amounts and rates by which interest often has a half at its end.
        self._has_halves = rng.random() < 0.1
        makers: list[Callable[[int], None]] = [self._add_event] * rng.choice((0, 1, 3, 6, 6, 12, 24))
        makers += [self._add_terms] * rng.choice((0, 1, 1, 1, 2, 3, 5))
        makers += [self._add_schedule] * rng.choice((0, 1, 1, 2, 4))
        rng.shuffle(makers)
        self._initial = self._amount() if rng.random() < 0.95 else 0
        self._events: list[Event] = []
        self._terms: list[Terms] = []
        self._schedules: list[Schedule] = []
        # The order of events within a day is that of their ids, which need not be that of their versions.
        self._tx_ids = rng.sample(range(1, 10 * len(makers) + 2), len(makers))
        if rng.random() < 0.9:
            self._tx_ids.sort()
        for version, maker in enumerate(makers, 1):
            maker(version)
        currency = rng.choice(list(CURRENCIES))
        return Loan(start, self._initial, tuple(self._events), tuple(self._terms), tuple(self._schedules), currency)

    def days(self, loan: Loan, count: int) -> list[date]:
        """Choose days near something that happens to a loan, within its span, or somewhat later."""
        rng = self._rng
        near = [loan.start, *(event.day for event in loan.events), *(terms.effective for terms in loan.terms)]
        for schedule in loan.schedules:
            near += [schedule.effective, *(due for due, _ in schedule.installments)]
        last = max(near)
        return [
            rng.choice((
                rng.choice(near) + timedelta(days=rng.choice((-1, 0, 0, 1, 2, 15, 31, 61, 91, 121))),
                rng.choice(near),
                self._day(),
                last + timedelta(days=rng.randrange(200)),
            ))
            for _ in range(count)
        ]  # fmt: skip

    def _day(self) -> date:
        day = self._first + timedelta(days=self._rng.randrange(self._span))
        if self._rng.random() < 0.2:  # the last day of a month, or the first
            day = day.replace(day=1) - timedelta(days=self._rng.randrange(2))
        return day

    def _amount(self) -> int:
        amount = self._rng.randint(1, self._rng.choice((self._scale, self._scale, max(1, self._scale // 100))))
        return amount - amount % 2500 + 2500 if self._has_halves else amount

    def _add_event(self, version: int) -> None:
        rng = self._rng
        tx_id = self._tx_ids.pop(0)
        gone = {event.reverses for event in self._events}
        reversible = [e for e in self._events if e.reverses is None and e.version not in gone]
        if reversible and rng.random() < 0.25:
            first = rng.choice(reversible)
            day = first.day if rng.random() < 0.3 else self._day()
            self._events.append(Event(version, tx_id, day, first.kind, first.amt, first.version))
            return
        amt = self._amount()
        if self._scale == self._large:
            amt = amt // 32 + 1  # so that no sum of events leaves 64 bits
        elif rng.random() < 0.05:
            amt = self._initial or amt
        elif rng.random() < 0.7:
            amt = amt // 8 + 1
        self._events.append(Event(version, tx_id, self._day(), rng.choice(KINDS), amt))

    def _add_terms(self, version: int) -> None:
        rng = self._rng
        reversible = _reversible(self._terms)
        if reversible and rng.random() < 0.2:
            first = rng.choice(reversible)
            self._terms.append(
                Terms(
                    version,
                    first.effective,
                    first.rate,
                    first.day_count,
                    first.allocation,
                    first.grace_days,
                    first.version,
                )
            )
            return
        effective = rng.choice(self._terms).effective if self._terms and rng.random() < 0.3 else self._day()
        allocation = rng.choice(ALLOCATIONS) if rng.random() < 0.6 else DEFAULT_ALLOCATION
        grace = rng.choice((0, 0, 1, 5, 15, 30, 100))
        rate, day_count = rng.choice(HALVES) if self._has_halves else (self._rate(), rng.choice(DAY_COUNTS))
        self._terms.append(Terms(version, effective, rate, day_count, allocation, grace))

    def _rate(self) -> Fraction:
        rng = self._rng
        return Fraction(
            rng.choice((
                0, 1, 10**7, 5 * 10**6, 365 * 10**4, 36 * 10**5, 10**9, rng.randrange(10**9 + 1),
                rng.randrange(10**8), rng.randrange(3 * 10**7), rng.randrange(3 * 10**7),
            )),
            10**8,
        )  # fmt: skip

    def _add_schedule(self, version: int) -> None:
        rng = self._rng
        reversible = _reversible(self._schedules)
        if reversible and rng.random() < 0.2:
            first = rng.choice(reversible)
            self._schedules.append(Schedule(version, first.effective, first.installments, first.version))
            return
        effective = rng.choice(self._schedules).effective if self._schedules and rng.random() < 0.3 else self._day()
        count = rng.choice((1, 2, 3, 6, 12))
        dues = sorted(self._day() if rng.random() < 0.9 else effective for _ in range(count))
        most = max(1, self._scale // rng.choice((1, count, 32)))
        if self._scale == self._large:
            most //= 8  # so that the installments together fit 64 bits
        installments = tuple((due, rng.randint(1, most)) for due in dues)
        self._schedules.append(Schedule(version, effective, installments))


def _reversible(records: list) -> list:
    gone = {record.reverses for record in records}
    return [record for record in records if record.reverses is None and record.version not in gone]
