"""A ledger in plain Python with Decimals, which predicts the replies of all routes member by member.

It is built from what was posted, and from the transaction ids and times that the replies to postings gave. It shares
no code with the service: amounts are Decimals, days are dates, and each answer is computed from the posted records
alone. What depends on terms and schedules comes from the model of payoffs, in exact fractions.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from hashlib import sha256
from typing import Any

from tests.models import payoff_model
from tests.models.payoff_model import DEFAULT_ALLOCATION, Schedule, Terms
from tests.models.payoff_replies import BUCKETS, PayoffReplies, rate_text

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
        lowers = self.event_type in ("payment", "interest_credit")
        return self.amt if lowers == (self.reverses is not None) else -self.amt


@dataclass(frozen=True)
class Agreed:
    """Terms or a schedule as they were recorded."""

    record: Terms | Schedule
    recorded_at: datetime
    posted_by: str
    source_id: str | None = None
    method: Members | None = None  # by which a schedule was made

    @property
    def version(self) -> int:
        return self.record.version


@dataclass
class Loan:
    """A loan, its events, and its terms and schedules, in the order of their versions."""

    loan_id: int
    start_date: date
    initial_amt: Decimal
    currency: str
    recorded_at: datetime
    events: list[Posted] = field(default_factory=list)
    agreements: list[Agreed] = field(default_factory=list)

    @property
    def records(self) -> list[Posted | Agreed]:
        """The events, terms and schedules, in no order."""
        return [*self.events, *self.agreements]

    @property
    def version(self) -> int:
        return len(self.events) + len(self.agreements)

    def known_version(self, moment: datetime) -> int | None:
        """Return the version at a time; None if the loan did not exist."""
        if self.recorded_at > moment:
            return None
        return sum(record.recorded_at <= moment for record in self.records)

    def state(self, version: int | None = None) -> "State":
        """Return the loan at a version, by default the current one."""
        return State(self, self.version if version is None else version)


class State:
    """A loan at a version: the answers about it."""

    def __init__(self, loan: Loan, version: int) -> None:
        self.loan = loan
        self.version = version
        self.recorded = [event for event in loan.events if event.version <= version]
        self.agreements = [each for each in loan.agreements if each.version <= version]
        self.agreed = [each.record for each in self.agreements]
        self.dated = sorted(self.recorded, key=lambda event: (event.post_date, event.tx_id))
        self.reversed_by = {event.reverses: event.tx_id for event in self.recorded if event.reverses is not None}

    def money(self, amount: Decimal) -> str:
        return f"{amount:.{DIGITS[self.loan.currency]}f}"

    def units(self, amount: Decimal) -> int:
        """Return an amount in minor units."""
        units = amount.scaleb(DIGITS[self.loan.currency])
        assert units == int(units)
        return int(units)

    @cached_property
    def exact(self) -> payoff_model.Loan:
        """The loan of the model of payoffs."""
        versions = {event.tx_id: event.version for event in self.recorded}
        events = [
            payoff_model.Event(
                event.version, event.tx_id, event.post_date, event.event_type, self.units(event.amt),
                None if event.reverses is None else versions[event.reverses],
            )
            for event in self.recorded
        ]  # fmt: skip
        return payoff_model.Loan(
            self.loan.start_date,
            self.units(self.loan.initial_amt),
            tuple(events),
            tuple(record for record in self.agreed if isinstance(record, Terms)),
            tuple(record for record in self.agreed if isinstance(record, Schedule)),
            self.loan.currency,
        )

    @cached_property
    def payoffs(self) -> PayoffReplies:
        return PayoffReplies(self.loan.loan_id, self.exact)

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
        if self.agreed:  # their order of allocation counts
            found = self.payoffs.any_answers(day).walk.parts
            fees, interest, principal = (Decimal(found[part]).scaleb(-DIGITS[self.loan.currency]) for part in PARTS)
            return fees, interest, principal
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
                to_fees = min(fees, event.amt) if event.event_type == "payment" else Decimal(0)
                to_interest = min(interest, event.amt - to_fees)
                fees, interest = fees - to_fees, interest - to_interest
                principal -= event.amt - to_fees - to_interest
        return fees, interest, principal

    def parts(self, day: date) -> Members:
        return dict(zip(PARTS, map(self.money, self.part_amounts(day)), strict=True))

    def allocation(self, day: date) -> list[str]:
        """Return what a payment on a day pays first."""
        terms = self.exact.terms_on(day)
        return list(DEFAULT_ALLOCATION if terms is None else terms.allocation)

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

    def history(self, first: date, last: date, step: str, requested: Collection[str] = ()) -> Members:
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        if step == "month":
            days = [day for day in days if day == last or (day + timedelta(days=1)).day == 1]
        points: list[Members] = []
        for day in days:
            balance = self.money(self.amount(day))
            if step != "change" or not points or points[-1]["balance"] != balance:
                shown = self.payoffs.settlement(day, requested)
                points.append({"date": day.isoformat(), "balance": balance, **shown})
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

    def statement(self, first: date, last: date, requested: Collection[str] = ()) -> Members:
        """Return the members of a statement that all its pages have."""
        return {
            "loan_id": self.loan.loan_id, "currency": self.loan.currency, "version": self.version,
            "from": first.isoformat(), "to": last.isoformat(),
            "opening_balance": self.money(self.amount_before(first)), "closing_balance": self.money(self.amount(last)),
            **self.payoffs.settlement(last, requested),
        }  # fmt: skip

    def statement_csv(self, first: date, last: date, provenance: bool, requested: Collection[str] = ()) -> str:
        settlement = self.payoffs.settlement(last, requested)
        names = ["tx_id", "event_type", "post_date", "amt", "reversal", "signed_amt", "balance", "version"]
        names += ["recorded_at", "reverses", "reversed_by", *settlement]
        names += ["source_id", "posted_by", "memo"] if provenance else []
        names += ["loan_id", "currency"]
        loan = {"loan_id": self.loan.loan_id, "currency": self.loan.currency}
        shared = self.statement(first, last)
        rows = [
            {"event_type": "opening", "post_date": shared["from"], "balance": shared["opening_balance"]},
            *self.statement_entries(first, last, provenance),
            {"event_type": "closing", "post_date": shared["to"], "balance": shared["closing_balance"], **settlement},
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

    def agreement_list(self, kind: type[Terms | Schedule]) -> list[Members]:
        """Return the terms, or the schedules, as they were recorded. A reversal has the members of what it reverses."""
        recorded = {each.version: each for each in self.agreements if isinstance(each.record, kind)}
        applying = {record.version for record in payoff_model.effective(each.record for each in recorded.values())}
        reversed_by = {each.record.reverses: version for version, each in recorded.items()}
        return [
            {
                "version": version, "recorded_at": write_time(each.recorded_at), "posted_by": each.posted_by,
                "source_id": each.source_id, "memo": None, "reverses": each.record.reverses,
                "reversed_by": reversed_by.get(version), "applies": version in applying,
                **self._agreement(recorded[each.record.reverses or version]),
            }
            for version, each in recorded.items()
        ]  # fmt: skip

    def _agreement(self, agreed: Agreed) -> Members:
        record = agreed.record
        if isinstance(record, Terms):
            return {
                "effective_date": record.effective.isoformat(), "rate": rate_text(record.rate),
                "day_count": record.day_count, "allocation": list(record.allocation), "grace_days": record.grace_days,
            }  # fmt: skip
        money = self.payoffs.money
        installments = sorted(record.installments, key=lambda installment: installment[0])
        return {
            "effective_date": record.effective.isoformat(),
            "installments": [{"due_date": due.isoformat(), "amt": money(amt)} for due, amt in installments],
            "method": agreed.method,
        }


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

    def batch_item(
        self, loan_id: int, day: date, known_at: datetime | None, parts: bool, requested: Collection[str] = ()
    ) -> Members:
        state = self.state(loan_id, known_at)
        item = {"loan_id": loan_id, "date": day.isoformat()}
        if state is None:
            return item | {"error": "unknown-loan"}
        if requested and not state.payoffs.fits(day):
            return item | {"error": "amount-too-large"}
        shown = state.payoffs.settlement(day, requested)
        return state.balance(day) | ({"parts": state.parts(day)} if parts else {}) | shown

    def totals(
        self, day: date, known_at: datetime | None, parts: bool, requested: Collection[str] = ()
    ) -> list[Members]:
        by_currency: dict[str, list[State]] = defaultdict(list)
        for state in self.started(day, known_at):
            by_currency[state.loan.currency].append(state)
        found = []
        for currency, states in sorted(by_currency.items()):
            members = {"currency": currency, **_sums(states, day, parts, requested)}
            fitting = [state for state in states if requested and state.payoffs.fits(day)]
            if requested:
                members["errors"] = len(states) - len(fitting)
            if "arrears" in requested:
                members["buckets"] = [
                    {"bucket": bucket, **_sums(of_bucket, day, parts, requested, states[0])}
                    for bucket in BUCKETS
                    for of_bucket in [[s for s in fitting if s.payoffs.answers(day).arrears.bucket == bucket]]
                ]
            found.append(members)
        return found

    def portfolio_csv(self, day: date, known_at: datetime | None, parts: bool, requested: Collection[str] = ()) -> str:
        names = ["date", "loan_id", "balance", "currency", "version", *(PARTS if parts else ())]
        names += ["interest_uncharged", "payoff"] if "payoff" in requested else []
        names += ["past_due", "days_past_due", "bucket"] if "arrears" in requested else []
        names += ["loans", "errors"] if requested else []
        rows: list[Members] = []
        for state in self.started(day, known_at):
            own = state.balance(day) | (state.parts(day) if parts else {})
            if requested and state.payoffs.fits(day):
                bucket = state.payoffs.answers(day).arrears.bucket
                own |= state.payoffs.settlement(day, requested) | {"bucket": bucket, "errors": 0}
            elif requested:
                own["errors"] = 1
            rows.append(own)
        totals = self.totals(day, known_at, parts, requested)
        for total in totals:
            rows += [{**bucket, "currency": total["currency"], "errors": 0} for bucket in total.get("buckets", ())]
        rows += totals
        cells = [row | row.get("parts", {}) | {"date": day.isoformat()} for row in rows]
        return _to_csv([names, *([_field(name, row.get(name)) for name in names] for row in cells)])

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


def _sums(
    states: list[State], day: date, parts: bool, requested: Collection[str], like: State | None = None
) -> Members:
    """Return the sums of loans in one currency; payoffs and arrears that cannot be shown are left out.

    Args:
        states: The loans.
        day: The day.
        parts: Whether the sums of the parts are requested.
        requested: `payoff`, `arrears`, or both.
        like: A loan in that currency, which is needed if there may be no loans.
    """
    like = like or states[0]
    fitting = [state.payoffs.answers(day) for state in states if requested and state.payoffs.fits(day)]
    total = sum((state.amount(day) for state in states), Decimal(0))
    members: Members = {"loans": len(states), "balance": like.money(total)}
    if parts:
        columns = zip(*((Decimal(0),) * 3, *(state.part_amounts(day) for state in states)), strict=True)
        members["parts"] = dict(zip(PARTS, map(like.money, map(sum, columns)), strict=True))
    if "payoff" in requested:
        members["interest_uncharged"] = like.payoffs.money(sum(each.payoff.uncharged for each in fitting))
        members["payoff"] = like.payoffs.money(sum(each.payoff.total for each in fitting))
    if "arrears" in requested:
        members["past_due"] = like.payoffs.money(sum(each.arrears.past_due for each in fitting))
    return members


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
