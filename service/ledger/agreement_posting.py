"""Posts terms and schedules to the ledger, as `service.ledger.posting` posts events."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import orjson
import psycopg2
from psycopg2.errors import CheckViolation, ForeignKeyViolation, UniqueViolation

from service.domain.provenance import to_printable
from service.errors import InvalidRequest, PostingRefused, RecordExists, UnknownLoan
from service.ledger.idempotency import RequestFingerprint
from service.ledger.posting import (
    PostResult,
    amount_error,
    closed_until,
    execute_once,
    find_outcome,
    positions_of,
    version_changed,
)
from service.postgres.pool import Database

_APPEND_TERMS = """
    SELECT repeated, reply, made_at
    FROM append_terms_once(%s, %s, %s, %s, %s, %s::numeric, %s, %s::text[], %s, NULL, %s, %s, %s)
"""
_APPEND_SCHEDULE = """
    SELECT repeated, reply, made_at
    FROM append_schedule_once(%s, %s, %s, %s, %s, %s::date[], %s::numeric[], %s::jsonb, NULL, %s, %s, %s)
"""
_REVERSE_TERMS = """
    SELECT repeated, reply, made_at
    FROM append_terms_once(%s, %s, %s, %s, NULL, NULL, NULL, NULL, NULL, %s, %s, %s, %s)
"""
_REVERSE_SCHEDULE = """
    SELECT repeated, reply, made_at
    FROM append_schedule_once(%s, %s, %s, %s, NULL, NULL, NULL, NULL, %s, %s, %s, %s)
"""


@dataclass(frozen=True)
class NewTerms:
    """Terms to post.

    Attributes:
        effective_date: The day from which they apply.
        rate: The rate per year.
        day_count: One of `native.DAY_COUNTS`.
        allocation: What a payment pays first: one of `native.ALLOCATIONS`.
        grace_days: How many days an installment may be late without consequences.
    """

    effective_date: date
    rate: Decimal
    day_count: str
    allocation: tuple[str, ...]
    grace_days: int


@dataclass(frozen=True)
class NewSchedule:
    """A schedule to post.

    Attributes:
        effective_date: The day from which it applies.
        installments: Due dates, in ascending order, and amounts in the loan's currency.
        method: How the installments were computed; None if they were given.
    """

    effective_date: date
    installments: Sequence[tuple[date, Decimal]]
    method: dict[str, Any] | None = None


@dataclass(frozen=True)
class Reversal:
    """Takes back terms or a schedule of a loan.

    Attributes:
        reverses: The version of the record.
    """

    reverses: int


@dataclass(frozen=True)
class Origin:
    """Where a record comes from, and where it may go.

    Attributes:
        posted_by: The identity of the caller.
        source_id: The caller's own id, unique among the records of this kind and loan.
        memo: Why it is posted.
        fingerprint: Identifies a request that may be repeated.
    """

    posted_by: str
    source_id: str | None = None
    memo: str | None = None
    fingerprint: RequestFingerprint | None = None


class AgreementWriter:
    """Posts terms and schedules of loans, one with each request.

    Both methods raise:

    - UnknownLoan: If the loan does not exist.
    - InvalidRequest: If an amount has more decimals than the loan's currency, or is too large.
    - VersionChanged: If the loan is at another version than expected.
    - RecordExists: If the source id is taken, or the record is already reversed.
    - PostingRefused: If a reversal names no record that it can reverse, the effective date is in a closed period, or
      the installments would become too large.
    - The errors of `execute_once`.

    Args:
        database: Its user must have the rights of `loaner_poster`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def post_terms(
        self, loan_id: int, terms: NewTerms | Reversal, origin: Origin, *, expected_version: int | None = None
    ) -> PostResult:
        """Post terms of a loan, or take some back.

        Args:
            loan_id: The loan.
            terms: The terms.
            origin: Who posts them and why.
            expected_version: The version that the loan must have; None accepts any.
        """
        if isinstance(terms, Reversal):
            return self._reverse(_REVERSE_TERMS, "terms", loan_id, terms, origin, expected_version)
        members = (terms.effective_date, format(terms.rate, "f"), terms.day_count, list(terms.allocation),
                   terms.grace_days)  # fmt: skip
        try:
            return self._execute(_APPEND_TERMS, loan_id, members, origin, expected_version)
        except psycopg2.IntegrityError as err:
            raise _to_error(err, "terms", loan_id, expected_version) from err

    def post_schedule(
        self, loan_id: int, schedule: NewSchedule | Reversal, origin: Origin, *, expected_version: int | None = None
    ) -> PostResult:
        """Post a schedule of a loan, or take one back.

        Args:
            loan_id: The loan.
            schedule: The schedule.
            origin: Who posts it and why.
            expected_version: The version that the loan must have; None accepts any.
        """
        if isinstance(schedule, Reversal):
            return self._reverse(_REVERSE_SCHEDULE, "schedule", loan_id, schedule, origin, expected_version)
        due_dates, amounts = (list(column) for column in zip(*schedule.installments, strict=True))
        method = None if schedule.method is None else orjson.dumps(schedule.method).decode()
        members = (schedule.effective_date, due_dates, [format(amount, "f") for amount in amounts], method)
        try:
            return self._execute(_APPEND_SCHEDULE, loan_id, members, origin, expected_version)
        except psycopg2.IntegrityError as err:
            raise _to_error(err, "schedule", loan_id, expected_version, amounts) from err

    def find_outcome(self, fingerprint: RequestFingerprint | None) -> PostResult | None:
        """Return the outcome that is recorded for a request, as `service.ledger.posting.find_outcome` does."""
        return find_outcome(self._database, fingerprint)

    def _reverse(
        self, query: str, kind: str, loan_id: int, reversal: Reversal, origin: Origin, expected_version: int | None
    ) -> PostResult:
        try:
            return self._execute(query, loan_id, (reversal.reverses,), origin, expected_version)
        except psycopg2.IntegrityError as err:
            if err.diag.constraint_name == "period_is_open":
                day = positions_of(err)[0][2]
                raise PostingRefused([("reverses", f"expected a record whose effective date is after {day}, until "
                                                   "which the ledger is closed")]) from err  # fmt: skip
            raise _to_error(err, kind, loan_id, expected_version) from err

    def _execute(
        self, query: str, loan_id: int, members: tuple[object, ...], origin: Origin, expected_version: int | None
    ) -> PostResult:
        provenance = (origin.source_id, origin.memo, to_printable(origin.posted_by))
        return execute_once(self._database, query, origin.fingerprint, expected_version, loan_id, *members, *provenance)


