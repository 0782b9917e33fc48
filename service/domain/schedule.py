"""Installments that repay a loan, computed by a method from the loan's own terms in exact fractions.

The interest of an installment is what `accrue` posts on its due date: the interest accrued since the effective date
that was not charged yet, so that what one rounding leaves goes into the next. Accruing and paying each installment on
its due date therefore settles the loan.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from itertools import pairwise
from typing import Literal

from native import ALLOCATIONS, Timeline, day_number, uncharged_at
from service.domain.due_dates import due_dates
from service.domain.money import MAX_MINOR_UNITS

METHODS = ("annuity", "equal_principal", "bullet")
MAX_INSTALLMENTS = 1200
MAX_MONTHS = 1200

TermsRow = tuple[int, int, int, int, int]
"""Effective day, rate, day count, allocation and grace days, as `native.Timeline.terms` has them."""


@dataclass(frozen=True)
class ScheduleMethod:
    """How installments are computed.

    Attributes:
        name: `annuity` (equal amounts), `equal_principal` (equal parts of the principal, plus interest) or `bullet`
            (interest, and the principal with the last).
        count: The number of installments, up to MAX_INSTALLMENTS.
        first_due_date: When the first one is due.
        every_months: The number of months between due dates, up to MAX_MONTHS.
        end_of_month: Whether each due date is the last day of its month.
    """

    name: Literal["annuity", "equal_principal", "bullet"]
    count: int
    first_due_date: date
    every_months: int
    end_of_month: bool = False


def make_installments(
    method: ScheduleMethod, principal: int, effective_date: date, terms: Sequence[TermsRow]
) -> list[tuple[date, int]]:
    """Return the due date and the amount of each installment, in minor units.

    The annuity is P / (v1 + v1 v2 + ...), where v = 1 / (1 + r f) for the rate and the fraction of the year of each
    period, rounded half-even. The last installment of each method is what then settles the loan.

    Args:
        method: How to compute them.
        principal: What is owed at the effective date, in minor units: principal only.
        effective_date: From when on interest accrues.
        terms: The loan's terms, in the order of their effective days, one for each.

    Raises:
        ValueError: If the method has no such schedule. The message says what is expected.
    """
    _check(method, principal, effective_date)
    dates = due_dates(method.first_due_date, method.count, method.every_months, end_of_month=method.end_of_month)
    growths = _growths(terms, [effective_date, *dates])
    annuity = _annuity(principal, growths) if method.name == "annuity" else 0
    share = round(Fraction(principal, method.count)) if method.name == "equal_principal" else 0
    unpaid = _Unpaid(principal)
    installments: list[tuple[date, int]] = []
    for due_date, growth in zip(dates, growths, strict=True):
        interest = unpaid.accrue(growth)
        is_last = len(installments) == method.count - 1
        regular = annuity if method.name == "annuity" else share + interest
        amount = unpaid.total if is_last else regular
        if amount <= 0 or (amount >= unpaid.total and not is_last):
            raise ValueError(
                f"expected each installment to be above zero and only the last to settle the loan, not the one due "
                f"{due_date.isoformat()}: use fewer installments, or another method"
            )
        if amount > MAX_MINOR_UNITS:
            raise ValueError(f"expected installments of at most {MAX_MINOR_UNITS} minor units")
        unpaid.pay(amount, principal_first=_pays_principal_first(terms, due_date))
        installments.append((due_date, amount))
    return installments


class _Unpaid:
    """What is owed while installments are charged and paid, as the walk over the loan's events will find it."""

    def __init__(self, principal: int) -> None:
        self._principal = principal
        self._interest = 0
        self._uncharged = Fraction(0)

    @property
    def total(self) -> int:
        return self._principal + self._interest

    def accrue(self, growth: Fraction) -> int:
        """Charge the interest of a period, and return it; negative if it is a credit of one minor unit."""
        self._uncharged += self._principal * growth
        # The total is rounded, not the interest: they differ in ties.
        charged = round(self.total + self._uncharged) - self.total
        self._uncharged -= charged
        self._interest += charged
        if self._interest < 0:
            self._principal += self._interest
            self._interest = 0
        return charged

    def pay(self, amount: int, *, principal_first: bool) -> None:
        if principal_first:
            paid = min(amount, self._principal)
            self._interest -= amount - paid
        else:
            paid = max(0, amount - self._interest)
            self._interest -= amount - paid
        self._principal -= paid


def _check(method: ScheduleMethod, principal: int, effective_date: date) -> None:
    if method.name not in METHODS:
        raise ValueError(f"expected one of {', '.join(METHODS)}")
    if not 1 <= method.count <= MAX_INSTALLMENTS:
        raise ValueError(f"expected 1 to {MAX_INSTALLMENTS} installments")
    if not 1 <= method.every_months <= MAX_MONTHS:
        raise ValueError(f"expected 1 to {MAX_MONTHS} months between installments")
    if method.first_due_date <= effective_date:
        raise ValueError(f"expected a first due date after the effective date, {effective_date.isoformat()}")
    if not 0 < principal <= MAX_MINOR_UNITS:
        raise ValueError("expected a loan that owes principal on the effective date")


def _growths(terms: Sequence[TermsRow], dates: Sequence[date]) -> list[Fraction]:
    """Return the interest on a principal of 1 from each date to the next."""
    unit = Timeline.build(
        loan_id=0, version=len(terms), horizon=0, start_day=day_number(dates[0]), initial=1, currency="XXX", exponent=0,
        days=(), kinds=(), amounts=(), tx_ids=(), versions=(), recorded_at=(), reverses=(), terms=terms,
    )  # fmt: skip
    accrued = [Fraction(*uncharged_at(unit, day_number(day))) for day in dates]
    return [later - earlier for earlier, later in pairwise(accrued)]


def _annuity(principal: int, growths: Sequence[Fraction]) -> int:
    # v1 (1 + v2 (1 + ...)) as one fraction, not reduced: reducing it in each step would take most of the time.
    numerator, denominator = 0, 1
    for growth in reversed(growths):
        numerator = growth.denominator * (numerator + denominator)
        denominator *= growth.numerator + growth.denominator
    return round(Fraction(principal * denominator, numerator))


def _pays_principal_first(terms: Sequence[TermsRow], day: date) -> bool:
    number = day_number(day)
    allocation = next((row[3] for row in reversed(terms) if row[0] <= number), 0)
    order = ALLOCATIONS[allocation]
    return order.index("principal") < order.index("interest")
