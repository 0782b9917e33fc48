"""Posts to the service over HTTP, in batches by SQL and from files, and notes in the model what was posted."""

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from service.bulk_load.loader import load
from tests.conftest import sql
from tests.models.ledger_model import Agreed, Ledger, Loan, Posted, State
from tests.models.payoff_model import Schedule, Terms
from tests.models.payoff_replies import rate_text

CALLERS = ("u1", "branch-7", "réception")
LOADER = "Ann"
LOANS_HEAD = "loan_id,start_date,initial_amt,currency,rate,day_count,allocation,grace_days"
TERMS_HEAD = "loan_id,effective_date,rate,day_count,allocation,grace_days,source_id"
SCHEDULES_HEAD = "loan_id,effective_date,due_date,amt,source_id"
EVENTS_HEAD = "loan_id,event_type,post_date,amt,source_id,reverses_source_id,memo"


class LedgerPoster:
    """Posts what it is given.

    Args:
        client: Posts over HTTP.
        connection: A connection of the posting user, for batches of several loans and for files.
        make_token: Signs claims.
        rng: Chooses the caller.

    Attributes:
        user: The database's user of the connection.
        ledger: The model of what was posted.
    """

    def __init__(
        self, client: FlaskClient, connection: Connection, make_token: Callable[..., str], rng: Random
    ) -> None:
        self._client = client
        self._connection = connection
        self._rng = rng
        self.user = connection.info.user
        self.ledger = Ledger()
        self._headers = {
            name: {"Authorization": f"Bearer {make_token(userId=name, scopes='api:read api:write')}"}
            for name in CALLERS
        }

    def request(self, path: str, body: dict[str, Any]) -> tuple[str, Any]:
        """Send a POST, and return the caller and the reply of any status."""
        caller = self._rng.choice(CALLERS)
        return caller, self._client.post(path, json=body, headers=self._headers[caller])

    def create(self, loan_id: int, start: date, initial: Decimal, currency: str, *, is_named: bool = True) -> Loan:
        """Create a loan. Its currency need not be named if it is USD."""
        body = {"loan_id": loan_id, "start_date": start.isoformat(), "initial_amt": f"{initial:f}"}
        if currency != "USD" or is_named:
            body["currency"] = currency
        _, reply = self._send("/api/v1/loan", body)
        loan = Loan(loan_id, start, initial, currency, datetime.fromisoformat(reply["recorded_at"]))
        self.ledger.loans[loan_id] = loan
        return loan

    def post(self, loan: Loan, events: list[dict[str, Any]]) -> None:
        """Post events of a loan, each with the arguments of Posted."""
        caller, reply = self._send(f"/api/v1/loan/{loan.loan_id}/events", {"events": written(events)})
        self.note(loan, events, reply, caller)

    def note(self, loan: Loan, events: Iterable[dict[str, Any]], reply: Any, caller: str) -> None:
        """Note events that a request has posted."""
        recorded_at = datetime.fromisoformat(reply["recorded_at"])
        for event, made in zip(events, reply["events"], strict=True):
            loan.events.append(
                Posted(made["tx_id"], made["version"], recorded_at=recorded_at, posted_by=caller, **event)
            )

    def note_next(self, loan: Loan, event: dict[str, Any], caller: str) -> None:
        """Note an event that made the next version of a loan without a reply: read its id and its time."""
        version = loan.version + 1
        [(tx_id, recorded_at)] = sql(
            self._connection,
            "SELECT tx_id, recorded_at FROM loan_events WHERE loan_id = %s AND version = %s", loan.loan_id, version,
        )  # fmt: skip
        loan.events.append(Posted(tx_id, version, recorded_at=recorded_at, posted_by=caller, **event))

    def append(self, batch: Sequence[tuple[Loan, dict[str, Any]]]) -> None:
        """Post events of several loans in one transaction: all have the same recording time."""
        columns = ([event.get(name) for _, event in batch] for name in
                   ("event_type", "post_date", "amt", "source_id", "reverses", "memo"))  # fmt: skip
        sql(
            self._connection,
            "SELECT append_events(%s::bigint[], %s::text[], %s::date[], %s::numeric[], %s::text[], %s::bigint[], "
            "%s::text[], 'the batch', NULL)",
            [loan.loan_id for loan, _ in batch],
            *columns,
        )
        for loan, event in batch:
            self.note_next(loan, event, "the batch")

    def agree(self, loan: Loan, record: Terms | Schedule) -> None:
        """Post terms or a schedule, with the next version of the loan."""
        kind = "terms" if isinstance(record, Terms) else "schedule"
        body: dict[str, Any] = {"effective_date": record.effective.isoformat()}
        if record.reverses is not None:
            body = {"reverses": record.reverses}
        elif isinstance(record, Terms):
            body |= {"rate": rate_text(record.rate), "day_count": record.day_count,
                     "allocation": list(record.allocation), "grace_days": record.grace_days}  # fmt: skip
        else:
            money = loan.state().payoffs.money
            body["installments"] = [{"due_date": due.isoformat(), "amt": money(a)} for due, a in record.installments]
        caller, reply = self._send(f"/api/v1/loan/{loan.loan_id}/{kind}", body)
        assert reply["version"] == record.version == loan.version + 1
        method = None if isinstance(record, Terms) else reply["method"]  # that of what it reverses
        recorded_at = datetime.fromisoformat(reply["recorded_at"])
        loan.agreements.append(Agreed(record, recorded_at, caller, method=method))

    def load(self, folder: Path, loans: Sequence[tuple[Loan, list[Terms | Schedule | dict[str, Any]]]]) -> None:
        """Load new loans, and records of others, from files, in the order in which a load posts them.

        Args:
            folder: For the files.
            loans: Each with its terms, schedules, and events, which have the arguments of Posted; `reverses` is the
                `source_id` of an event.
        """
        rows: dict[str, list[str]] = {
            "loans": [LOANS_HEAD], "events": [EVENTS_HEAD], "schedules": [SCHEDULES_HEAD], "terms": [TERMS_HEAD]
        }  # fmt: skip
        for loan, records in loans:
            _write_rows(rows, loan, records, is_new=loan.loan_id not in self.ledger.loans)
        paths = {name: folder / f"{name}.csv" for name in rows}
        for name, path in paths.items():
            path.write_text("\n".join(rows[name]) + "\n")
        load(self._connection, paths["loans"], paths["events"], paths["schedules"], terms=paths["terms"], name=LOADER)
        user = f"{self.user} ({LOADER})"
        for loan, records in loans:
            is_new = loan.loan_id not in self.ledger.loans
            if is_new:
                [(loan.recorded_at,)] = sql(
                    self._connection, "SELECT recorded_at FROM loans WHERE loan_id = %s", loan.loan_id
                )
                self.ledger.loans[loan.loan_id] = loan
            for number, record in enumerate(records):
                if isinstance(record, dict):
                    by_source = {event.source_id: event.tx_id for event in loan.events if event.source_id}
                    self.note_next(loan, record | {"reverses": by_source.get(record["reverses"])}, user)
                else:
                    assert record.version == loan.version + 1
                    table = "loan_terms" if isinstance(record, Terms) else "loan_schedules"
                    [(recorded_at,)] = sql(
                        self._connection,
                        f"SELECT recorded_at FROM {table} WHERE loan_id = %s AND version = %s",
                        loan.loan_id,
                        record.version,
                    )
                    source_id = _source_id(record, is_new and number == 0 and _is_first(loan, record))
                    loan.agreements.append(Agreed(record, recorded_at, user, source_id))
            [(version,)] = sql(self._connection, "SELECT version FROM loans WHERE loan_id = %s", loan.loan_id)
            assert version == loan.version

    def _send(self, path: str, body: dict[str, Any]) -> tuple[str, Any]:
        caller, reply = self.request(path, body)
        assert reply.status_code == 201, (path, body, reply.text)
        return caller, reply.json


