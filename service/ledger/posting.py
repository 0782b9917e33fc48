"""Posts to the ledger through its SQL functions: each request is one statement, and so one transaction."""

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
    """An event to post.

    Attributes:
        event_type: fee, interest or payment.
        post_date: The day from which it counts.
        amount: Minor units, above zero.
        source_id: The caller's own id, unique per loan.
        reverses: The tx_id of the event that this one cancels.
    """

    event_type: str
    post_date: date
    amount: int
    source_id: str | None = None
    reverses: int | None = None


@dataclass(frozen=True)
class NewLoan:
    """The terms of a loan to create. `initial` is in minor units."""

    loan_id: int
    start_date: date
    initial: int
    currency: str


@dataclass(frozen=True)
class PostResult:
    """The outcome of a posting.

    Attributes:
        body: The members of the reply.
        as_of: When the request was recorded.
        replayed: Whether an earlier request with the same fingerprint was recorded, whose outcome this is.
    """

    body: dict[str, Any]
    as_of: datetime
    replayed: bool


class LedgerWriter:
    """Posts events and creates loans.

    A request with a fingerprint is executed once: a repetition returns the recorded outcome.

    Args:
        database: Its user must have the rights of `loaner_poster`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def post_events(
        self, loan_id: int, events: list[NewEvent], today: date, fingerprint: RequestFingerprint | None = None
    ) -> PostResult:
        """Post events of one loan.

        Args:
            loan_id: The loan.
            events: The events, in the order of their versions.
            today: The day whose balance is returned.
            fingerprint: Identifies a request that may be repeated.

        Raises:
            UnknownLoan: If the loan does not exist.
            EventsExist: If a source id is taken, or an event is already reversed.
            PostingRefused: If a reversal does not match its event, or the loan's amounts would become too large.
            KeyReused: If the key of the fingerprint was used for a different request.
            DatabaseUnavailable: If nothing was posted because Postgres could not be reached.
            OutcomeUnknown: If the connection was lost before Postgres confirmed.
        """
        columns = (
            [event.event_type for event in events],
            [event.post_date for event in events],
            [to_decimal_string(event.amount) for event in events],
            [event.source_id for event in events],
            [event.reverses for event in events],
        )
        try:
            return self._execute(_POST_EVENTS, fingerprint, today, loan_id, *columns)
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
                too_large = "the sum of the loan's amounts would exceed what the ledger can store"
                raise PostingRefused([("events", too_large)]) from err
            raise

    def create_loan(self, loan: NewLoan, today: date, fingerprint: RequestFingerprint | None = None) -> PostResult:
        """Create a loan.

        Args:
            loan: Its terms.
            today: The day whose balance is returned.
            fingerprint: Identifies a request that may be repeated.

        Raises:
            LoanExists: If the id is taken.
            KeyReused: If the key of the fingerprint was used for a different request.
            DatabaseUnavailable: If the loan was not created because Postgres could not be reached.
            OutcomeUnknown: If the connection was lost before Postgres confirmed.
        """
        terms = (loan.loan_id, loan.start_date, to_decimal_string(loan.initial), loan.currency)
        try:
            return self._execute(_CREATE_LOAN, fingerprint, today, *terms)
        except UniqueViolation as err:
            raise LoanExists(loan.loan_id) from err

    def _execute(self, query: str, fingerprint: RequestFingerprint | None, *parameters: object) -> PostResult:
        identity = (fingerprint.id, fingerprint.digest) if fingerprint else (None, None)
        try:
            row = self._database.row(query, (*identity, *parameters))
        except UniqueViolation as err:
            if err.diag.column_name == "key":
                raise KeyReused from err
            raise
        assert row is not None
        replayed, body, made_at = row
        return PostResult(body, made_at, replayed)


def _conflicts(err: psycopg2.Error) -> list[tuple[str, str]]:
    """Return (field, message) of each conflict. The SQL function lists them as [position, field, tx_id]."""
    messages = {
        "source_id": "an event of this loan already has this source_id: tx_id",
        "reverses": "this event is already reversed by tx_id",
    }
    conflicts = orjson.loads(err.diag.message_detail or "[]")
    return [(f"events.{n}.{field}", f"{messages[field]} {tx_id}") for n, field, tx_id in conflicts]


def _invalid_reversals(err: psycopg2.Error, events: list[NewEvent]) -> list[tuple[str, str]]:
    """Return (field, message) of each invalid reversal. The SQL function's message contains their ids."""
    invalid = {int(number) for number in re.findall(r"[0-9]+", err.diag.message_primary or "")}
    expected = "expected the tx_id of an event of this loan, of the same type and amount, that is not itself a reversal"
    return [(f"events.{n}.reverses", expected) for n, event in enumerate(events) if event.reverses in invalid]
