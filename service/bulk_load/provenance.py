"""Who posts, and which dates are open."""

from dataclasses import dataclass
from datetime import date
from typing import Any

from service.postgres.closed_periods import CLOSED_UNTIL


@dataclass(frozen=True)
class Provenance:
    """Who posts, and which dates are open.

    Attributes:
        posted_by: None for the database's session user.
        closed_until: The day until which the ledger is closed, if it is.
        latest_date: The latest date of an event; None for any.
    """

    posted_by: str | None
    closed_until: date | None
    latest_date: date | None


def read_provenance(cursor: Any, name: str | None, latest_date: date | None) -> Provenance:
    """Read from the ledger what a load has to know.

    Args:
        cursor: A cursor.
        name: A name that is recorded beside the database's session user.
        latest_date: The latest date of an event; None for any.
    """
    cursor.execute(CLOSED_UNTIL)
    (closed_until,) = cursor.fetchone() or (None,)
    posted_by = None
    if name is not None:
        cursor.execute("SELECT session_user")
        posted_by = f"{cursor.fetchone()[0]} ({name})"
    return Provenance(posted_by, closed_until, latest_date)
