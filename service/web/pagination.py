"""Cursors of pages: opaque texts that hold the parameters of the first page.

A cursor is not secret and grants no access. Its checksum only ensures that a truncated, changed or invented text is
rejected rather than taken for another cursor.
"""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import blake2b
from typing import Any

import orjson

from native import day_number, to_date
from service.domain.date_range import DateRange
from service.domain.money import parse_signed_amount
from service.domain.parsing import EVENT_TYPES, MAX_LOAN_ID
from service.ledger.event_log import EventFilter
from service.ledger.loan_search import STATES, LoanFilter, SearchPosition, Snapshot

RECORD_KINDS = ("terms", "schedules")
_LAYOUT = struct.Struct(">qqiiq")
_EXPECTED = "expected the unmodified `next_cursor` of another page"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_CHECKSUM_BYTES = 10  # makes the length a multiple of three: base64 needs no padding, so each cursor has one text


@dataclass(frozen=True)
class Cursor:
    """The position of a page in a statement.

    Attributes:
        loan_id: The loan.
        version: The loan's version on all pages.
        date_range: The days of the statement.
        position: The page's first entry, counted from 0.
    """

    loan_id: int
    version: int
    date_range: DateRange
    position: int

    def __str__(self) -> str:
        first, last = day_number(self.date_range.first), day_number(self.date_range.last)
        packed = _LAYOUT.pack(self.loan_id, self.version, first, last, self.position)
        return _seal(packed, b"loaner-cursor")


def parse_cursor(text: str) -> Cursor:
    """Parse the text of a cursor.

    Raises:
        ValueError: If the text is not exactly that of a cursor.
    """
    packed = _open(text, b"loaner-cursor")
    try:
        loan_id, version, first, last, position = _LAYOUT.unpack(packed)
        cursor = Cursor(loan_id, version, DateRange(to_date(first), to_date(last)), position)
    except (struct.error, ValueError, OverflowError):
        raise ValueError(_EXPECTED) from None
    if version < 0 or position < 0 or first > last:
        raise ValueError(_EXPECTED)
    return cursor


