"""Posts to the ledger through its SQL functions: each request is one statement, and so one transaction."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import orjson
import psycopg2
from psycopg2.errors import CheckViolation, ForeignKeyViolation, UniqueViolation

from service.domain.calendar import latest_post_date
from service.domain.money import to_minor_units
from service.domain.provenance import to_printable
from service.errors import (
    EventsExist,
    InvalidRequest,
    KeyReused,
    LoanExists,
    PostingRefused,
    UnknownLoan,
    VersionChanged,
)
from service.ledger.idempotency import RequestFingerprint
from service.postgres.closed_periods import CLOSED_UNTIL
from service.postgres.pool import Database

_APPEND_EVENTS = """
    SELECT repeated, reply, made_at
    FROM append_events_once(%s, %s, %s, %s, %s, %s::text[], %s::date[], %s::numeric[], %s::text[], %s::bigint[],
                            %s::text[], %s, %s)
"""
_KEPT_REPLY = "SELECT same_request, reply, made_at FROM kept_reply(%s, %s)"
_OPEN_LOAN = "SELECT repeated, reply, made_at FROM open_loan_once(%s, %s, %s, %s, %s, %s::numeric, %s, %s)"


@dataclass(frozen=True)
class NewEvent:
    """An event to post.

    Attributes:
        event_type: One of EVENT_TYPES.
        post_date: The day from which it counts.
        amount: Above zero, in the loan's currency.
        source_id: The caller's own id, unique per loan.
        reverses: The tx_id of the event that this one cancels.
        memo: Why it is posted.
    """

    event_type: str
    post_date: date
    amount: Decimal
    source_id: str | None = None
    reverses: int | None = None
    memo: str | None = None


@dataclass(frozen=True)
class NewLoan:
    """A loan to create: its start, principal and currency."""

    loan_id: int
    start_date: date
    initial: Decimal
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
        max_future_days: The number of days by which events may be dated ahead of today; 0 means any.
    """

    def __init__(self, database: Database, max_future_days: int = 0) -> None:
        self._database = database
        self._max_future_days = max_future_days

    def post_events(
        self,
        loan_id: int,
        events: list[NewEvent],
        today: date,
        fingerprint: RequestFingerprint | None = None,
        *,
        posted_by: str,
        expected_version: int | None = None,
    ) -> PostResult:
        """Post events of one loan.

        Args:
            loan_id: The loan.
            events: The events, in the order of their versions.
            today: The day whose balance is returned, and from which the future is counted.
            fingerprint: Identifies a request that may be repeated.
            posted_by: The identity of the caller.
            expected_version: The version that the loan must have; None accepts any. A repeated request gets its
                recorded outcome although it has changed the version itself.

        Raises:
            UnknownLoan: If the loan does not exist.
            InvalidRequest: If an amount has more decimals than the loan's currency, or is too large.
            VersionChanged: If the loan is at another version than expected.
            EventsExist: If a source id is taken, or an event is already reversed.
            PostingRefused: If a reversal does not match its event or is dated before it, an event is dated in a closed
                period or too far in the future, or the loan's amounts would become too large.
            KeyReused: If the key of the fingerprint was used for a different request.
            DatabaseUnavailable: If nothing was posted because Postgres could not be reached.
            OutcomeUnknown: If the connection was lost before Postgres confirmed.
        """
        columns = (
            [event.event_type for event in events],
            [event.post_date for event in events],
            [format(event.amount, "f") for event in events],
            [event.source_id for event in events],
            [event.reverses for event in events],
            [event.memo for event in events],
        )
        provenance = (to_printable(posted_by), latest_post_date(today, self._max_future_days))
        try:
            return execute_once(
                self._database, _APPEND_EVENTS, fingerprint, expected_version, today, loan_id, *columns, *provenance
            )
        except UniqueViolation as err:
            if err.diag.column_name == "events":
                raise EventsExist(_conflicts(err)) from err
            raise
        except ForeignKeyViolation as err:
            if err.diag.column_name == "reverses":
                raise PostingRefused(_invalid_reversals(err)) from err
            raise UnknownLoan(loan_id) from err
        except CheckViolation as err:
            if err.diag.column_name == "expected_version" and expected_version is not None:
                raise version_changed(err, loan_id, expected_version) from err
            raise _refusal(err, events) or err from err

    def create_loan(
        self, loan: NewLoan, today: date, fingerprint: RequestFingerprint | None = None, *, posted_by: str
    ) -> PostResult:
        """Create a loan.

        Args:
            loan: Its terms.
            today: The day whose balance is returned.
            fingerprint: Identifies a request that may be repeated.
            posted_by: The identity of the caller.

        Raises:
            LoanExists: If the id is taken.
            InvalidRequest: If the database does not have the currency.
            PostingRefused: If the loan starts in a closed period.
            KeyReused: If the key of the fingerprint was used for a different request.
            DatabaseUnavailable: If the loan was not created because Postgres could not be reached.
            OutcomeUnknown: If the connection was lost before Postgres confirmed.
        """
        terms = (loan.loan_id, loan.start_date, format(loan.initial, "f"), loan.currency)
        try:
            return execute_once(self._database, _OPEN_LOAN, fingerprint, today, *terms, to_printable(posted_by))
        except UniqueViolation as err:
            raise LoanExists(loan.loan_id) from err
        except CheckViolation as err:
            if err.diag.constraint_name == "period_is_open":
                raise PostingRefused([("start_date", closed_until(positions_of(err)[0][2]))]) from err
            if err.diag.column_name in ("currency", "initial_amt"):  # the database has another release's table
                raise InvalidRequest([(err.diag.column_name, err.diag.message_primary or "")]) from err
            raise

    def find_outcome(self, fingerprint: RequestFingerprint | None) -> PostResult | None:
        """Return the outcome that is recorded for a request, as `find_outcome` of this module does."""
        return find_outcome(self._database, fingerprint)

    def check_open(self, day: date) -> None:
        """Check that a day is not in a closed period, where nothing is going to be posted that would find out.

        Raises:
            PostingRefused: If it is. The error names `date`.
            DatabaseUnavailable: If the database cannot be read.
        """
        row = self._database.row(CLOSED_UNTIL)
        if row is not None and row[0] is not None and day <= row[0]:
            raise PostingRefused([("date", closed_until(row[0]))])


