"""Posts random ledgers over HTTP and by batches in SQL, and notes in a model what was posted."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from tests.conftest import sql
from tests.models.ledger_model import DIGITS, Ledger, Loan, Posted

FIRST = date(2019, 11, 15)
DAYS = 420
MEMOS = ("goodwill", "corrects the receipt, again", 'said "paid"', "übertragen", "x" * 200)
CALLERS = ("u1", "branch-7", "réception")


class LedgerGenerator:
    """Generates a ledger from a seed.

    Args:
        client: Posts over HTTP.
        connection: A connection of the posting user, for batches of several loans.
        make_token: Signs claims.
        rng: The source of all choices.
    """

    def __init__(
        self, client: FlaskClient, connection: Connection, make_token: Callable[..., str], rng: Random
    ) -> None:
        self._client = client
        self._connection = connection
        self._rng = rng
        self._ledger = Ledger()
        self._active: list[Loan] = []
        self._headers = {
            name: {"Authorization": f"Bearer {make_token(userId=name, scopes='api:read api:write')}"}
            for name in CALLERS
        }

    def generate(self, loans: int, batches: int) -> Ledger:
        """Post loans and batches of events, in turns, so that recording times are mixed."""
        ids = self._rng.sample(range(1, 3 * loans), loans)
        for number, loan_id in enumerate(ids):
            self._create(loan_id)
            for _ in range(batches * (number + 1) // loans - batches * number // loans):
                self._post_to_several() if self._rng.random() < 0.15 else self._post_to_one()
        return self._ledger

    def _create(self, loan_id: int) -> None:
        currency = self._rng.choice(list(DIGITS))
        start = FIRST + timedelta(days=self._rng.randrange(DAYS))
        initial = self._rng.choice([Decimal(0), self._amount(currency), 100 * self._amount(currency)])
        body = {"loan_id": loan_id, "start_date": start.isoformat(), "initial_amt": f"{initial:f}"}
        if currency != "USD" or self._rng.random() < 0.5:
            body["currency"] = currency
        recorded_at = datetime.fromisoformat(self._send("/api/v1/loan", body)["recorded_at"])
        self._ledger.loans[loan_id] = loan = Loan(loan_id, start, initial, currency, recorded_at)
        if not self._active or self._rng.random() < 0.8:
            self._active.append(loan)
        elif initial:  # paid off: the balance becomes exactly zero
            self._post(loan, [{"event_type": "payment", "post_date": start + timedelta(days=30), "amt": initial}])

    def _amount(self, currency: str) -> Decimal:
        units = self._rng.choice([1, 7, 1000, 1000, 9999, self._rng.randint(1, 10**6), self._rng.randint(1, 10**14)])
        return Decimal(units).scaleb(-DIGITS[currency])

    def _new_events(self, loan: Loan, count: int) -> list[dict[str, Any]]:
        """Return events of a loan, each with the arguments of Posted: some reverse earlier ones, in any order."""
        undone = {event.reverses for event in loan.events}
        open_events = [event for event in loan.events if event.reverses is None and event.tx_id not in undone]
        chosen = []
        for number in range(count):
            if open_events and self._rng.random() < 0.3:
                first = open_events.pop(self._rng.randrange(len(open_events)))
                later = timedelta(days=self._rng.choice([0, 0, 1, self._rng.randrange(200)]))
                event = {
                    "event_type": first.event_type, "post_date": first.post_date + later, "amt": first.amt,
                    "reverses": first.tx_id,
                }  # fmt: skip
            else:
                event = {
                    "event_type": self._rng.choice(["fee", "interest", "payment", "payment"]),
                    "post_date": FIRST + timedelta(days=self._rng.randrange(DAYS)), "amt": self._amount(loan.currency),
                }  # fmt: skip
            if self._rng.random() < 0.4:
                prefix = self._rng.choice(["receipt", "=sum", 'a "b", c'])
                event["source_id"] = f"{prefix}-{len(loan.events) + number}"
            if self._rng.random() < 0.3:
                event["memo"] = self._rng.choice(MEMOS)
            chosen.append(event)
        return chosen

    def _post_to_one(self) -> None:
        loans = self._active
        # Some loans get many events, others few.
        loan = loans[min(self._rng.randrange(len(loans)), self._rng.randrange(len(loans)))]
        self._post(loan, self._new_events(loan, self._rng.randint(1, 6)))

    def _post(self, loan: Loan, events: list[dict[str, Any]]) -> None:
        caller = self._rng.choice(CALLERS)
        written = [
            event | {"post_date": event["post_date"].isoformat(), "amt": f"{event['amt']:f}"} for event in events
        ]
        reply = self._send(f"/api/v1/loan/{loan.loan_id}/events", {"events": written}, caller)
        recorded_at = datetime.fromisoformat(reply["recorded_at"])
        for event, made in zip(events, reply["events"], strict=True):
            loan.events.append(
                Posted(made["tx_id"], made["version"], recorded_at=recorded_at, posted_by=caller, **event)
            )

    def _post_to_several(self) -> None:
        """Post events of several loans in one transaction: all have the same recording time."""
        loans = self._active
        batch = [
            (loan, event)
            for loan in self._rng.sample(loans, min(len(loans), 4))
            for event in self._new_events(loan, self._rng.randint(1, 3))
        ]
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
            version = len(loan.events) + 1
            [(tx_id, recorded_at)] = sql(
                self._connection,
                "SELECT tx_id, recorded_at FROM loan_events WHERE loan_id = %s AND version = %s", loan.loan_id, version,
            )  # fmt: skip
            loan.events.append(Posted(tx_id, version, recorded_at=recorded_at, posted_by="the batch", **event))

    def _send(self, path: str, body: dict[str, Any], caller: str = CALLERS[0]) -> Any:
        reply = self._client.post(path, json=body, headers=self._headers[caller])
        assert reply.status_code == 201, (body, reply.text)
        return reply.json