def _to_error(
    err: psycopg2.IntegrityError,
    kind: str,
    loan_id: int,
    expected_version: int | None,
    amounts: Sequence[Decimal] = (),
) -> Exception:
    """Return the error for a record that breaks a rule of the ledger."""
    match err:
        case UniqueViolation() if err.diag.column_name == "record":
            messages = {
                "source_id": f"{kind} of this loan already has this source_id: version",
                "reverses": "this record is already reversed by version",
            }
            return RecordExists([(field, f"{messages[field]} {version}") for field, version in positions_of(err)])
        case ForeignKeyViolation() if err.diag.column_name == "reverses":
            expected = f"expected the version of a {kind} record of this loan that is not itself a reversal"
            return PostingRefused([("reverses", expected)])
        case ForeignKeyViolation():
            return UnknownLoan(loan_id)
        case CheckViolation() if err.diag.column_name == "expected_version" and expected_version is not None:
            return version_changed(err, loan_id, expected_version)
        case CheckViolation() if err.diag.constraint_name == "period_is_open":
            return PostingRefused([("effective_date", closed_until(positions_of(err)[0][2]))])
        case CheckViolation() if err.diag.constraint_name == "schedule_fits":
            too_large = "the sum of the installments would exceed what the ledger can store"
            return PostingRefused([("installments", too_large)])
        case CheckViolation() if err.diag.column_name == "amt":
            found = [(n, amount_error(amounts[n], *of)) for _, _, n, *of in positions_of(err)]
            return InvalidRequest([(f"installments.{n}.amt", reason) for n, reason in found])
    return err
