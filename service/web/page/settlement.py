"""What settles a loan, how its interest accrued, and how late it is, as the view of a loan shows it."""

from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import NamedTuple

from native import (
    ALLOCATIONS,
    DAY_COUNTS,
    Arrears,
    Payoff,
    Segment,
    Timeline,
    accrual_segments,
    arrears_at,
    day_number,
    installments_at,
    payoff_at,
    payoff_totals,
    to_date,
    uncharged_at,
)
from service.domain.arrears import bucket_of
from service.domain.terms import to_percent, to_rate_string
from service.web.payoff_explanation import explain_payoff
from service.web.payoff_members import days_through, itemized_payoff, latest_total

MAX_DIGESTED = 500
"""The most segments of an explanation whose digest is shown: it takes longer than the rest of the view."""
MAX_ROWS = 360
"""The most rows of a table."""
_SATISFIED = 3  # installments that are shown before the first open one


class TermsInEffect(NamedTuple):
    """Terms on a day. The rate is for a year: in percent, and as the API has it."""

    since: date
    percent: str
    rate: str
    day_count: str
    allocation: tuple[str, str, str]
    grace_days: int


class InstallmentRow(NamedTuple):
    """An installment: what is satisfied of it, what is open, and its state in a word or two."""

    number: int
    due: date
    amount: int
    satisfied: int
    open: int
    state: str


class SegmentRow(NamedTuple):
    """Days over which interest accrued on one principal at one rate: rounded, and as an exact fraction."""

    first: date
    last: date
    days: int
    principal: int
    percent: str
    day_count: str
    interest: int
    exact: str


@dataclass(frozen=True)
class Settlement:
    """What settles a loan at the end of a day, and how late it is. Amounts are in minor units.

    Attributes:
        payoff: What settles the loan, with its parts.
        totals: What settles it at the end of each later day through the chosen one.
        latest: The last day that can be chosen.
        arrears: What is due and past due.
        bucket: The bucket of the days past due.
        scheduled: The day from which the schedule applies; None without one.
        installments: All installments of the schedule.
        accrued: The interest accrued since the first terms, exactly.
        charged: The interest charged since then, less credits and reversals.
        segments: How it accrued, in order.
        digest: The digest of the API's explanation; None if it has too many segments.
        most_segments: How many segments it may have.
    """

    payoff: Payoff
    totals: list[tuple[date, int]]
    latest: date
    arrears: Arrears
    bucket: str
    scheduled: date | None
    installments: list[InstallmentRow]
    accrued: Fraction
    charged: Fraction
    segments: list[Segment]
    digest: str | None
    most_segments: int = MAX_DIGESTED

    @property
    def accrued_rounded(self) -> int:
        """The interest accrued, rounded half to even."""
        return round(self.accrued)

    @property
    def satisfied(self) -> int:
        """The number of installments that are satisfied."""
        return sum(not row.open for row in self.installments)

    def earlier_installments(self) -> list[InstallmentRow]:
        """Return the installments before those of `shown_installments`. All of them are satisfied."""
        return self.installments[: self._first_shown()][-MAX_ROWS:]

    def shown_installments(self) -> list[InstallmentRow]:
        """Return the installments from the last satisfied ones on."""
        return self.installments[self._first_shown() :][:MAX_ROWS]

    def _first_shown(self) -> int:
        return 0 if self.satisfied <= 2 * _SATISFIED else self.satisfied - _SATISFIED

    def shown_segments(self) -> list[SegmentRow]:
        """Return the last segments, the earliest of them first."""
        return [_to_segment_row(segment) for segment in self.segments[-MAX_ROWS:]]


def terms_on(timeline: Timeline, day: date) -> TermsInEffect | None:
    """Return the terms of a loan that are in effect on a day."""
    number = day_number(day)
    for since, rate, day_count, allocation, grace_days in reversed(timeline.terms):
        if since <= number:
            return TermsInEffect(
                to_date(since), to_percent(rate), to_rate_string(rate), DAY_COUNTS[day_count],
                ALLOCATIONS[allocation], grace_days,
            )  # fmt: skip
    return None


def settle(timeline: Timeline, day: date, good_through: date | None) -> Settlement:
    """Return what settles a loan at the end of a day, and on each later day if nothing is posted until then.

    Raises:
        InvalidRequest: If the days through `good_through` cannot be shown.
        OverflowError: If an amount does not fit 64 bits.
    """
    number, later = day_number(day), days_through(day, good_through)
    payoff, arrears = payoff_at(timeline, number), arrears_at(timeline, number)
    segments = accrual_segments(timeline, number)
    accrued = sum((_interest(segment) for segment in segments), Fraction())
    digest = None
    if len(segments) <= MAX_DIGESTED:
        digest = explain_payoff(itemized_payoff(timeline, number), timeline, number)["digest"]
    return Settlement(
        payoff,
        [(to_date(each), total) for each, total in zip(later, payoff_totals(timeline, later), strict=True)],
        latest_total(day),
        arrears,
        bucket_of(arrears.days),
        _scheduled(timeline, number),
        [
            InstallmentRow(
                position, to_date(due), amount, satisfied, amount - satisfied,
                _state(due, amount - satisfied, arrears, number),
            )
            for position, (due, amount, satisfied) in enumerate(installments_at(timeline, number), 1)
        ],
        accrued,
        accrued - Fraction(*uncharged_at(timeline, number)),
        segments,
        digest,
    )  # fmt: skip


def _scheduled(timeline: Timeline, number: int) -> date | None:
    if number < timeline.start_day:
        return None
    days = [day for day, _ in timeline.schedules if day <= number]
    return to_date(days[-1]) if days else None


def _state(due: int, left: int, arrears: Arrears, number: int) -> str:
    if not left:
        return "satisfied"
    if due > number:
        return "not due yet"
    if not arrears.due:
        return "nothing owed"  # the payoff is not positive
    return "past due" if due < number and arrears.days else "due"


def _to_segment_row(segment: Segment) -> SegmentRow:
    interest = _interest(segment)
    return SegmentRow(
        to_date(segment.first_day), to_date(segment.last_day), segment.days, segment.principal,
        to_percent(segment.rate), segment.day_count, round(interest), f"{interest.numerator}/{interest.denominator}",
    )  # fmt: skip


def _interest(segment: Segment) -> Fraction:
    return Fraction(segment.numerator, segment.denominator)
