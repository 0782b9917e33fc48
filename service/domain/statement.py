"""A loan's statement: what was owed before a span of days, everything that changed it, and what was owed after."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from native import FEE, INTEREST, PAYMENT, REVERSAL, Timeline, day_number, to_date
from service.domain.date_range import DateRange

_TYPES = {FEE: "fee", INTEREST: "interest", PAYMENT: "payment"}


@dataclass(frozen=True)
class StatementEntry:
    """Something that changed what is owed. Amounts: minor units.

    tx_id: None of the principal. signed: what it added to the balance. reversal: it takes an earlier event back.
    """

    tx_id: int | None
    event_type: str
    post_date: date
    signed: int
    reversal: bool
    balance: int


class Statement:
    """The lines of a span: the principal, if the loan starts within it, and the events that count within it.

    Before a loan starts nothing is owed, so what is dated earlier counts, and stands, on the day on which it starts.
    Opening, and what the lines add, is closing; opening and closing are what the loan owed at the end of the day before
    the span and of its last one.
    """

    def __init__(self, timeline: Timeline, span: DateRange) -> None:
        self._timeline = timeline
        self._start = to_date(timeline.start_day)
        first, last = day_number(span.first), day_number(span.last)
        self.opening: int = timeline.balance_at(first - 1)
        self.closing: int = timeline.balance_at(last)
        self._principal = span.first <= self._start <= span.last
        self._from: int = 0 if span.first <= self._start else timeline.position(first - 1)
        self._to: int = timeline.position(last) if self._start <= span.last else self._from

    def __len__(self) -> int:
        """How many lines it has."""
        return self._principal + self._to - self._from

    def lines(self, first: int, last: int) -> Iterator[StatementEntry]:
        """Its lines from one position up to, and without, another, in the order of (date, transaction id)."""
        if self._principal and first == 0 < last:
            initial = self._timeline.initial
            yield StatementEntry(None, "principal", self._start, initial, False, initial)
        at = self._from - self._principal
        for event in self._timeline.events(max(at + first, self._from), min(at + last, self._to)):
            yield to_entry(event)


def to_entry(event: tuple[int, int, int, int, int]) -> StatementEntry:
    """An event of a timeline as a line."""
    day, kind, signed, balance, tx_id = event
    return StatementEntry(tx_id, _TYPES[kind & ~REVERSAL], to_date(day), signed, kind >= REVERSAL, balance)
