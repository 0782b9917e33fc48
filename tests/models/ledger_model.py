"""A ledger in plain Python with Decimals, which predicts the replies of all routes member by member.

It is built from what was posted, and from the transaction ids and times that the replies to postings gave. It shares
no code with the service: amounts are Decimals, days are dates, and each answer is computed from the posted events
alone.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any

DIGITS = {"JPY": 0, "USD": 2, "KWD": 3}
PARTS = ("fees", "interest", "principal")
Members = dict[str, Any]


def write_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True)
class Posted:
    """An event as it was posted and recorded."""

    tx_id: int
    version: int
    event_type: str
    post_date: date
    amt: Decimal
    recorded_at: datetime
    source_id: str | None = None
    reverses: int | None = None
    posted_by: str | None = None
    memo: str | None = None

    @property
    def signed(self) -> Decimal:
        return self.amt if (self.event_type == "payment") == (self.reverses is not None) else -self.amt


@dataclass
class Loan:
    """A loan and its events, in the order of their versions."""

    loan_id: int
    start_date: date
    initial_amt: Decimal
    currency: str
    recorded_at: datetime
    events: list[Posted] = field(default_factory=list)

    def known_version(self, moment: datetime) -> int | None:
        """Return the version at a time; None if the loan did not exist."""
        if self.recorded_at > moment:
            return None
        return sum(event.recorded_at <= moment for event in self.events)

    def state(self, version: int | None = None) -> "State":
        """Return the loan at a version, by default the current one."""
        return State(self, len(self.events) if version is None else version)


class State:
    """A loan at a version: the answers about it."""

    def __init__(self, loan: Loan, version: int) -> None:
        self.loan = loan
        self.version = version
        self.recorded = loan.events[:version]
        self.dated = sorted(self.recorded, key=lambda event: (event.post_date, event.tx_id))
        self.reversed_by = {event.reverses: event.tx_id for event in self.recorded if event.reverses is not None}

    def money(self, amount: Decimal) -> str:
        return f"{amount:.{DIGITS[self.loan.currency]}f}"

    def until(self, day: date) -> list[Posted]:
        """Return the events that count at the end of a day."""
        return [event for event in self.dated if event.post_date <= day] if day >= self.loan.start_date else []

    def amount(self, day: date) -> Decimal:
        if day < self.loan.start_date:
            return Decimal(0)
        return self.loan.initial_amt + sum((event.signed for event in self.until(day)), Decimal(0))

    def amount_before(self, day: date) -> Decimal:
        return Decimal(0) if day == date.min else self.amount(day - timedelta(days=1))

    def part_amounts(self, day: date) -> tuple[Decimal, Decimal, Decimal]:
        """Return fees, interest and principal. An event and its reversal count as if they had not been posted."""
        if day < self.loan.start_date:
            return Decimal(0), Decimal(0), Decimal(0)
        dated = self.until(day)
        undone = {event.reverses for event in dated}
        fees, interest, principal = Decimal(0), Decimal(0), self.loan.initial_amt
        for event in dated:
            if event.reverses is not None or event.tx_id in undone:
                continue
            if event.event_type == "fee":
                fees += event.amt
            elif event.event_type == "interest":
                interest += event.amt
            else:
                to_fees = min(fees, event.amt)
                to_interest = min(interest, event.amt - to_fees)
                fees, interest = fees - to_fees, interest - to_interest
                principal -= event.amt - to_fees - to_interest
        return fees, interest, principal

    def parts(self, day: date) -> Members:
        return dict(zip(PARTS, map(self.money, self.part_amounts(day)), strict=True))

    def balance(self, day: date) -> Members:
        return {
            "loan_id": self.loan.loan_id,
            "date": day.isoformat(),
            "balance": self.money(self.amount(day)),
            "currency": self.loan.currency,
            "version": self.version,
        }

    def terms(self) -> Members:
        return {"start_date": self.loan.start_date.isoformat(), "initial_amt": self.money(self.loan.initial_amt)}

    def entry(self, event: Posted, balance: Decimal, provenance: bool) -> Members:
        members = {
            "tx_id": event.tx_id,
            "event_type": event.event_type,
            "post_date": event.post_date.isoformat(),
            "amt": self.money(event.amt),
            "reversal": event.reverses is not None,
            "signed_amt": self.money(event.signed),
            "balance": self.money(balance),
            "version": event.version,
            "recorded_at": write_time(event.recorded_at),
            "reverses": event.reverses,
            "reversed_by": self.reversed_by.get(event.tx_id),
        }
        if provenance:
            members |= {"source_id": event.source_id, "posted_by": event.posted_by, "memo": event.memo}
        return members

    def entries(self, dated: Iterable[Posted], provenance: bool) -> list[Members]:
        """Return consecutive events from the first one on, with the balance after each."""
        balance, found = self.loan.initial_amt, []
        for event in dated:
            balance += event.signed
            found.append(self.entry(event, balance, provenance))
        return found

    def explanation(self, day: date, provenance: bool) -> Members:
        balance, terms, events = self.balance(day), self.terms(), self.entries(self.until(day), provenance)
        lines = [
            (balance["loan_id"], balance["currency"], terms["start_date"], terms["initial_amt"]),
            *((e["tx_id"], e["event_type"], e["post_date"], e["signed_amt"], e["balance"]) for e in events),
            (balance["date"], balance["balance"]),
        ]
        text = "".join(",".join(map(str, line)) + "\n" for line in lines)
        return {**balance, **terms, "events": events, "digest": sha256(text.encode()).hexdigest()}

    def history(self, first: date, last: date, step: str) -> Members:
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        if step == "month":
            days = [day for day in days if day == last or (day + timedelta(days=1)).day == 1]
        points: list[Members] = []
        for day in days:
            balance = self.money(self.amount(day))
            if step != "change" or not points or points[-1]["balance"] != balance:
                points.append({"date": day.isoformat(), "balance": balance})
        return {
            "loan_id": self.loan.loan_id, "currency": self.loan.currency, "version": self.version,
            "from": first.isoformat(), "to": last.isoformat(), "step": step, "balances": points,
        }  # fmt: skip

    def statement_entries(self, first: date, last: date, provenance: bool) -> list[Members]:
        """Return the principal and the events of a range of days. No event counts before the loan's start."""
        start = self.loan.start_date
        found = []
        if first <= start <= last:
            nothing = dict.fromkeys(("source_id", "posted_by", "memo")) if provenance else {}
            initial = self.money(self.loan.initial_amt)
            principal = {
                "tx_id": None, "event_type": "principal", "post_date": start.isoformat(), "amt": initial,
                "reversal": False, "signed_amt": initial, "balance": initial, "version": None, "recorded_at": None,
                "reverses": None, "reversed_by": None,
            }  # fmt: skip
            found.append(principal | nothing)
        dated = self.until(last)
        entries = self.entries(dated, provenance)
        return found + [e for event, e in zip(dated, entries, strict=True) if max(event.post_date, start) >= first]

    def statement(self, first: date, last: date) -> Members:
        """Return the members of a statement that all its pages have."""
        return {
            "loan_id": self.loan.loan_id, "currency": self.loan.currency, "version": self.version,
            "from": first.isoformat(), "to": last.isoformat(),
            "opening_balance": self.money(self.amount_before(first)), "closing_balance": self.money(self.amount(last)),
        }  # fmt: skip

    def statement_csv(self, first: date, last: date, provenance: bool) -> str:
        names = ["tx_id", "event_type", "post_date", "amt", "reversal", "signed_amt", "balance", "version"]
        names += ["recorded_at", "reverses", "reversed_by", *(("source_id", "posted_by", "memo") if provenance else ())]
        names += ["loan_id", "currency"]
        loan = {"loan_id": self.loan.loan_id, "currency": self.loan.currency}
        shared = self.statement(first, last)
        rows = [
            {"event_type": "opening", "post_date": shared["from"], "balance": shared["opening_balance"]},
            *self.statement_entries(first, last, provenance),
            {"event_type": "closing", "post_date": shared["to"], "balance": shared["closing_balance"]},
        ]
        return _to_csv([names, *([_field(name, (row | loan).get(name)) for name in names] for row in rows)])

    def event_list(self, **chosen: Any) -> list[Members]:
        """Return the events as they were recorded that match filters."""
        return [
            {
                "tx_id": event.tx_id, "version": event.version, "event_type": event.event_type,
                "post_date": event.post_date.isoformat(), "amt": self.money(event.amt),
                "recorded_at": write_time(event.recorded_at), "source_id": event.source_id, "reverses": event.reverses,
                "reversed_by": self.reversed_by.get(event.tx_id), "posted_by": event.posted_by, "memo": event.memo,
            }
            for event in self.recorded
            if chosen.get("source_id") in (None, event.source_id)
            and chosen.get("event_type") in (None, event.event_type)
            and ("recorded_from" not in chosen or event.recorded_at >= chosen["recorded_from"])
            and ("recorded_to" not in chosen or event.recorded_at <= chosen["recorded_to"])
        ]  # fmt: skip


