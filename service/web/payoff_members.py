"""Members of replies that say what settles a loan and how late it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from native import Timeline, arrears_at, payoff_at
from service.domain.money import to_decimal_string
from service.errors import AmountTooLarge


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
