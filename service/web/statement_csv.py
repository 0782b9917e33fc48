"""A statement as CSV (RFC 4180), made piece by piece."""

from collections.abc import Iterator

from service.domain.date_range import DateRange
from service.domain.money import to_decimal_string
from service.domain.statement import Statement
from service.web.serializers import entry_members

FIELDS = ("tx_id", "event_type", "post_date", "amt", "reversal", "signed_amt", "balance")
ROWS_PER_CHUNK = 500


def statement_csv(statement: Statement, span: DateRange) -> Iterator[bytes]:
    """A header, a row `opening`, a row for each line, and a row `closing`, some hundred rows at a time."""
    yield _rows([FIELDS, _balance_row("opening", span.first.isoformat(), statement.opening)])
    for first in range(0, len(statement), ROWS_PER_CHUNK):
        members = map(entry_members, statement.lines(first, first + ROWS_PER_CHUNK))
        yield _rows([tuple(_text(line[field]) for field in FIELDS) for line in members])
    yield _rows([_balance_row("closing", span.last.isoformat(), statement.closing)])


def _balance_row(name: str, day: str, balance: int) -> tuple[str, ...]:
    return ("", name, day, "", "", "", to_decimal_string(balance))


def _text(value: object) -> str:
    return "" if value is None else str(value).lower()  # true and false as in JSON


def _rows(rows: list[tuple[str, ...]]) -> bytes:
    # no field holds a comma, a quotation mark or an end of a line: there is nothing to quote
    return "".join(",".join(row) + "\r\n" for row in rows).encode("ascii")
