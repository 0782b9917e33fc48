"""Events that charge what has accrued."""

from datetime import date
from decimal import Decimal

from service.domain.accrual import Charge
from service.ledger.posting import NewEvent

TOO_LARGE = "the interest that has accrued exceeds what the ledger can store"


def to_event(charge: Charge, day: date, digits: int) -> NewEvent:
    """Return the event of a charge on a day, for a currency with this number of decimals."""
    return NewEvent(charge.event_type, day, Decimal(charge.amount).scaleb(-digits), memo=f"accrued through {day}")


def later_interest(found: date) -> str:
    """Return why nothing is charged on a day before interest of the loan."""
    return f"the loan has interest dated {found}, which is later"
