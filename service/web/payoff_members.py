"""Members of replies that say what settles a loan and how late it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any, Protocol

from native import Timeline, arrears_at, day_number, payoff_at, to_date
from service.domain.money import to_decimal_string
from service.errors import AmountTooLarge, InvalidRequest

MAX_TOTALS = 366
"""The most later days for which a payoff has totals."""


class Requested(Protocol):
    """A request's choice of members."""

    payoff: bool
    arrears: bool


@contextmanager
def shown_amounts(loan_id: int) -> Iterator[None]:
    """Convert an overflow within the block to an error about the loan.

    Raises:
        AmountTooLarge: Instead of OverflowError.
    """
    try:
        yield
    except OverflowError as err:
        raise AmountTooLarge(loan_id) from err


def days_through(day: date, good_through: date | None) -> range:
    """Return the day numbers of the days after a day, through another one.

    Raises:
        InvalidRequest: If `good_through` is before the day, or more than MAX_TOTALS days after it.
    """
    first = day_number(day)
    last = first if good_through is None else day_number(good_through)
    if not first <= last <= first + MAX_TOTALS:
        expected = f"expected a date from {day} to {latest_total(day)}, {MAX_TOTALS} days later"
        raise InvalidRequest([("good_through", expected)])
    return range(first + 1, last + 1)


def latest_total(day: date) -> date:
    """Return the last day for which a payoff on a day has a total."""
    return to_date(min(day_number(day) + MAX_TOTALS, day_number(date.max)))


def itemized_payoff(timeline: Timeline, day: int) -> dict[str, Any]:
    """Return the payoff at the end of a day with its parts, as the API has them.

    Raises:
        OverflowError: If an amount does not fit 64 bits.
    """
    payoff = payoff_at(timeline, day)
    amounts = {
        "principal": payoff.principal,
        "interest_charged": payoff.interest,
        "interest_uncharged": payoff.uncharged,
        "fees": payoff.fees,
        "total": payoff.total,
        "per_diem": payoff.per_diem,
    }
    return {
        "loan_id": timeline.loan_id,
        "date": to_date(day).isoformat(),
        "currency": timeline.currency,
        "version": timeline.version,
        **{name: to_decimal_string(amount, timeline.exponent) for name, amount in amounts.items()},
    }


def payoff_members(timeline: Timeline, day: int) -> dict[str, Any]:
    """Return the interest not charged yet and the payoff at the end of a day.

    Raises:
        AmountTooLarge: If one of them does not fit 64 bits.
    """
    with shown_amounts(timeline.loan_id):
        payoff = payoff_at(timeline, day)
    return {
        "interest_uncharged": to_decimal_string(payoff.uncharged, timeline.exponent),
        "payoff": to_decimal_string(payoff.total, timeline.exponent),
    }


def arrears_members(timeline: Timeline, day: int) -> dict[str, Any]:
    """Return the amount that is past due at the end of a day, and for how many days.

    Raises:
        AmountTooLarge: If the amount or the payoff, which limits it, does not fit 64 bits.
    """
    with shown_amounts(timeline.loan_id):
        arrears = arrears_at(timeline, day)
    return {"past_due": to_decimal_string(arrears.past_due, timeline.exponent), "days_past_due": arrears.days}


def settlement_members(timeline: Timeline, day: int, requested: Requested) -> dict[str, Any]:
    """Return the members that a request selects with `payoff` and `arrears`.

    Raises:
        AmountTooLarge: If an amount does not fit 64 bits.
    """
    members = payoff_members(timeline, day) if requested.payoff else {}
    return members | arrears_members(timeline, day) if requested.arrears else members
