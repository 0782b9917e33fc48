"""Statements as CSV."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

from service.domain.date_range import DateRange
from service.domain.money import to_decimal_string
from service.domain.statement import Statement
from service.errors import DatabaseUnavailable
from service.ledger.event_log import Provenance
from service.web.csv_table import CALLER_FIELDS, csv_head, csv_rows
from service.web.serializers import add_provenance, entry_members, tx_ids_of

log = logging.getLogger(__name__)

FIELDS = ("tx_id", "event_type", "post_date", "amt", "reversal", "signed_amt", "balance", "version", "recorded_at",
          "reverses", "reversed_by")  # fmt: skip
LOAN_FIELDS = ("loan_id", "currency")
ROWS_PER_CHUNK = 500

_NO_SETTLEMENT: Mapping[str, object] = MappingProxyType({})

ProvenanceReader = Callable[[Sequence[int]], Mapping[int, Provenance]]


def statement_csv(
    statement: Statement,
    date_range: DateRange,
    settlement: Mapping[str, object] = _NO_SETTLEMENT,
    read_provenance: ProvenanceReader | None = None,
) -> Iterator[bytes]:
    """Return the CSV in chunks of some hundred rows.

    The rows are a header, `opening`, one for each entry, and `closing`. If the provenance cannot be read any more, the
    CSV ends without `closing`, with the error.

    Args:
        statement: The statement.
        date_range: Its days.
        settlement: Members about the end of its last day, which become columns of the row `closing`.
        read_provenance: Returns the provenance of events by their transaction ids, to add it to the rows.
    """
    fields = (*FIELDS, *settlement, *(CALLER_FIELDS if read_provenance else ()), *LOAN_FIELDS)
    loan = {"loan_id": statement.loan_id, "currency": statement.currency}

    def balance_row(name: str, day: str, balance: int, **others: object) -> bytes:
        amount = to_decimal_string(balance, statement.digits)
        return csv_rows(fields, [{"event_type": name, "post_date": day, "balance": amount, **others, **loan}])

    yield csv_head(fields) + balance_row("opening", date_range.first.isoformat(), statement.opening)
    for first in range(0, len(statement), ROWS_PER_CHUNK):
        entries = [entry_members(entry, statement.digits) for entry in statement.entries(first, first + ROWS_PER_CHUNK)]
        if read_provenance is not None:
            try:
                found = read_provenance(tx_ids_of(entries))
            except DatabaseUnavailable as err:
                log.warning("statement of loan %d: CSV ended early: %s", statement.loan_id, err)
                raise  # so that the reply does not end like a whole one
            add_provenance(entries, found)
        yield csv_rows(fields, (entry | loan for entry in entries))
    yield balance_row("closing", date_range.last.isoformat(), statement.closing, **settlement)
