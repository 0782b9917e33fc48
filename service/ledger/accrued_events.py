"""Adds the interest that has accrued before payments to the events of a request."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import NamedTuple

from native import FEE, INTEREST, INTEREST_CREDIT, PAYMENT, REVERSAL, Timeline, day_number
from service.domain.accrual import LedgerEvent, charge_on, find_later_interest, with_events
from service.domain.money import to_minor_units
from service.errors import InvalidRequest, PostingRefused
from service.ledger.charges import TOO_LARGE, later_interest, to_event
from service.ledger.posting import NewEvent

MAX_ACCRUED_DATES = 100
"""The number of dates of payments before which one request accrues: each reads all events of the loan."""

_KINDS = {"fee": FEE, "interest": INTEREST, "payment": PAYMENT, "interest_credit": INTEREST_CREDIT}


class Placed(NamedTuple):
    """An event to post.

    Attributes:
        event: The event.
        number: Its position in the request, or that of the payment before which it charges interest.
        is_interest: Whether it charges interest that has accrued.
        in_ledger: The event as the ledger would hold it; None if the ledger refuses it.
    """

    event: NewEvent
    number: int
    is_interest: bool
    in_ledger: LedgerEvent | None


def add_accrued(timeline: Timeline, events: Sequence[NewEvent], today: date) -> list[Placed]:
    """Return the events of a request, with an event before the first payment of each date that charges what accrued.

    Events that the ledger is going to refuse are not computed with: it then refuses all of them.

    Args:
        timeline: The loan as the ledger has it.
        events: The events of the request.
        today: The last day on which interest is charged.

    Raises:
        InvalidRequest: If payments have too many dates.
        PostingRefused: If a payment is dated after today, or before interest of the ledger or of the request that is
            not reversed; or if an amount is too large.
    """
    ledger_events = _to_ledger_events(timeline, events)
    placed = [
        Placed(event, number, False, in_ledger)
        for number, (event, in_ledger) in enumerate(zip(events, ledger_events, strict=True))
    ]
    payments = [p for p in placed if p.in_ledger is not None and p.in_ledger.kind == PAYMENT]
    days = sorted({payment.event.post_date for payment in payments})
    if len(days) > MAX_ACCRUED_DATES:
        raise InvalidRequest([("events", f"expected payments on at most {MAX_ACCRUED_DATES} dates with `accrue`")])
    try:
        _check_days(timeline, placed, payments, today)
        for day in days:
            placed = _charge_before(timeline, placed, day)
    except OverflowError as err:
        # The sum of all amounts bounds the balance, so the ledger would refuse them, too.
        raise PostingRefused([("events", "the loan's balance would exceed what the ledger can store")]) from err
    return placed


def _check_days(timeline: Timeline, placed: Sequence[Placed], payments: Sequence[Placed], today: date) -> None:
    late = [p for p in payments if p.event.post_date > today]
    if late:
        raise PostingRefused([(f"events.{p.number}.post_date", up_to(today)) for p in late])
    then = _with_placed(timeline, placed)
    later = {day: find_later_interest(then, day) for day in {payment.event.post_date for payment in payments}}
    errors = [
        (f"events.{payment.number}.post_date", later_interest(found))
        for payment in payments
        if (found := later[payment.event.post_date]) is not None
    ]
    if errors:
        raise PostingRefused(errors)


def up_to(today: date) -> str:
    """Return why interest is not charged on a later day."""
    return f"expected a date up to today, which is {today}"


def _charge_before(timeline: Timeline, placed: list[Placed], day: date) -> list[Placed]:
    """Return the events with one that charges what has accrued by a day, before the first payment of the day."""
    then = _with_placed(timeline, placed)
    at, first = next(
        (at, p)
        for at, p in enumerate(placed)
        if p.in_ledger is not None and p.in_ledger.kind == PAYMENT and p.event.post_date == day
    )
    try:
        charge = charge_on(then, day)
    except OverflowError as err:
        raise PostingRefused([(f"events.{first.number}.post_date", TOO_LARGE)]) from err
    if charge is None:
        return placed
    in_ledger = LedgerEvent(day_number(day), _KINDS[charge.event_type], charge.amount)
    interest = Placed(to_event(charge, day, timeline.exponent), first.number, True, in_ledger)
    return [*placed[:at], interest, *placed[at:]]


def _with_placed(timeline: Timeline, placed: Sequence[Placed]) -> Timeline:
    return with_events(timeline, [p.in_ledger for p in placed if p.in_ledger is not None])


def _to_ledger_events(timeline: Timeline, events: Sequence[NewEvent]) -> list[LedgerEvent | None]:
    reversible: dict[int, LedgerEvent] = {}
    if any(event.reverses is not None for event in events):
        reversible = {
            tx_id: LedgerEvent(day, kind, abs(amount))
            for day, kind, amount, _, tx_id, _, _, reverses, reversed_by in timeline.events(0, len(timeline))
            if not reverses and not reversed_by
        }
    return [_to_ledger_event(event, timeline.exponent, reversible) for event in events]


def _to_ledger_event(event: NewEvent, digits: int, reversible: Mapping[int, LedgerEvent]) -> LedgerEvent | None:
    """Return the event as the ledger would hold it; None if it breaks a rule of its amount or of reversals."""
    try:
        amount = to_minor_units(event.amount, digits)
    except ValueError:
        return None
    found = LedgerEvent(day_number(event.post_date), _KINDS[event.event_type], amount)
    if event.reverses is None:
        return found
    target = reversible.get(event.reverses)
    if target is None or target[1:] != found[1:] or target.day > found.day:
        return None
    return found._replace(kind=found.kind | REVERSAL, reverses=event.reverses)
