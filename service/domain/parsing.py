"""Strict parsers of values from requests, files and command lines.

Each raises a ValueError whose message says what is expected.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import lru_cache

MAX_LOAN_ID = 2**63 - 1  # also the highest version
MAX_LIMIT = 1000
EVENT_TYPES = ("fee", "interest", "payment")


def _parse_whole_number(text: str, lowest: int, highest: int) -> int:
    if not re.fullmatch(r"[0-9]{1,19}", text) or not lowest <= int(text) <= highest:
        raise ValueError(f"expected a whole number from {lowest} to {highest}")
    return int(text)


def parse_loan_id(text: str) -> int:
    """Parse a loan's id."""
    return _parse_whole_number(text, 1, MAX_LOAN_ID)


def parse_version(text: str) -> int:
    """Parse a loan's version: the number of its events."""
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
        return date.fromisoformat(text)
    except ValueError as err:
        raise ValueError(f"expected a date that exists, written YYYY-MM-DD ({err})") from None


def parse_time(text: str) -> datetime:
    """Parse a time as in RFC 3339, and convert it to UTC."""
    expected = "expected a time such as 2020-07-01T12:00:00Z, or with an offset such as +02:00 instead of Z"
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})", text):
        # In a query string an unencoded + means a space.
        raise ValueError(f"{expected} (encode + as %2B)" if " " in text else expected)
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as err:
        raise ValueError(f"{expected} ({err})") from None


def parse_choice(words: tuple[str, ...]) -> Callable[[str], str]:
    """Return a parser that accepts only these words."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"expected one of {', '.join(words)}")
        return text

    return parse


parse_event_type = parse_choice(EVENT_TYPES)
