"""A page of the loans that match filters, with the event that a receipt belongs to."""

from dataclasses import dataclass
from datetime import date

from service.domain.calendar import Calendar
from service.ledger.event_log import EventLog, Receipt
from service.ledger.loan_search import FoundLoan, LoanSearch
from service.web.pagination import write_search_cursor
from service.web.routes.loans import LoansQuery, get_position

LOANS_PER_PAGE = 50


@dataclass(frozen=True)
class FoundLoans:
    """What the list shows.

    Attributes:
        day: The date of the balances.
        loans: The loans, in the order of their numbers.
        receipts: The event that the receipt belongs to, by loan; empty unless a receipt was searched for.
        next_cursor: Where the next page begins; None on the last one.
    """

    day: date
    loans: list[FoundLoan]
    receipts: dict[int, Receipt]
    next_cursor: str | None


def find_loans(search: LoanSearch, event_log: EventLog, calendar: Calendar, query: LoansQuery) -> FoundLoans:
    """Return a page of loans.

    Raises:
        InvalidRequest: If parameters contradict each other, or a cursor cannot be used any more.
        DatabaseUnavailable: If the database cannot be read.
    """
    position = get_position(search, calendar, query)
    loans, following = search.page(position, query.limit)
    source_id = position.filter.source_id
    receipts = event_log.receipts(source_id, [loan.loan_id for loan in loans]) if source_id is not None else {}
    cursor = write_search_cursor(following) if following else None
    return FoundLoans(position.filter.day, loans, receipts, cursor)
