"""Statements as CSV (RFC 4180)."""

from collections.abc import Iterator

from service.domain.date_range import DateRange
from service.domain.money import to_decimal_string
from service.domain.statement import Statement
from service.web.serializers import entry_members

FIELDS = ("tx_id", "event_type", "post_date", "amt", "reversal", "signed_amt", "balance")
ROWS_PER_CHUNK = 500


def statement_csv(statement: Statement, date_range: DateRange) -> Iterator[bytes]:
    """Return the CSV in chunks of some hundred rows.

    The rows are a header, `opening`, one for each entry, and `closing`.
    """
    yield _rows([FIELDS, _balance_row("opening", date_range.first.isoformat(), statement.opening)])
    for first in range(0, len(statement), ROWS_PER_CHUNK):
        entries = map(entry_members, statement.entries(first, first + ROWS_PER_CHUNK))
        yield _rows([tuple(_text(entry[field]) for field in FIELDS) for entry in entries])
    yield _rows([_balance_row("closing", date_range.last.isoformat(), statement.closing)])


def _balance_row(name: str, day: str, balance: int) -> tuple[str, ...]:
    return ("", name, day, "", "", "", to_decimal_string(balance))


def _text(value: object) -> str:
    return "" if value is None else str(value).lower()  # true and false as in JSON


def _rows(rows: list[tuple[str, ...]]) -> bytes:
    # No field contains a comma, a quotation mark or a line break, so none needs quotes.
    return "".join(",".join(row) + "\r\n" for row in rows).encode("ascii")
