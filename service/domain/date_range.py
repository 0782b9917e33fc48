"""A range of days."""

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
        """Return the requested range, with defaults for missing ends.

        The range starts on the loan's start date and ends today by default. If such a default would reverse the
        range, it is the one day that is given, or the start date of a loan that starts in the future.

        Args:
            first: The requested first day.
            last: The requested last day.
            start: The loan's start date.
            today: The current date.

        Raises:
            InvalidRequest: If the first day is after the last.
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
        """The number of days in the range."""
        return (self.last - self.first).days + 1

    @property
    def months(self) -> int:
        """The number of calendar months that the range covers, including partial ones."""
        return (self.last.year - self.first.year) * 12 + self.last.month - self.first.month + 1
