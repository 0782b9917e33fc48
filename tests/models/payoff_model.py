"""Payoff and arrears of one loan in exact fractions, day by day, in the simplest way: the reference for the core.

Nothing is shared with the core or the service: dates are dates, rates are fractions, and every question walks over the
loan again. Amounts are minor units.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple, TypeVar

FEES, INTEREST, PRINCIPAL = "fees", "interest", "principal"
DAY_COUNTS = ("ACT/365F", "ACT/360", "ACT/ACT", "30E/360")
DEFAULT_ALLOCATION = (FEES, INTEREST, PRINCIPAL)
# The parts that events increase; those of payments and credits are reversals that are dated before their event.
INCREASED_PARTS = {"fee": FEES, "interest": INTEREST, "interest_credit": INTEREST, "payment": PRINCIPAL}
ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Event:
    """A posted event. `amt` is positive; a reversal has the kind and amount of the event that it reverses."""

    version: int  # the number of the loan's records with this one; a reversal names that of what it reverses
    tx_id: int
    day: date
    kind: str  # fee, interest, payment or interest_credit
    amt: int
    reverses: int | None = None

    @property
    def signed(self) -> int:
        lowers = self.kind in ("payment", "interest_credit")
        return -self.amt if lowers == (self.reverses is None) else self.amt


@dataclass(frozen=True)
class Terms:
    """The terms from an effective date on."""

    version: int
    effective: date
    rate: Fraction
    day_count: str
    allocation: tuple[str, str, str] = DEFAULT_ALLOCATION
    grace_days: int = 0
    reverses: int | None = None


@dataclass(frozen=True)
class Schedule:
    """The installments, pairs of a due date and an amount, from an effective date on."""

    version: int
    effective: date
    installments: tuple[tuple[date, int], ...]
    reverses: int | None = None


class DayInterest(NamedTuple):
    """The interest of one day: `weight / basis` years of `rate` on `principal`."""

    day: date
    principal: int
    terms: Terms
    weight: int
    basis: int


class Payoff(NamedTuple):
    fees: int
    interest: int
    principal: int
    uncharged: int
    total: int
    per_diem: int


class Arrears(NamedTuple):
    due: int
    past_due: int
    days: int
    oldest_due_date: date | None
    bucket: str


def year_basis(day_count: str, day: date) -> int:
    """Return the number of days by which the interest of one day divides the annual rate."""
    if day_count == "ACT/ACT":
        return 366 if (day.year % 4 == 0 and day.year % 100 != 0) or day.year % 400 == 0 else 365
    return 365 if day_count == "ACT/365F" else 360


def day_weight(day_count: str, day: date) -> int:
    """Return how many days of interest pass from one day to the next."""
    return thirty_days(day + ONE_DAY) - thirty_days(day) if day_count == "30E/360" else 1


def thirty_days(day: date) -> int:
    return 360 * day.year + 30 * day.month + min(day.day, 30)


def total_interest(accruals: Iterable[DayInterest]) -> Fraction:
    """Return the sum of the exact interest of days, whose weights are added first: adding fractions is slow."""
    rates: dict[int, Fraction] = {}
    weights: Counter[tuple[int, int, int]] = Counter()
    for day in accruals:
        rates[day.terms.version] = day.terms.rate
        weights[day.principal, day.terms.version, day.basis] += day.weight
    interest = (
        principal * rates[version] * Fraction(weight, basis)
        for (principal, version, basis), weight in weights.items()
        if principal
    )
    return sum(interest, Fraction(0))


def bucket(days: int) -> str:
    for most, name in ((0, "current"), (30, "1-30"), (60, "31-60"), (90, "61-90"), (120, "91-120")):
        if days <= most:
            return name
    return "over 120"


@dataclass(frozen=True)
class Walk:
    """What a walk over a loan found at the end of a day."""

    parts: dict[str, int]
    charged: int
    accruals: list[DayInterest]
    satisfying: int  # what payments since the schedule's effective date left after fees

    @cached_property
    def accrued(self) -> Fraction:
        return total_interest(self.accruals)


@dataclass(frozen=True)
class Loan:
    """A loan with all its records, in any order."""

    start: date
    initial: int
    events: tuple[Event, ...] = ()
    terms: tuple[Terms, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    currency: str = "USD"

    @property
    def version(self) -> int:
        return max((record.version for record in (*self.events, *self.terms, *self.schedules)), default=0)

    def known(self, version: int) -> "Loan":
        """Return the loan with its records up to a version."""
        return Loan(
            self.start,
            self.initial,
            tuple(event for event in self.events if event.version <= version),
            tuple(terms for terms in self.terms if terms.version <= version),
            tuple(schedule for schedule in self.schedules if schedule.version <= version),
            self.currency,
        )

    @cached_property
    def effective_terms(self) -> tuple[Terms, ...]:
        """The terms that count, one for each effective date, in order."""
        return effective(self.terms)

    @cached_property
    def effective_schedules(self) -> tuple[Schedule, ...]:
        return effective(self.schedules)

    def terms_on(self, day: date) -> Terms | None:
        return in_effect(self.effective_terms, day)

    def schedule_on(self, day: date) -> Schedule | None:
        return in_effect(self.effective_schedules, day)

    def first_accrual_day(self) -> date | None:
        terms = self.effective_terms
        return max(self.start, terms[0].effective) if terms else None

    def counted_events(self, day: date) -> list[Event]:
        """Return the events dated by a day, in order, without those that were reversed by then and their reversals."""
        dated = sorted((e for e in self.events if e.day <= day), key=lambda event: (event.day, event.tx_id))
        versions = {event.version for event in dated}
        gone = {event.reverses for event in dated}
        return [event for event in dated if event.version not in gone and event.reverses not in versions]

    def balance(self, day: date) -> int:
        if day < self.start:
            return 0
        return self.initial + sum(event.signed for event in self.events if event.day <= day)

    def walk(self, day: date) -> Walk:
        """Walk from the start of the loan to the end of a day."""
        parts = {FEES: 0, INTEREST: 0, PRINCIPAL: 0}
        walk = Walk(parts, 0, [], 0)
        if day < self.start:
            return walk
        parts[PRINCIPAL] = self.initial
        begin = self.first_accrual_day()
        schedule = self.schedule_on(day)
        charged = satisfying = 0
        upcoming = self.counted_events(day)
        future_terms = list(self.effective_terms)
        terms: Terms | None = None
        today = self.start
        while today <= day:
            while upcoming and upcoming[0].day <= today:
                event = upcoming.pop(0)
                paid_fees = apply(event, parts, self.terms_on(event.day))
                if event.kind in ("interest", "interest_credit") and begin is not None and event.day > begin:
                    charged += event.signed
                is_payment = event.kind == "payment" and event.reverses is None
                if is_payment and schedule is not None and event.day >= schedule.effective:
                    satisfying += event.amt - paid_fees
            while future_terms and future_terms[0].effective <= today:
                terms = future_terms.pop(0)
            if terms is not None and today < day:
                weight, basis = day_weight(terms.day_count, today), year_basis(terms.day_count, today)
                walk.accruals.append(DayInterest(today, max(0, parts[PRINCIPAL]), terms, weight, basis))
            today += ONE_DAY
        return Walk(parts, charged, walk.accruals, satisfying)

    def uncharged(self, day: date) -> Fraction:
        walk = self.walk(day)
        return walk.accrued - walk.charged

    def payoff(self, day: date) -> Payoff:
        return self._payoff(self.walk(day), day)

    def _payoff(self, walk: Walk, day: date) -> Payoff:
        fees, interest, principal = (walk.parts[part] for part in (FEES, INTEREST, PRINCIPAL))
        balance = self.balance(day)
        assert fees + interest + principal == balance
        total = round(balance + walk.accrued - walk.charged)
        terms = self.terms_on(day)
        per_diem = 0
        if terms is not None and day >= self.start:
            per_diem = round(max(0, principal) * terms.rate / year_basis(terms.day_count, day))
        return Payoff(fees, interest, principal, total - balance, total, per_diem)

    def installments(self, day: date) -> list[tuple[date, int, int]]:
        """Return each installment of the schedule in effect, with how much of it is satisfied."""
        return self._installments(self.walk(day), day)

    def _installments(self, walk: Walk, day: date) -> list[tuple[date, int, int]]:
        schedule = self.schedule_on(day)
        if schedule is None or day < self.start:
            return []
        left, found = walk.satisfying, []
        for due_date, amt in sorted(schedule.installments, key=lambda installment: installment[0]):
            satisfied = min(amt, left)
            left -= satisfied
            found.append((due_date, amt, satisfied))
        return found

    def arrears(self, day: date) -> Arrears:
        return self.answers(day)[1]

    def answers(self, day: date) -> tuple[Payoff, Arrears, list[tuple[date, int, int]], Walk]:
        """Return the payoff, the arrears, the installments and the walk, which takes most of the time, itself."""
        walk = self.walk(day)
        payoff, installments = self._payoff(walk, day), self._installments(walk, day)
        open_amounts = [(due, amt - satisfied) for due, amt, satisfied in installments if due <= day]
        unsatisfied = [(due, amt) for due, amt in open_amounts if amt > 0]
        if payoff.total <= 0 or not unsatisfied:
            return payoff, Arrears(0, 0, 0, None, "current"), installments, walk
        oldest = unsatisfied[0][0]
        days = (day - oldest).days
        past_due = min(sum(amt for due, amt in unsatisfied if due < day), payoff.total)
        terms = self.terms_on(day)
        if days <= (terms.grace_days if terms is not None else 0):
            days = past_due = 0
        due_amount = sum(amt for _, amt in unsatisfied)
        return payoff, Arrears(due_amount, past_due, days, oldest, bucket(days)), installments, walk


R = TypeVar("R", Terms, Schedule)


def effective(records: Iterable[R]) -> tuple[R, ...]:
    """Return the records that count: of each effective date the last recorded one that was not reversed."""
    records = sorted(records, key=lambda record: record.version)
    gone = {record.reverses for record in records}
    counted = [record for record in records if record.reverses is None and record.version not in gone]
    by_date = {record.effective: record for record in counted}
    return tuple(by_date[day] for day in sorted(by_date))


def in_effect(ordered: Sequence[R], day: date) -> R | None:
    return next((record for record in reversed(ordered) if record.effective <= day), None)


def apply(event: Event, parts: dict[str, int], terms: Terms | None) -> int:
    """Change the parts by an event, and return how much of it went to fees."""
    if event.signed > 0:
        parts[INCREASED_PARTS[event.kind]] += event.signed
        return 0
    order = terms.allocation if terms is not None else DEFAULT_ALLOCATION
    if event.kind == "interest_credit":
        order = (INTEREST, PRINCIPAL)
    left, paid = -event.signed, dict.fromkeys(parts, 0)
    for part in order:
        paid[part] = min(left, max(0, parts[part]))
        parts[part] -= paid[part]
        left -= paid[part]
    parts[PRINCIPAL] -= left
    return paid[FEES]
