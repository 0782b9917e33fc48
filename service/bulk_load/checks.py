"""Checks the staged rows against each other and the ledger, and removes those that the ledger has already."""

from dataclasses import dataclass
from typing import Any

from service.bulk_load import schedule_staging, staging, terms_staging
from service.bulk_load.csv_rows import BadRow, Rows
from service.bulk_load.provenance import Provenance
from service.bulk_load.rejection import LoadRejected
from service.bulk_load.staged_files import StagedFiles
from service.plural import counted


@dataclass(frozen=True)
class Counts:
    """The numbers of records that are posted and, because the ledger has them, skipped."""

    posted: int = 0
    skipped: int = 0


@dataclass(frozen=True)
class Checked:
    """What remains to be posted after the checks."""

    terms: Counts = Counts()
    schedules: Counts = Counts()
    events: Counts = Counts()


def check(cursor: Any, files: StagedFiles, provenance: Provenance) -> Checked:
    """Check every row, and return what is posted.

    Raises:
        LoadRejected: If any row is invalid.
    """
    checked = Checked()
    # Without the columns of one file the rows of the others cannot be checked.
    if all(rows.columns for rows in files.all):
        parameters = {
            "closed_until": provenance.closed_until,
            "latest_date": provenance.latest_date,
            "bad_loans": list(files.loans.bad_loans),
        }
        _reject_rows(cursor, files.loans, staging.BAD_LOANS, parameters)
        checked = Checked(
            events=_check_events(cursor, files.events, parameters),
            terms=_check_terms(cursor, files, parameters),
            schedules=_check_schedules(cursor, files.schedules, parameters) if files.schedules else Counts(),
        )
    bad = [row for rows in files.all for row in sorted(dict.fromkeys(rows.bad), key=_line)]
    if bad:
        count = len({(row.file, row.line) for row in bad})
        raise LoadRejected(
            f"refused {counted(count, 'row')} with {counted(len(bad), 'error')}; nothing was loaded", bad
        )
    return checked


def _check_events(cursor: Any, events: Rows, parameters: dict[str, Any]) -> Counts:
    skipped = 0
    if "source_id" in events.columns:
        cursor.execute(staging.MATCH_EVENTS)
        _reject_rows(cursor, events, staging.DIFFERENT_EVENTS)
        skipped = _count(cursor, staging.COUNT_SKIPPED)
        cursor.execute(staging.DELETE_MATCHED)
    if "reverses_source_id" in events.columns:
        bad_ids, bad_sources = zip(*events.bad_events, strict=True) if events.bad_events else ((), ())
        sources = {"bad_loans": list(bad_ids), "bad_sources": list(bad_sources)}
        _reject_rows(cursor, events, staging.BAD_REVERSALS, sources)
    _reject_rows(cursor, events, staging.BAD_EVENTS, parameters)
    return Counts(events.good - skipped, skipped)


def _check_terms(cursor: Any, files: StagedFiles, parameters: dict[str, Any]) -> Counts:
    if files.loans_have_terms:
        _reject_terms(cursor, files, terms_staging.INCOMPLETE)
        cursor.execute(terms_staging.COPY_OF_LOANS)
    elif files.terms is None:
        return Counts()
    cursor.execute(terms_staging.MATCH)
    _reject_terms(cursor, files, terms_staging.DIFFERENT)
    _reject_terms(cursor, files, terms_staging.CONTRADICTING)
    skipped = _count(cursor, terms_staging.COUNT_SKIPPED)
    cursor.execute(terms_staging.DELETE_MATCHED)
    _reject_terms(cursor, files, terms_staging.DIFFERENT_LOANS)
    _reject_terms(cursor, files, terms_staging.BAD, parameters)
    return Counts(_count(cursor, "SELECT count(*) FROM staged_terms"), skipped)


def _check_schedules(cursor: Any, schedules: Rows, parameters: dict[str, Any]) -> Counts:
    cursor.execute(schedule_staging.GATHER)
    _reject_rows(cursor, schedules, schedule_staging.MIXED_IDS)
    cursor.execute(schedule_staging.MATCH)
    _reject_rows(cursor, schedules, schedule_staging.DIFFERENT, {"incomplete": list(schedules.bad_loans)})
    skipped = _count(cursor, schedule_staging.COUNT_SKIPPED)
    cursor.execute(schedule_staging.DELETE_MATCHED)
    _reject_rows(cursor, schedules, schedule_staging.BAD, parameters)
    return Counts(_count(cursor, "SELECT count(*) FROM staged_schedules"), skipped)


def _reject_rows(cursor: Any, rows: Rows, query: str, parameters: dict[str, Any] | None = None) -> None:
    cursor.execute(query, parameters)
    for line, field, reason in cursor:
        rows.reject(line, field, reason)


def _reject_terms(cursor: Any, files: StagedFiles, query: str, parameters: dict[str, Any] | None = None) -> None:
    cursor.execute(query, parameters)
    for of_loans, line, field, reason in cursor:
        rows = files.loans if of_loans else files.terms
        assert rows is not None  # its rows were found
        rows.reject(line, field, reason)


def _count(cursor: Any, query: str) -> int:
    cursor.execute(query)
    return int(cursor.fetchone()[0])


def _line(row: BadRow) -> int:
    return row.line