class Ledger:
    """All loans: the answers about several of them."""

    def __init__(self) -> None:
        self.loans: dict[int, Loan] = {}

    def state(self, loan_id: int, known_at: datetime | None = None) -> State | None:
        """Return a loan now or at a time; None if it does not exist, or did not."""
        loan = self.loans.get(loan_id)
        if loan is None or known_at is None:
            return loan and loan.state()
        version = loan.known_version(known_at)
        return None if version is None else loan.state(version)

    def started(self, day: date, known_at: datetime | None) -> list[State]:
        """Return the loans that had started by a day, in the order of their ids."""
        states = (self.state(loan_id, known_at) for loan_id in sorted(self.loans))
        return [state for state in states if state is not None and state.loan.start_date <= day]

    def batch_item(self, loan_id: int, day: date, known_at: datetime | None, parts: bool) -> Members:
        state = self.state(loan_id, known_at)
        if state is None:
            return {"loan_id": loan_id, "date": day.isoformat(), "error": "unknown-loan"}
        return state.balance(day) | ({"parts": state.parts(day)} if parts else {})

    def totals(self, day: date, known_at: datetime | None, parts: bool) -> list[Members]:
        by_currency: dict[str, list[State]] = defaultdict(list)
        for state in self.started(day, known_at):
            by_currency[state.loan.currency].append(state)
        found = []
        for currency, states in sorted(by_currency.items()):
            total = sum((state.amount(day) for state in states), Decimal(0))
            members = {"currency": currency, "loans": len(states), "balance": states[0].money(total)}
            if parts:
                sums = [sum(column, Decimal(0)) for column in zip(*(s.part_amounts(day) for s in states), strict=True)]
                members["parts"] = dict(zip(PARTS, map(states[0].money, sums), strict=True))
            found.append(members)
        return found

    def portfolio_csv(self, day: date, known_at: datetime | None, parts: bool) -> str:
        lines = [["date", "loan_id", "balance", "currency", "version", *(PARTS if parts else ())]]
        for state in self.started(day, known_at):
            own = state.balance(day)
            line = [own["date"], str(own["loan_id"]), own["balance"], own["currency"], str(own["version"])]
            lines.append(line + (list(state.parts(day).values()) if parts else []))
        for total in self.totals(day, known_at, parts):
            line = [day.isoformat(), "", total["balance"], total["currency"], ""]
            lines.append(line + (list(total["parts"].values()) if parts else []))
        return _to_csv(lines)

    def find(self, day: date, **chosen: Any) -> list[Members]:
        """Return the loans that match filters, with their states on a day."""
        found = []
        for _, loan in sorted(self.loans.items()):
            state, amount = loan.state(), loan.state().amount(day)
            named = "not_started" if day < loan.start_date else "open" if amount > 0 else "closed"
            matches = (
                chosen.get("id_from", 0) <= loan.loan_id <= chosen.get("id_to", loan.loan_id)
                and chosen.get("currency") in (None, loan.currency)
                and chosen.get("start_from", date.min) <= loan.start_date <= chosen.get("start_to", date.max)
                and chosen.get("state") in (None, named)
            )
            if matches:
                found.append(
                    {"loan_id": loan.loan_id, **state.terms(), "currency": loan.currency,
                     "balance": state.money(amount), "state": named, "version": state.version}
                )  # fmt: skip
        return found


def loans_csv(day: date, loans: Iterable[Members]) -> str:
    """Return a page of loans as CSV."""
    names = ["loan_id", "start_date", "initial_amt", "currency", "date", "balance", "state", "version"]
    return _to_csv([names, *([str((loan | {"date": day})[name]) for name in names] for loan in loans)])


def _field(name: str, value: object) -> str:
    if value is None:
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if name in ("source_id", "memo") and text[0] in "=+-@":
        text = "'" + text  # a spreadsheet would take it for a formula
    return '"' + text.replace('"', '""') + '"' if "," in text or '"' in text else text


def _to_csv(lines: Iterable[list[str]]) -> str:
    return "".join(",".join(line) + "\r\n" for line in lines)
