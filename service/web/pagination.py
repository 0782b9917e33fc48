"""Where a page of a statement begins: an opaque text that holds what the first page was of.

A cursor is no secret and gives no rights. Its check only makes sure that a text which somebody cut, changed or made up
is refused, rather than taken for another question.
"""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import blake2b

from native import day_number, to_date
from service.domain.date_range import DateRange

_LAYOUT = struct.Struct(">qqiiq")
_CHECK_BYTES = 10  # with the layout a multiple of three: base64 without padding, one text for one cursor


@dataclass(frozen=True)
class Cursor:
    """The line at which a page begins, of this loan's statement as of this version."""

    loan_id: int
    version: int
    span: DateRange
    position: int

    def __str__(self) -> str:
        first, last = day_number(self.span.first), day_number(self.span.last)
        packed = _LAYOUT.pack(self.loan_id, self.version, first, last, self.position)
        return urlsafe_b64encode(packed + _check(packed)).decode("ascii")


def parse_cursor(text: str) -> Cursor:
    """The cursor that was written so. Raises: ValueError for any other text."""
    expected = "expected the `next_cursor` of another page, as it was given"
    try:
        data = urlsafe_b64decode(text.encode("ascii"))
    except ValueError:
        raise ValueError(expected) from None
    packed, check = data[: _LAYOUT.size], data[_LAYOUT.size :]
    # written again, it has to be the same text: decoding passes over characters that do not belong
    if check != _check(packed) or urlsafe_b64encode(data).decode("ascii") != text:
        raise ValueError(expected)
    loan_id, version, first, last, position = _LAYOUT.unpack(packed)
    try:
        cursor = Cursor(loan_id, version, DateRange(to_date(first), to_date(last)), position)
    except (ValueError, OverflowError):
        raise ValueError(expected) from None
    if version < 0 or position < 0 or first > last:
        raise ValueError(expected)
    return cursor


def _check(packed: bytes) -> bytes:
    return blake2b(packed, digest_size=_CHECK_BYTES, person=b"loaner-cursor").digest()
