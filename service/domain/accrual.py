"""The interest to charge to a loan: what has accrued by a day and was not charged yet."""

from bisect import bisect
from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

from native import INTEREST, INTEREST_CREDIT, REVERSAL, Timeline, day_number, payoff_at, to_date

_LAST_DAY = day_number(date.max)


class Charge(NamedTuple):
    """An event that charges interest, or takes back what was charged too much.

    Attributes:
        event_type: `interest` or `interest_credit`.
        amount: Minor units, above zero.
    """

    event_type: str
    amount: int


class LedgerEvent(NamedTuple):
    """An event of a loan.

    Attributes:
        day: The day from which it counts, as a day number.
        kind: FEE, INTEREST, PAYMENT or INTEREST_CREDIT, with the flag REVERSAL for a reversal.
        amount: Its amount as posted, in minor units.
        reverses: The transaction id of the event that it reverses, or 0.
    """

    day: int
    kind: int
    amount: int
    reverses: int = 0


def charge_on(timeline: Timeline, day: date) -> Charge | None:
    """Return what makes the interest charged by a day equal to the interest accrued by then; None if it is.

    Raises:
        OverflowError: If the amount does not fit 64 bits of minor units.
    """
    uncharged = payoff_at(timeline, day_number(day)).uncharged
    if uncharged == 0:
        return None
    return Charge("interest", uncharged) if uncharged > 0 else Charge("interest_credit", -uncharged)


def find_later_interest(timeline: Timeline, day: date) -> date | None:
    """Return the first date after a day that has interest or an interest credit which is not reversed."""
    for event_day, kind, *_, reverses, reversed_by in timeline.window(day_number(day) + 1, _LAST_DAY):
        if kind & ~REVERSAL in (INTEREST, INTEREST_CREDIT) and not reverses and not reversed_by:
            return to_date(event_day)
    return None


def with_events(timeline: Timeline, events: Sequence[LedgerEvent]) -> Timeline:
    """Return a loan's timeline as it would be if these events were posted, in their order.

    It has no schedules, which accrual does not depend on.

    Raises:
        ValueError: If a reversal does not reverse exactly one event of its type and amount.
        OverflowError: If a running balance does not fit 64 bits.
    """
    rows = [
        (day, tx_id, kind, abs(amount), version, recorded_at, reverses)
        for day, kind, amount, _, tx_id, version, recorded_at, reverses, _ in timeline.events(0, len(timeline))
    ]
    newest = max((tx_id for _, tx_id, *_ in rows), default=0)
    for number, event in enumerate(events, 1):
        row = (event.day, newest + number, event.kind, event.amount, timeline.version + number, 0, event.reverses)
        rows.insert(bisect(rows, row), row)
    days, tx_ids, kinds, amounts, versions, recorded_at, reverses = zip(*rows, strict=True) if rows else ((),) * 7
    return Timeline.build(
        loan_id=timeline.loan_id,
        version=timeline.version + len(events),
        horizon=timeline.horizon,
        start_day=timeline.start_day,
        initial=timeline.initial,
        currency=timeline.currency,
        exponent=timeline.exponent,
        days=days,
        kinds=kinds,
        amounts=amounts,
        tx_ids=tx_ids,
        versions=versions,
        recorded_at=recorded_at,
        reverses=reverses,
        terms=timeline.terms,
    )
