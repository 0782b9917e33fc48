"""Strict parsers of values from requests, files and command lines.

Each raises a ValueError whose message says what is expected.
"""

import re
from calendar import monthrange
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import lru_cache

from service.domain.provenance import has_control_characters

MAX_LOAN_ID = 2**63 - 1  # also the highest version
MAX_LIMIT = 1000
EVENT_TYPES = ("fee", "interest", "payment", "interest_credit")
MAX_SOURCE_ID_CHARS = 200
MAX_MEMO_CHARS = 200
# What spreadsheets take for the beginning of a formula, in their Asian forms, too.
_FORMULA_PREFIXES = "=+-@\uff1d\uff0b\uff0d\uff20"
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9]|60)(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)


def _parse_whole_number(text: str, lowest: int, highest: int) -> int:
    if len(text) <= 19 and text.isascii() and text.isdigit() and lowest <= (number := int(text)) <= highest:
        return number
    raise ValueError(f"expected a whole number from {lowest} to {highest}")


def parse_loan_id(text: str) -> int:
    """Parse a loan's id."""
    return _parse_whole_number(text, 1, MAX_LOAN_ID)


def parse_version(text: str) -> int:
    """Parse a loan's version: the number of its records."""
    return _parse_whole_number(text, 0, MAX_LOAN_ID)


def parse_limit(text: str) -> int:
    """Parse the maximum number of events of a page."""
    return _parse_whole_number(text, 1, MAX_LIMIT)


def parse_bool(text: str) -> bool:
    """Parse `true` or `false`."""
    if text not in ("true", "false"):
        raise ValueError("expected true or false")
    return text == "true"


@lru_cache(1000)  # requests for many loans use few different days
def parse_date(text: str) -> date:
    """Parse a date written YYYY-MM-DD. Other ISO 8601 forms, which the standard library accepts, are rejected."""
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError("expected a date written YYYY-MM-DD")
    try:
        return _to_date(text)
    except ValueError as err:
        raise ValueError(f"expected a date that exists, written YYYY-MM-DD ({err})") from None


def _to_date(text: str) -> date:
    """Return the date written YYYY-MM-DD. Its errors are the same in every release of Python.

    Raises:
        ValueError: If the date does not exist.
    """
    year, month, day = map(int, text.split("-"))
    if year == 0:
        raise ValueError("year 0 is out of range")
    if not 1 <= month <= 12:
        raise ValueError("month must be in 1..12")
    if not 1 <= day <= monthrange(year, month)[1]:
        raise ValueError("day is out of range for month")
    return date(year, month, day)


def parse_time(text: str) -> datetime:
    """Parse a time as in RFC 3339, section 5.6, and convert it to UTC.

    Digits beyond microseconds are cut off, and a leap second is the last microsecond before it: both round towards the
    past, so that a reply for the time never includes what was recorded after it.
    """
    expected = "expected a time such as 2020-07-01T12:00:00Z, or with an offset such as +02:00 instead of Z"
    match = _TIME.fullmatch(text)
    if match is None:
        # In a query string an unencoded + means a space.
        raise ValueError(f"{expected} (encode + as %2B)" if " " in text else expected)
    day, hour, minute, second, fraction, sign, offset_hours, offset_minutes = match.groups()
    offset = timedelta(hours=int(offset_hours or 0), minutes=int(offset_minutes or 0))
    leap = second == "60"
    try:
        time_of_day = time(
            hour=int(hour),
            minute=int(minute),
            second=59 if leap else int(second),
            microsecond=999_999 if leap else int((fraction or "")[:6].ljust(6, "0")),
            tzinfo=timezone(-offset if sign == "-" else offset),
        )
        moment = datetime.combine(_to_date(day), time_of_day).astimezone(UTC)
    except ValueError as err:
        raise ValueError(f"{expected} ({err})") from None
    except OverflowError:
        raise ValueError(f"{expected} (date value out of range)") from None
    if leap and not _ends_month(moment):
        raise ValueError(f"{expected} (a leap second is the last second of a month in UTC)")
    return moment


def _ends_month(moment: datetime) -> bool:
    return (moment.hour, moment.minute) == (23, 59) and moment.day == monthrange(moment.year, moment.month)[1]


def parse_source_id(text: str) -> str:
    """Return a valid id that a caller has given to an event, unchanged."""
    if not text.strip() or len(text) > MAX_SOURCE_ID_CHARS or not text.isprintable():
        raise ValueError(f"expected 1 to {MAX_SOURCE_ID_CHARS} printable characters")
    return text


def parse_memo(text: str) -> str:
    """Return a valid memo of an event unchanged.

    A memo that a spreadsheet would take for a formula is rejected instead of changed: the ledger stores what it was
    given.
    """
    if not text.strip() or len(text) > MAX_MEMO_CHARS or has_control_characters(text):
        raise ValueError(f"expected 1 to {MAX_MEMO_CHARS} characters, without control characters such as line breaks")
    if text.lstrip()[0] in _FORMULA_PREFIXES:
        raise ValueError("expected a memo that does not begin with =, +, - or @: spreadsheets take it for a formula")
    return text


def parse_choice(words: tuple[str, ...]) -> Callable[[str], str]:
    """Return a parser that accepts only these words."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"expected one of {', '.join(words)}")
        return text

    return parse


parse_event_type = parse_choice(EVENT_TYPES)
