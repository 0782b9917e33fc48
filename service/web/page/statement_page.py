"""A page of a statement: entries with their provenance, and links between reversals and what they reverse."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from service.domain.statement import Statement, StatementEntry
from service.errors import InvalidRequest
from service.ledger.event_log import NO_PROVENANCE, EventLog, Provenance

ROWS_PER_PAGE = 50
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Row:
    """An entry, where it came from, and when it was recorded."""

    entry: StatementEntry
    provenance: Provenance
    recorded_at: datetime | None

    @property
    def anchor(self) -> str:
        """The id of the row's element."""
        return f"tx-{self.entry.tx_id}" if self.entry.tx_id is not None else "principal"


@dataclass(frozen=True)
class StatementPage:
    """Rows of a statement.

    Attributes:
        rows: The rows, the latest first or last.
        number: The number of the page, from 1.
        pages: The number of pages, at least 1.
        entries: The number of entries on all pages.
        opening: The balance before the first entry of all pages, in minor units.
        closing: The balance after the last.
    """

    rows: list[Row]
    number: int
    pages: int
    entries: int
    opening: int
    closing: int

    def has(self, tx_id: int) -> bool:
        """Return whether the page has an event."""
        return any(row.entry.tx_id == tx_id for row in self.rows)


def page_of(position: int, entries: int, *, latest_first: bool) -> int:
    """Return the number of the page that has the entry at a position."""
    return (entries - 1 - position if latest_first else position) // ROWS_PER_PAGE + 1


def read_page(statement: Statement, number: int, event_log: EventLog, *, latest_first: bool) -> StatementPage:
    """Return a page of a statement, with the provenance of its entries.

    Raises:
        InvalidRequest: If the statement has fewer pages.
        DatabaseUnavailable: If the provenance cannot be read.
    """
    entries = len(statement)
    pages = max(1, -(-entries // ROWS_PER_PAGE))
    if number > pages:
        raise InvalidRequest([("page", f"expected at most {pages}, the last page")])
    first = (number - 1) * ROWS_PER_PAGE
    last = min(first + ROWS_PER_PAGE, entries)
    if latest_first:
        first, last = entries - last, entries - first
    found = list(statement.entries(first, last))
    provenance = event_log.provenance(statement.loan_id, [entry.tx_id for entry in found if entry.tx_id is not None])
    rows = [_to_row(entry, provenance) for entry in found]
    if latest_first:
        rows.reverse()
    return StatementPage(rows, number, pages, entries, statement.opening, statement.closing)


def _to_row(entry: StatementEntry, provenance: Mapping[int, Provenance]) -> Row:
    recorded = None if entry.recorded_at is None else _EPOCH + timedelta(microseconds=entry.recorded_at)
    return Row(entry, provenance.get(entry.tx_id or 0, NO_PROVENANCE), recorded)
