"""A loan's statement: the balance before a range of days, the events within it, and the balance at its end."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from native import FEE, INTEREST, INTEREST_CREDIT, PAYMENT, REVERSAL, Timeline, day_number, to_date
from service.domain.date_range import DateRange

TimelineEvent = tuple[int, int, int, int, int, int, int, int, int]

_TYPES = {FEE: "fee", INTEREST: "interest", PAYMENT: "payment", INTEREST_CREDIT: "interest_credit"}


@dataclass(frozen=True)
class StatementEntry:
    """An event, or the principal, with its effect on the balance. Amounts are in minor units.

    Attributes:
        tx_id: The event's transaction id; None for the principal.
        event_type: `principal`, `fee`, `interest`, `payment` or `interest_credit`.
        post_date: The date from which it counts.
        signed: The amount that it adds to the balance.
        reversal: Whether it reverses an earlier event.
        balance: The balance after it.
        version: The loan's version with this event; None for the principal.
        recorded_at: When it was recorded, in microseconds since 1970; None for the principal.
        reverses: The transaction id of the event that it reverses, if any.
        reversed_by: The transaction id of the event that reverses it, if the timeline has one.
    """

    tx_id: int | None
    event_type: str
    post_date: date
    signed: int
    reversal: bool
    balance: int
    version: int | None = None
    recorded_at: int | None = None
    reverses: int | None = None
    reversed_by: int | None = None


class Statement:
    """The entries of a range of days.

    They are the principal, if the loan starts within the range, and the events that count within it. Events dated
    before the loan's start date count from the start date on.

    The opening balance is that at the end of the day before the range, and the closing balance is that at the end of
    its last day. The opening balance plus all entries equals the closing balance.

    Args:
        timeline: The loan's events.
        date_range: The days of the statement.
    """

    def __init__(self, timeline: Timeline, date_range: DateRange) -> None:
        self._timeline = timeline
        self.loan_id: int = timeline.loan_id
        self.currency: str = timeline.currency
        self.digits: int = timeline.exponent
        self._start = to_date(timeline.start_day)
        first, last = day_number(date_range.first), day_number(date_range.last)
        self.opening: int = timeline.balance_at(first - 1)
        self.closing: int = timeline.balance_at(last)
        self._has_principal = date_range.first <= self._start <= date_range.last
        self._from: int = 0 if date_range.first <= self._start else timeline.position(first - 1)
        self._to: int = timeline.position(last) if self._start <= date_range.last else self._from

    def __len__(self) -> int:
        """Return the number of entries."""
        return self._has_principal + self._to - self._from

    def entries(self, first: int, last: int) -> Iterator[StatementEntry]:
        """Return the entries at the positions `first` (included) to `last` (excluded).

        They are ordered by date and transaction id, after the principal.
        """
        if self._has_principal and first == 0 < last:
            initial = self._timeline.initial
            yield StatementEntry(None, "principal", self._start, initial, False, initial)
        offset = self._from - self._has_principal
        for event in self._timeline.events(max(offset + first, self._from), min(offset + last, self._to)):
            yield to_entry(event)


def to_entry(event: TimelineEvent) -> StatementEntry:
    """Convert an event of a timeline to an entry."""
    day, kind, signed, balance, tx_id, version, recorded_at, reverses, reversed_by = event
    return StatementEntry(
        tx_id,
        _TYPES[kind & ~REVERSAL],
        to_date(day),
        signed,
        kind >= REVERSAL,
        balance,
        version,
        recorded_at,
        reverses or None,
        reversed_by or None,
    )
