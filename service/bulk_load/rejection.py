"""Why nothing was loaded."""

from service.bulk_load.csv_rows import BadRow
from service.errors import LoanerError


class LoadRejected(LoanerError):
    """Nothing was loaded.

    Attributes:
        bad_rows: The errors in rows; empty if the load failed for another reason.
    """

    def __init__(self, message: str, bad_rows: list[BadRow] | None = None) -> None:
        super().__init__(message)
        self.bad_rows = bad_rows or []
