"""Tables as CSV (RFC 4180)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

CALLER_FIELDS = ("source_id", "posted_by", "memo")
"""The members whose texts come from callers."""

_FORMULA_PREFIXES = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
_NEED_QUOTES = ',"\r\n'


def to_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return a table: a row of names, and the rows.

    Args:
        columns: The names of the columns.
        rows: The members of each row. One that is missing or None is an empty field.
    """
    return csv_head(columns) + csv_rows(columns, rows)


def csv_head(columns: Sequence[str]) -> bytes:
    """Return the row of names."""
    return f"{','.join(columns)}\r\n".encode("ascii")


def csv_rows(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return rows without that of the names. The arguments are as for `to_csv`."""
    return "".join([",".join([_text(name, row.get(name)) for name in columns]) + "\r\n" for row in rows]).encode()


def _text(name: str, value: object) -> str:
    if value is None:
        return ""
    if name not in CALLER_FIELDS:  # no other field needs quotes
        return str(value).lower() if isinstance(value, bool) else str(value)  # true and false as in JSON
    text = str(value)
    if text.lstrip().startswith(_FORMULA_PREFIXES):
        text = f"'{text}"  # a spreadsheet would take it for a formula
    return f'"{text.replace(chr(34), chr(34) * 2)}"' if any(c in text for c in _NEED_QUOTES) else text
