"""Loans that accrue interest, posted over HTTP."""

from typing import Any

from service.domain.calendar import Calendar

TERMS = {
    "effective_date": "2020-01-01",
    "rate": "0.10",
    "day_count": "ACT/365F",
    "allocation": ["fees", "interest", "principal"],
    "grace_days": 0,
}
TODAY = Calendar().today()


class AccruingLoan:
    """A loan of 36,500.00 from 2020-01-01 at 10 %, ACT/365F: it accrues 10.00 a day.

    Args:
        client: Sends requests to an application.
        headers: Of a caller who may post.
        loan_id: A new loan.
        terms: Members of its terms that differ.
    """

    def __init__(self, client: Any, headers: dict[str, str], loan_id: int = 10, **terms: Any) -> None:
        self._client = client
        self._headers = headers
        self._terms = terms
        self.path = f"/api/v1/loan/{loan_id}"
        self.loan_id = loan_id
        loan = {"loan_id": loan_id, "start_date": "2020-01-01", "initial_amt": "36500.00"}
        self.send("/api/v1/loan", loan)
        self.send(f"{self.path}/terms", {**TERMS, **terms})

    def another(self, loan_id: int) -> "AccruingLoan":
        """Create a loan with the same members."""
        return AccruingLoan(self._client, self._headers, loan_id, **self._terms)

    def send(self, path: str, body: dict[str, Any], status: int = 201, **headers: str) -> Any:
        """Send a POST and return the reply."""
        reply = self.request(path, body, **headers)
        assert reply.status_code == status, reply.text
        return reply

    def request(self, path: str, body: dict[str, Any], **headers: str) -> Any:
        """Send a POST and return the reply of any status."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._client.post(path, json=body, headers={**self._headers, **named})

    def accrue(self, day: object, status: int = 201, *, body: dict[str, Any] | None = None, **headers: str) -> Any:
        """Charge what has accrued by a day, and return the reply."""
        return self.send(f"{self.path}/accrue", {"date": str(day), **(body or {})}, status, **headers)

    def post(self, *events: tuple[Any, ...], status: int = 201, key: str | None = None, **members: Any) -> Any:
        """Post events, which are tuples of type, date, amount and perhaps what they reverse. Return the reply."""
        names = ("event_type", "post_date", "amt", "reverses")
        body = {"events": [dict(zip(names, event, strict=False)) for event in events], **members}
        return self.send(f"{self.path}/events", body, status, **({"Idempotency_Key": key} if key else {}))

    def balance(self, day: object) -> str:
        """Return the balance on a day."""
        return self._get(f"{self.path}/{day}", {})["balance"]

    def parts(self, day: object) -> dict[str, str]:
        """Return the parts of the balance on a day."""
        return self._get(f"{self.path}/{day}", {"parts": "true"})["parts"]

    def events(self) -> list[tuple[str, str, str]]:
        """Return type, date and amount of all events, in the order of their versions."""
        found = self._get(f"{self.path}/events", {"limit": "1000"})["events"]
        return [(event["event_type"], event["post_date"], event["amt"]) for event in found]

    def _get(self, path: str, query: dict[str, str]) -> Any:
        reply = self._client.get(path, query_string=query, headers=self._headers)
        assert reply.status_code == 200, reply.text
        return reply.json


def shown(reply: Any) -> list[tuple[str, str, str]]:
    """Return type, date and amount of the events of a reply."""
    return [(event["event_type"], event["post_date"], event["amt"]) for event in reply.json["events"]]


def fields(reply: Any) -> list[str]:
    """Return the fields that the errors of a reply name."""
    return [error["field"] for error in reply.json["errors"]]