def execute_once(
    database: Database, query: str, fingerprint: RequestFingerprint | None, *parameters: object
) -> PostResult:
    """Execute a posting, or return the outcome that was recorded for its fingerprint.

    Args:
        database: Where to post.
        query: Calls a SQL function that returns `repeated`, `reply` and `made_at`.
        fingerprint: Identifies a request that may be repeated: the function's first two arguments.
        parameters: Its other arguments.

    Raises:
        KeyReused: If the key of the fingerprint was used for a different request.
        DatabaseUnavailable: If nothing was posted because Postgres could not be reached.
        OutcomeUnknown: If the connection was lost before Postgres confirmed.
    """
    identity = (fingerprint.id, fingerprint.digest) if fingerprint else (None, None)
    try:
        row = database.row(query, (*identity, *parameters))
    except UniqueViolation as err:
        if err.diag.column_name == "key":
            raise KeyReused from err
        raise
    assert row is not None
    replayed, body, made_at = row
    body.setdefault("recorded_at", to_rfc3339(made_at))  # missing in outcomes that release 1.0.0 recorded
    return PostResult(body, made_at, replayed)


def find_outcome(database: Database, fingerprint: RequestFingerprint | None) -> PostResult | None:
    """Return the outcome that is recorded for a request; None if it was not executed.

    Raises:
        KeyReused: If the key of the fingerprint was used for a different request.
        DatabaseUnavailable: If the database cannot be read.
    """
    if fingerprint is None:
        return None
    row = database.row(_KEPT_REPLY, (fingerprint.id, fingerprint.digest))
    if row is None:
        return None
    same_request, body, made_at = row
    if not same_request:
        raise KeyReused
    return PostResult(body, made_at, replayed=True)


def to_rfc3339(moment: datetime) -> str:
    """Write a time in UTC with microseconds, such as 2020-07-01T12:00:00.000000Z."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def version_changed(err: CheckViolation, loan_id: int, expected_version: int) -> VersionChanged:
    """Return the error for a loan that is not at the expected version."""
    return VersionChanged(loan_id, int(err.diag.message_detail or 0), (expected_version,))


def positions_of(err: psycopg2.Error) -> list[list[Any]]:
    """Return what the SQL functions report of each refused event: its position, then what the rule is about."""
    found: list[list[Any]] = orjson.loads(err.diag.message_detail or "[]")
    return found


def _conflicts(err: psycopg2.Error) -> list[tuple[str, str]]:
    """Return (field, message) of each conflict. The SQL function lists them as [position, field, tx_id]."""
    messages = {
        "source_id": "an event of this loan already has this source_id: tx_id",
        "reverses": "this event is already reversed by tx_id",
    }
    return [(f"events.{n}.{field}", f"{messages[field]} {tx_id}") for n, field, tx_id in positions_of(err)]


def _invalid_reversals(err: psycopg2.Error) -> list[tuple[str, str]]:
    """Return (field, message) of each invalid reversal."""
    expected = "expected the tx_id of an event of this loan, of the same type and amount, that is not itself a reversal"
    return [(f"events.{n}.reverses", expected) for n, *_ in positions_of(err)]


def _refusal(err: CheckViolation, events: list[NewEvent]) -> PostingRefused | InvalidRequest | None:
    """Return the error for events that break a rule of the ledger; None if it is unknown."""
    positions = positions_of(err) if err.diag.column_name else []
    match err.diag.constraint_name or err.diag.column_name:
        case "loans_turnover_fits":
            too_large = "the sum of the loan's amounts would exceed what the ledger can store"
            return PostingRefused([("events", too_large)])
        case "amt":
            return InvalidRequest([(f"events.{n}.amt", amount_error(events[n].amount, *of)) for n, _, *of in positions])
        case "reversal_follows_event":
            expected = "expected the date of the event that it reverses, or a later one:"
            return PostingRefused([(f"events.{n}.post_date", f"{expected} {day}") for n, _, day in positions])
        case "period_is_open":
            return PostingRefused([(f"events.{n}.post_date", closed_until(day)) for n, _, day in positions])
        case "post_date_is_near":
            return PostingRefused(
                [(f"events.{n}.post_date", f"expected a date up to {day} (MAX_FUTURE_DAYS)") for n, _, day in positions]
            )
    return None


def closed_until(day: str) -> str:
    """Return why a date in a closed period is refused."""
    return f"expected a date after {day}, until which the ledger is closed"


def amount_error(amount: Decimal, digits: int, currency: str) -> str:
    """Return why an amount is refused in a currency with this number of decimals."""
    try:
        to_minor_units(amount, digits)
    except ValueError as err:
        return f"{err} ({currency})"
    return f"not an amount in {currency}"
