"""A span of days of one loan."""

from dataclasses import dataclass
from datetime import date

from service.errors import InvalidRequest


@dataclass(frozen=True)
class DateRange:
    """The days from `first` to `last`, both included."""

    first: date
    last: date

    @classmethod
    def resolve(cls, first: date | None, last: date | None, start: date, today: date) -> "DateRange":
        """The span that a caller asks for. What is left out: from the loan's start, until today; where that would be
        the wrong way round (a loan that has not begun), the one day that is known.

        Raises: InvalidRequest for a first day after the last.
        """
        if first is None:
            first = start if last is None else min(start, last)
        if last is None:
            last = max(today, first)
        if first > last:
            raise InvalidRequest([("from", f"expected a date that is not after `to`, {last.isoformat()}")])
        return cls(first, last)

    @property
    def days(self) -> int:
        """How many days it has."""
        return (self.last - self.first).days + 1

    @property
    def months(self) -> int:
        """How many months it touches."""
        return (self.last.year - self.first.year) * 12 + self.last.month - self.first.month + 1