def written(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return events, which have the arguments of Posted, as a request has them."""
    return [event | {"post_date": event["post_date"].isoformat(), "amt": f"{event['amt']:f}"} for event in events]


def _is_first(loan: Loan, record: Terms | Schedule) -> bool:
    """Return whether a record fits into LOANS if it is the first one of a new loan."""
    return isinstance(record, Terms) and record.effective == loan.start_date


def _source_id(record: Terms | Schedule, is_of_loans: bool) -> str | None:
    return None if is_of_loans else f"{'T' if isinstance(record, Terms) else 'S'}{record.version}"


def _write_rows(
    rows: dict[str, list[str]], loan: Loan, records: Sequence[Terms | Schedule | dict[str, Any]], *, is_new: bool
) -> None:
    """Add the rows of a loan to those of the files."""
    money = State(loan, 0).payoffs.money
    first = ",,,"
    for number, record in enumerate(records):
        if isinstance(record, Terms):
            members = f"{rate_text(record.rate)},{record.day_count},{'>'.join(record.allocation)},{record.grace_days}"
            if is_new and number == 0 and _is_first(loan, record):
                first = members
            else:
                rows["terms"].append(f"{loan.loan_id},{record.effective},{members},{_source_id(record, False)}")
        elif isinstance(record, Schedule):
            head, tail = f"{loan.loan_id},{record.effective}", _source_id(record, False)
            rows["schedules"] += [f"{head},{due},{money(amt)},{tail}" for due, amt in record.installments]
        else:
            texts = (str(record.get(name) or "") for name in ("source_id", "reverses", "memo"))
            event = f"{record['event_type']},{record['post_date']},{record['amt']:f},{','.join(texts)}"
            rows["events"].append(f"{loan.loan_id},{event}")
    if is_new:
        rows["loans"].append(f"{loan.loan_id},{loan.start_date},{loan.initial_amt:f},{loan.currency},{first}")
