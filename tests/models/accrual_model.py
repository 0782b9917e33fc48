"""Which interest is charged to a loan, by the model of payoffs in exact fractions."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from tests.models.payoff_model import Event, Loan

MOST = 10**18 - 1  # the largest amount of an event
MOST_TURNOVER = 2**63 - 1  # the largest sum of a loan's principal and all its events


class Refused(Exception):
    """Nothing is posted.

    Attributes:
        fields: The fields that may be named.
    """

    def __init__(self, *fields: str) -> None:
        super().__init__(*fields)
        self.fields = set(fields)


def turnover(loan: Loan) -> int:
    """Return the sum of a loan's principal and all its events."""
    return loan.initial + sum(event.amt for event in loan.events)


def later_interest(loan: Loan, day: date) -> bool:
    """Return whether a loan has interest, or a credit of it, after a day that is not reversed on any day."""
    gone = {event.reverses for event in loan.events}
    return any(
        event.day > day and event.reverses is None and event.version not in gone
        for event in loan.events
        if event.kind in ("interest", "interest_credit")
    )


def charge_on(loan: Loan, day: date) -> tuple[str, int] | None:
    """Return the type and the amount of what is charged on a day; None if nothing is.

    Raises:
        Refused: If the ledger cannot store it.
    """
    uncharged = loan.payoff(day).uncharged
    if uncharged == 0:
        return None
    if abs(uncharged) > MOST or turnover(loan) + abs(uncharged) > MOST_TURNOVER:
        raise Refused("date")
    return "interest" if uncharged > 0 else "interest_credit", abs(uncharged)


def accrue(loan: Loan, day: date, today: date) -> tuple[str, int] | None:
    """Return what a request to accrue charges.

    Raises:
        Refused: If the day is not open, or the ledger cannot store the amount.
    """
    if day > today or later_interest(loan, day):
        raise Refused("date")
    return charge_on(loan, day)


def with_events(loan: Loan, events: Sequence[Event]) -> Loan:
    """Return the loan with more events, which get the next versions and transaction ids."""
    newest = max((event.tx_id for event in loan.events), default=0)
    added = tuple(
        replace(event, version=loan.version + number, tx_id=newest + number) for number, event in enumerate(events, 1)
    )
    return replace(loan, events=(*loan.events, *added))


def with_accrued(loan: Loan, events: Sequence[Event], today: date) -> list[Event]:
    """Return the events of a request with what accrued, before the first payment of each date.

    Raises:
        Refused: If a payment is dated after today or before interest, or the ledger cannot store an amount.
    """
    numbers = {number: event.day for number, event in enumerate(events) if is_payment(event)}
    whole = with_events(loan, events)
    refused = {n for n, day in numbers.items() if day > today} or {
        n for n, day in numbers.items() if later_interest(whole, day)
    }
    if refused:
        raise Refused(*(f"events.{number}.post_date" for number in refused))
    placed = list(events)
    for day in sorted(set(numbers.values())):
        try:
            charged = charge_on(with_events(loan, placed), day)
        except Refused:
            raise Refused("events", *(f"events.{n}.{name}" for n in numbers for name in ("post_date", "amt"))) from None
        if charged is not None:
            position = next(at for at, event in enumerate(placed) if is_payment(event) and event.day == day)
            placed.insert(position, Event(0, 0, day, *charged))
    if turnover(with_events(loan, placed)) > MOST_TURNOVER:
        raise Refused("events", *(f"events.{number}.amt" for number in range(len(events))))
    return placed


def is_payment(event: Event) -> bool:
    return event.kind == "payment" and event.reverses is None
