"""The installments that a method makes: the model of payoffs is charged and paid on each due date, and then settled."""

from calendar import monthrange
from dataclasses import replace
from datetime import date
from fractions import Fraction

from tests.models.accrual_model import MOST
from tests.models.payoff_model import PRINCIPAL, Event, Loan


class NoSchedule(Exception):
    """The method has no schedule for the loan."""


def make_installments(
    loan: Loan, effective: date, method: str, count: int, first: date, every_months: int, end_of_month: bool
) -> list[tuple[date, int]]:
    """Return the due dates and the amounts.

    Raises:
        NoSchedule: If an installment is not above zero, or one before the last settles the loan.
    """
    principal = loan.walk(effective).parts[PRINCIPAL]
    if not 0 < principal <= MOST:
        raise NoSchedule
    dates = [_due_date(first, number * every_months, end_of_month) for number in range(count)]
    unpaid = Loan(effective, principal, (), loan.terms)
    annuity = round(principal / _present_values(replace(unpaid, initial=1), dates))
    made: list[tuple[date, int]] = []
    for due in dates:
        payoff = unpaid.payoff(due)
        regular = annuity if method == "annuity" else payoff.uncharged
        if method == "equal_principal":
            regular += round(Fraction(principal, count))
        amount = payoff.total if due == dates[-1] else regular
        if amount <= 0 or (amount >= payoff.total and due != dates[-1]) or amount > MOST:
            raise NoSchedule
        if payoff.uncharged:
            kind = "interest" if payoff.uncharged > 0 else "interest_credit"
            unpaid = _post(unpaid, due, kind, abs(payoff.uncharged))
        unpaid = _post(unpaid, due, "payment", amount)
        made.append((due, amount))
    return made


def _present_values(unit: Loan, dates: list[date]) -> Fraction:
    """Return what payments of 1 on each date are worth at the loan's start."""
    total, value, before = Fraction(0), Fraction(1), Fraction(0)
    for due in dates:
        accrued = unit.walk(due).accrued
        value /= 1 + accrued - before
        total, before = total + value, accrued
    return total


def _due_date(first: date, months: int, end_of_month: bool) -> date:
    year, month = divmod(12 * first.year + first.month - 1 + months, 12)
    last = monthrange(year, month + 1)[1]
    return date(year, month + 1, last if end_of_month else min(first.day, last))


def _post(loan: Loan, day: date, kind: str, amt: int) -> Loan:
    number = 1 + len(loan.events)
    return replace(loan, events=(*loan.events, Event(loan.version + 1, number, day, kind, amt)))