@dataclass(frozen=True)
class EventsCursor:
    """The position of a page in a loan's list of events.

    Attributes:
        loan_id: The loan.
        version: The loan's version on all pages.
        chosen: The events to list.
        after: The version after which the page begins.
    """

    loan_id: int
    version: int
    chosen: EventFilter
    after: int

    def __str__(self) -> str:
        chosen = self.chosen
        times = [None if each is None else (each - _EPOCH) // _MICROSECOND for each in (chosen.first, chosen.last)]
        members = [self.loan_id, self.version, self.after, chosen.source_id, chosen.event_type, *times]
        return _seal(orjson.dumps(members), b"loaner-events")


def parse_events_cursor(text: str) -> EventsCursor:
    """Parse the text of a cursor of events.

    Raises:
        ValueError: If the text is not exactly that of a cursor.
    """
    try:
        loan_id, version, after, source_id, event_type, first, last = orjson.loads(_open(text, b"loaner-events"))
        numbers = [_to_number(each, MAX_LOAN_ID) for each in (loan_id, version, after)]
        chosen = EventFilter(
            _to_text(source_id), _to_choice(event_type, EVENT_TYPES), *(_to_time(each) for each in (first, last))
        )
    except (TypeError, ValueError, OverflowError):
        raise ValueError(_EXPECTED) from None
    return EventsCursor(numbers[0], numbers[1], chosen, numbers[2])


@dataclass(frozen=True)
class RecordsCursor:
    """The position of a page in a list of a loan's terms or schedules.

    Attributes:
        kind: `terms` or `schedules`.
        loan_id: The loan.
        version: The loan's version on all pages.
        after: The version after which the page begins.
    """

    kind: str
    loan_id: int
    version: int
    after: int

    def __str__(self) -> str:
        return _seal(orjson.dumps([self.kind, self.loan_id, self.version, self.after]), b"loaner-records")


def parse_records_cursor(text: str) -> RecordsCursor:
    """Parse the text of a cursor of terms or schedules.

    Raises:
        ValueError: If the text is not exactly that of a cursor.
    """
    try:
        kind, *numbers = orjson.loads(_open(text, b"loaner-records"))
        loan_id, version, after = (_to_number(each, MAX_LOAN_ID) for each in numbers)
        return RecordsCursor(_to_choice(kind, RECORD_KINDS) or "", loan_id, version, after)
    except (TypeError, ValueError):
        raise ValueError(_EXPECTED) from None


def write_search_cursor(position: SearchPosition) -> str:
    """Return the text of a cursor of loans."""
    chosen, snapshot = position.filter, position.snapshot
    known_until = (snapshot.known_until - _EPOCH) // _MICROSECOND
    # Numbers of transactions are large and close to each other.
    numbers = [snapshot.xmin, snapshot.xmax - snapshot.xmin, [each - snapshot.xmin for each in snapshot.open]]
    members = [position.after, chosen.day, chosen.first_id, chosen.last_id, chosen.currency, chosen.start_from,
               chosen.start_to, chosen.state, known_until, snapshot.cluster, *numbers]  # fmt: skip
    amounts = [None if each is None else str(each) for each in (chosen.balance_from, chosen.balance_to)]
    if (chosen.source_id, *amounts) != (None, None, None):  # as in earlier releases without them
        members += [chosen.source_id, *amounts]
    return _seal(orjson.dumps(members), b"loaner-loans")


def parse_search_cursor(text: str) -> SearchPosition:
    """Parse the text of a cursor of loans.

    Raises:
        ValueError: If the text is not exactly that of a cursor.
    """
    try:
        after, day, first_id, last_id, currency, start_from, start_to, state, known_until, cluster, *numbers = (
            orjson.loads(_open(text, b"loaner-loans"))
        )
        xmin, width, still_open, source_id, *amounts = numbers if len(numbers) > 3 else (*numbers, None, None, None)
        lowest, highest = (None if each is None else parse_signed_amount(each) for each in amounts)
        ids = [_to_number(each, MAX_LOAN_ID) for each in (first_id, last_id, after, xmin, width)]
        distances = [_to_number(each, width - 1) for each in still_open]
        moment, days = _to_time(known_until), [_to_day(each) for each in (day, start_from, start_to)]
        if moment is None or days[0] is None or not isinstance(cluster, str) or distances != sorted(set(distances)):
            raise ValueError
        chosen = LoanFilter(days[0], ids[0], ids[1], _to_text(currency), days[1], days[2], _to_choice(state, STATES),
                            _to_text(source_id), lowest, highest)  # fmt: skip
        snapshot = Snapshot(moment, xmin, xmin + width, tuple(xmin + each for each in distances), cluster)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(_EXPECTED) from None
    return SearchPosition(chosen, ids[2], snapshot)


def _to_number(value: Any, highest: int) -> int:
    if type(value) is not int or not 0 <= value <= highest:
        raise ValueError
    return value


def _to_text(value: Any) -> str | None:
    if value is not None and (not isinstance(value, str) or "\0" in value):
        raise ValueError
    return value


def _to_choice(value: Any, words: tuple[str, ...]) -> str | None:
    if value is not None and value not in words:
        raise ValueError
    return None if value is None else str(value)


def _to_time(value: Any) -> datetime | None:
    return None if value is None else _EPOCH + value * _MICROSECOND


def _to_day(value: Any) -> date | None:
    return None if value is None else date.fromisoformat(value)


def _seal(content: bytes, purpose: bytes) -> str:
    return urlsafe_b64encode(content + _checksum(content, purpose)).decode("ascii").rstrip("=")


def _open(text: str, purpose: bytes) -> bytes:
    """Return the content of a sealed text.

    Raises:
        ValueError: If the text is not exactly that of a content with this purpose.
    """
    try:
        data = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except ValueError:
        raise ValueError(_EXPECTED) from None
    content = data[:-_CHECKSUM_BYTES]
    # Decoding ignores invalid characters, so compare the text as well.
    if _seal(content, purpose) != text:
        raise ValueError(_EXPECTED)
    return content


def _checksum(packed: bytes, purpose: bytes) -> bytes:
    return blake2b(packed, digest_size=_CHECKSUM_BYTES, person=purpose).digest()
