"""Posting to the ledger through its functions: all of a request or nothing, in one statement and so one transaction."""

import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import orjson
import psycopg2
from psycopg2.errors import CheckViolation, ForeignKeyViolation, UniqueViolation

from service.domain.money import to_decimal_string
from service.errors import EventsExist, KeyReused, LoanExists, PostingRefused, UnknownLoan
from service.ledger.idempotency import RequestFingerprint
from service.postgres.pool import Database

_POST_EVENTS = """
    SELECT repeated, reply, made_at
    FROM post_events_once(%s, %s, %s, %s, %s::text[], %s::date[], %s::numeric[], %s::text[], %s::bigint[])
"""
_CREATE_LOAN = "SELECT repeated, reply, made_at FROM create_loan_once(%s, %s, %s, %s, %s, %s::numeric, %s)"


@dataclass(frozen=True)
class NewEvent:
    """An event to be posted. amount: minor units, positive. reverses: the tx_id of the event that it takes back."""

    event_type: str
    post_date: date
    amount: int
    source_id: str | None = None
    reverses: int | None = None


@dataclass(frozen=True)
class NewLoan:
    """A loan to be created. initial: minor units."""

    loan_id: int
    start_date: date
    initial: int
    currency: str


@dataclass(frozen=True)
class PostResult:
    """What came of it. members: of the reply. as_of: when it was recorded. repeated: by an earlier request."""

    members: dict[str, Any]
    as_of: datetime
    repeated: bool


class LedgerWriter:
    """Posts over a database of a user that may. claim: of a request that may be repeated, else None."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def post_events(
        self, loan_id: int, events: list[NewEvent], today: date, claim: RequestFingerprint | None = None
    ) -> PostResult:
        """Post events of one loan. today: the day whose balance is told.

        Raises: UnknownLoan; EventsExist; PostingRefused; KeyReused; DatabaseUnavailable; OutcomeUnknown.
        """
        columns = (
            [event.event_type for event in events],
            [event.post_date for event in events],
            [to_decimal_string(event.amount) for event in events],
            [event.source_id for event in events],
            [event.reverses for event in events],
        )
        try:
            return self._posted(_POST_EVENTS, claim, today, loan_id, *columns)
        except UniqueViolation as err:
            if err.diag.column_name == "events":
                raise EventsExist(_conflicts(err)) from err
            raise
        except ForeignKeyViolation as err:
            if err.diag.column_name == "reverses":
                raise PostingRefused(_invalid_reversals(err, events)) from err
            raise UnknownLoan(loan_id) from err
        except CheckViolation as err:
            if err.diag.constraint_name == "loans_turnover_fits":
                too_much = "the loan's amounts add up to more than the ledger holds"
                raise PostingRefused([("events", too_much)]) from err
            raise

    def create_loan(self, loan: NewLoan, today: date, claim: RequestFingerprint | None = None) -> PostResult:
        """Create a loan. today: the day whose balance is told.

        Raises: LoanExists; KeyReused; DatabaseUnavailable; OutcomeUnknown.
        """
        terms = (loan.loan_id, loan.start_date, to_decimal_string(loan.initial), loan.currency)
        try:
            return self._posted(_CREATE_LOAN, claim, today, *terms)
        except UniqueViolation as err:
            raise LoanExists(loan.loan_id) from err

    def _posted(self, query: str, claim: RequestFingerprint | None, *parameters: object) -> PostResult:
        identity = (claim.id, claim.digest) if claim else (None, None)
        try:
            row = self._database.row(query, (*identity, *parameters))
        except UniqueViolation as err:
            if err.diag.column_name == "key":
                raise KeyReused from err
            raise
        assert row is not None
        repeated, members, made_at = row
        return PostResult(members, made_at, repeated)


def _conflicts(err: psycopg2.Error) -> list[tuple[str, str]]:
    """The fields that name what the ledger has, by its function's [position, field, tx_id]."""
    said = {"source_id": "the loan has an event of this source_id", "reverses": "it is reversed already"}
    taken = orjson.loads(err.diag.message_detail or "[]")
    return [(f"events.{n}.{field}", f"{said[field]}: tx_id {tx_id}") for n, field, tx_id in taken]


def _invalid_reversals(err: psycopg2.Error, events: list[NewEvent]) -> list[tuple[str, str]]:
    """The fields that reverse what cannot be, by the ids in the ledger's message."""
    wrong = {int(number) for number in re.findall(r"[0-9]+", err.diag.message_primary or "")}
    expected = "expected the tx_id of an event of this loan, of the same type and amount, that is no reversal"
    return [(f"events.{n}.reverses", expected) for n, event in enumerate(events) if event.reverses in wrong]
