"""What people and programs write, read strictly. Each function raises a ValueError that says what was expected."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import lru_cache

MAX_LOAN_ID = 2**63 - 1  # and the highest version
MAX_LIMIT = 1000
EVENT_TYPES = ("fee", "interest", "payment")


def _whole_number(text: str, lowest: int, highest: int) -> int:
    if not re.fullmatch(r"[0-9]{1,19}", text) or not lowest <= int(text) <= highest:
        raise ValueError(f"expected a whole number from {lowest} to {highest}")
    return int(text)


def parse_loan_id(text: str) -> int:
    """A loan's id."""
    return _whole_number(text, 1, MAX_LOAN_ID)


def parse_version(text: str) -> int:
    """A loan's version: how many events it has."""
    return _whole_number(text, 0, MAX_LOAN_ID)


def parse_limit(text: str) -> int:
    """How many events a page may have."""
    return _whole_number(text, 1, MAX_LIMIT)


def parse_bool(text: str) -> bool:
    """A yes or no."""
    if text not in ("true", "false"):
        raise ValueError("expected true or false")
    return text == "true"


@lru_cache(1000)  # many loans are asked about on few days
def parse_date(text: str) -> date:
    """A date written YYYY-MM-DD, and no other way that the standard library would also take."""
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError("expected a date written YYYY-MM-DD")
    try:
        return date.fromisoformat(text)
    except ValueError as err:
        raise ValueError(f"expected a date that exists, written YYYY-MM-DD ({err})") from None


def parse_time(text: str) -> datetime:
    """A moment as RFC 3339 writes it."""
    expected = "expected a time such as 2020-07-01T12:00:00Z, or with +02:00 in place of Z"
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})", text):
        raise ValueError(f"{expected} (where + is written %2B)" if " " in text else expected)
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as err:
        raise ValueError(f"{expected} ({err})") from None


def parse_choice(words: tuple[str, ...]) -> Callable[[str], str]:
    """What reads one of these words."""

    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"expected one of {', '.join(words)}")
        return text

    return read


parse_event_type = parse_choice(EVENT_TYPES)
