"""The time until which the ledger is final."""

from datetime import datetime
from typing import Any, Protocol

from service.errors import TimeNotReached

# Readers' transactions are read-only by default, but the time has to be noted in the database. Both statements are sent
# together and form one transaction.
_KNOWN_UNTIL = "SET TRANSACTION READ WRITE; SELECT known_until()"


class _Rows(Protocol):
    def rows(self, query: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]: ...


def read_known_until(database: _Rows) -> datetime:
    """Return the time before which nothing will be recorded any more.

    A snapshot taken later includes everything that was recorded before that time.

    Args:
        database: The primary.

    Raises:
        DatabaseUnavailable: If the database cannot be read.
    """
    [(until,)] = database.rows(_KNOWN_UNTIL)
    moment: datetime = until
    return moment


def check_time_reached(database: _Rows, moment: datetime) -> None:
    """Check that nothing can be recorded any more with a time up to `moment`.

    A snapshot taken after the check includes everything that was recorded by then.

    Args:
        database: The primary.
        moment: The time.

    Raises:
        TimeNotReached: If events may still be recorded with such a time.
        DatabaseUnavailable: If the database cannot be read.
    """
    until = read_known_until(database)
    if moment >= until:
        raise TimeNotReached(until)
