"""Charges the interest that has accrued to many loans, in small batches that are each posted whole.

A run that is repeated, or was interrupted, charges each loan once: what is charged counts for the next run.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import NamedTuple

from psycopg2.errors import CheckViolation

from native import Timeline
from service.domain.accrual import Charge, charge_on, find_later_interest
from service.domain.money import MAX_MINOR_UNITS
from service.domain.provenance import to_printable
from service.errors import PostingRefused
from service.ledger.charges import TOO_LARGE, later_interest, to_event
from service.ledger.computed_posting import ATTEMPTS
from service.ledger.posting import closed_until, positions_of
from service.ledger.repository import Ledger
from service.postgres.pool import Database

BATCH_LOANS = 500
BATCH_RECORDS = 100_000
"""A batch ends with the loan that reaches this number of records: they are in memory together."""
# Loans without terms accrue nothing.
_LOANS = """
    SELECT loan_id FROM (
        SELECT loan_id, sum(version) OVER (ORDER BY loan_id) - version AS records_before FROM (
            SELECT loan_id, version FROM loans WHERE loan_id > %s AND agreements > 0 ORDER BY loan_id LIMIT %s) AS next
    ) AS batch WHERE records_before < %s ORDER BY loan_id
"""
_COUNT = "SELECT count(*) FROM loans WHERE agreements > 0"
_APPEND = """
    SELECT posted_loan_id
    FROM append_events_at(%s::bigint[], %s::bigint[], %s::text[], %s::date[], %s::numeric[], %s::text[], %s, NULL)
"""


class Accrued(NamedTuple):
    """What a run does with a loan.

    Attributes:
        loan_id: The loan.
        currency: Its currency.
        exponent: The number of decimals of its amounts.
        charge: What was posted; None if nothing was to be charged, or the loan was skipped.
        skipped: Why the loan was skipped; None if it was not.
    """

    loan_id: int
    currency: str
    exponent: int
    charge: Charge | None
    skipped: str | None = None


class AccrualRun:
    """Charges what has accrued by a day.

    Args:
        database: The primary. Its user must have the rights of `loaner_poster`.
        ledger: Reads loans from the same database.
        day: The day: at the latest today, and after closed periods.
        posted_by: Who charges; None means the user of the database.
        dry_run: Whether to post nothing.
    """

    def __init__(
        self, database: Database, ledger: Ledger, day: date, posted_by: str | None = None, *, dry_run: bool = False
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._day = day
        self._posted_by = None if posted_by is None else to_printable(posted_by)
        self._dry_run = dry_run

    def count(self) -> int:
        """Return the number of loans that have terms or a schedule.

        Raises:
            DatabaseUnavailable: If the database cannot be read.
        """
        row = self._database.row(_COUNT)
        assert row is not None
        return int(row[0])

    def all_loans(self) -> Iterator[list[Accrued]]:
        """Charge every loan that has terms, and yield each batch after it was posted.

        Raises:
            DatabaseUnavailable: If the database cannot be read or written. Earlier batches stay posted.
        """
        last = 0
        while loan_ids := self._next_loans(last):
            yield self.loans(loan_ids)
            last = loan_ids[-1]

    def loans(self, loan_ids: Sequence[int]) -> list[Accrued]:
        """Charge these loans, and return what was done in the order of their ids; unknown ones are left out.

        Raises:
            DatabaseUnavailable: If the database cannot be read or written. Then none of them was charged.
        """
        done: dict[int, Accrued] = {}
        remaining = list(loan_ids)
        for _ in range(ATTEMPTS):
            timelines = self._ledger.timelines(remaining)
            planned = {loan_id: self._plan(timeline) for loan_id, timeline in timelines.items()}
            if not self._dry_run:
                planned = self._post(planned, timelines)
            done |= planned
            remaining = [loan_id for loan_id in timelines if loan_id not in planned]
            if not remaining:
                break
        for loan_id in remaining:
            done[loan_id] = _skip(timelines[loan_id], "it changed again and again")
        return [done[loan_id] for loan_id in sorted(done)]

    def _next_loans(self, after: int) -> list[int]:
        rows = self._database.rows(_LOANS, (after, BATCH_LOANS, BATCH_RECORDS))
        return [loan_id for (loan_id,) in rows]

    def _plan(self, timeline: Timeline) -> Accrued:
        later = find_later_interest(timeline, self._day)
        if later is not None:
            return _skip(timeline, later_interest(later))
        try:
            charge = charge_on(timeline, self._day)
        except OverflowError:
            return _skip(timeline, TOO_LARGE)
        if charge is not None and charge.amount > MAX_MINOR_UNITS:
            return _skip(timeline, TOO_LARGE)
        return Accrued(timeline.loan_id, timeline.currency, timeline.exponent, charge)

    def _post(self, planned: dict[int, Accrued], timelines: dict[int, Timeline]) -> dict[int, Accrued]:
        """Post the charges, and return what was done. Loans that have changed since they were read are left out."""
        done = {loan_id: accrued for loan_id, accrued in planned.items() if accrued.charge is None}
        charges = {loan_id: accrued.charge for loan_id, accrued in planned.items() if accrued.charge is not None}
        while charges:
            events = [to_event(charge, self._day, planned[loan_id].exponent) for loan_id, charge in charges.items()]
            columns = (
                list(charges),
                [timelines[loan_id].version for loan_id in charges],
                [event.event_type for event in events],
                [event.post_date for event in events],
                [format(event.amount, "f") for event in events],
                [event.memo for event in events],
            )
            try:
                posted = self._database.rows(_APPEND, (*columns, self._posted_by))
                return done | {loan_id: planned[loan_id] for (loan_id,) in posted}
            except CheckViolation as err:
                if err.diag.constraint_name == "period_is_open":
                    raise PostingRefused([("date", closed_until(positions_of(err)[0][2]))]) from err
                if err.diag.column_name != "amt":
                    raise
                for _, loan_id, *_ in positions_of(err):
                    del charges[loan_id]
                    done[loan_id] = _skip(timelines[loan_id], TOO_LARGE)
        return done


def _skip(timeline: Timeline, reason: str) -> Accrued:
    return Accrued(timeline.loan_id, timeline.currency, timeline.exponent, None, reason)
