"""The columns of the files that can be loaded."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from native import DAY_COUNTS
from service.bulk_load.terms_fields import ALLOCATIONS, parse_allocation, parse_grace_days
from service.domain.money import parse_amount, parse_positive_amount
from service.domain.parsing import parse_date, parse_event_type, parse_loan_id, parse_memo, parse_source_id
from service.domain.terms import parse_day_count, parse_rate


@dataclass(frozen=True)
class Column:
    """A column of a file.

    Attributes:
        parse: Validates a field, and raises ValueError.
        plain: Matches a field in the common notation. Its only groups are dates, of which it matches more: dates are
            also validated.
        required: Whether a file must have the column. A file without a header has the required columns.
        blank: Whether a field may be empty.
    """

    parse: Callable[[str], object]
    plain: bytes
    required: bool = True
    blank: bool = False

    def optional(self) -> "Column":
        """Return a column that a file need not have, and whose fields may be empty."""
        return replace(self, plain=rb"(?:" + self.plain + rb")?", required=False, blank=True)


Format = dict[str, Column]


def _parse_currency(text: str) -> str:
    if not re.fullmatch("[A-Z]{3}", text):
        raise ValueError("expected three capital letters, such as USD")
    return text


def _any_of(words: tuple[str, ...]) -> bytes:
    return b"(?:" + "|".join(words).encode() + b")"


_ID = Column(parse_loan_id, rb"[1-9][0-9]{0,17}")
_DATE = Column(parse_date, rb"([0-9]{4}-[0-9]{2}-[0-9]{2})")
_AMOUNT = rb"[0-9]{1,18}(?:\.[0-9]{1,4})?"
_POSITIVE_AMOUNT = Column(parse_positive_amount, rb"(?!0+(?:\.0+)?(?:,|$))" + _AMOUNT)
# printable ASCII characters except the quote and the comma, without spaces around
_TEXT = rb"[!#-+\--~](?:[ !#-+\--~]{0,198}[!#-+\--~])?"
_SOURCE_ID = Column(parse_source_id, _TEXT).optional()
_RATE = Column(parse_rate, rb"[0-9](?:\.[0-9]{1,8})?")
_DAY_COUNT = Column(parse_day_count, _any_of(DAY_COUNTS))
_ALLOCATION = Column(parse_allocation, _any_of(ALLOCATIONS)).optional()
_GRACE_DAYS = Column(parse_grace_days, rb"[0-9]{1,3}").optional()

LOANS: Format = {
    "loan_id": _ID,
    "start_date": _DATE,
    "initial_amt": Column(parse_amount, _AMOUNT),
    "currency": Column(_parse_currency, rb"[A-Z]{3}", required=False),
    "rate": _RATE.optional(),
    "day_count": _DAY_COUNT.optional(),
    "allocation": _ALLOCATION,
    "grace_days": _GRACE_DAYS,
}
EVENTS: Format = {
    "loan_id": _ID,
    "event_type": Column(parse_event_type, rb"(?:fee|interest|payment|interest_credit)"),
    "post_date": _DATE,
    "amt": _POSITIVE_AMOUNT,
    "source_id": _SOURCE_ID,
    "reverses_source_id": _SOURCE_ID,
    "memo": Column(parse_memo, rb"(?![=+\-@])" + _TEXT).optional(),
}
TERMS: Format = {
    "loan_id": _ID,
    "effective_date": _DATE,
    "rate": _RATE,
    "day_count": _DAY_COUNT,
    "allocation": _ALLOCATION,
    "grace_days": _GRACE_DAYS,
    "source_id": _SOURCE_ID,
}
SCHEDULES: Format = {
    "loan_id": _ID,
    "effective_date": _DATE,
    "due_date": _DATE,
    "amt": _POSITIVE_AMOUNT,
    "source_id": _SOURCE_ID,
}
