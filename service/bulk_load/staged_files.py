"""The files of one load, whose rows are in temporary tables."""

from dataclasses import dataclass

from service.bulk_load.csv_rows import Rows

_TERMS = {"rate", "day_count", "allocation", "grace_days"}


@dataclass(frozen=True)
class StagedFiles:
    """The files of one load, whose rows are in temporary tables.

    Attributes:
        loans: LOANS.
        events: EVENTS.
        schedules: SCHEDULES, if it was given.
        terms: The file of terms, if it was given.
    """

    loans: Rows
    events: Rows
    schedules: Rows | None = None
    terms: Rows | None = None

    @property
    def all(self) -> list[Rows]:
        """The files that were given, in the order in which they are reported."""
        return [rows for rows in (self.loans, self.events, self.schedules, self.terms) if rows is not None]

    @property
    def loans_have_terms(self) -> bool:
        """Whether LOANS has columns of terms."""
        return not _TERMS.isdisjoint(self.loans.columns)
