"""Cursors of statement pages: opaque texts that hold the parameters of the first page.

A cursor is not secret and grants no access. Its checksum only ensures that a truncated, changed or invented text is
rejected rather than taken for another cursor.
"""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import blake2b

from native import day_number, to_date
from service.domain.date_range import DateRange

_LAYOUT = struct.Struct(">qqiiq")
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
        return urlsafe_b64encode(packed + _checksum(packed)).decode("ascii")


def parse_cursor(text: str) -> Cursor:
    """Parse the text of a cursor.

    Raises:
        ValueError: If the text is not exactly that of a cursor.
    """
    expected = "expected the unmodified `next_cursor` of another page"
    try:
        data = urlsafe_b64decode(text.encode("ascii"))
    except ValueError:
        raise ValueError(expected) from None
    packed, checksum = data[: _LAYOUT.size], data[_LAYOUT.size :]
    # Decoding ignores invalid characters, so compare the text as well.
    if checksum != _checksum(packed) or urlsafe_b64encode(data).decode("ascii") != text:
        raise ValueError(expected)
    loan_id, version, first, last, position = _LAYOUT.unpack(packed)
    try:
        cursor = Cursor(loan_id, version, DateRange(to_date(first), to_date(last)), position)
    except (ValueError, OverflowError):
        raise ValueError(expected) from None
    if version < 0 or position < 0 or first > last:
        raise ValueError(expected)
    return cursor


def _checksum(packed: bytes) -> bytes:
    return blake2b(packed, digest_size=_CHECKSUM_BYTES, person=b"loaner-cursor").digest()
