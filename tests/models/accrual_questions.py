"""Random postings that charge what has accrued, between questions about payoff and arrears."""

from calendar import monthrange
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from click.testing import Result
from flask.testing import FlaskClient

from tests.models.accrual_model import MOST_TURNOVER, Refused, accrue, turnover, with_accrued
from tests.models.ledger_model import DIGITS, Agreed, Loan, Posted
from tests.models.ledger_poster import LedgerPoster, written
from tests.models.payoff_model import Event, Schedule
from tests.models.schedule_model import NoSchedule, make_installments
from tests.models.settlement_questions import SettlementQuestions

MOST_SUM = 2**63 - 1  # minor units, of a schedule
METHODS = ("annuity", "equal_principal", "bullet")


class AccrualQuestions(SettlementQuestions):
    """Puts random questions, and posts.

    Args:
        client: Reads over HTTP.
        poster: Posts, and has the model.
        command: Runs a command of the service with arguments.
        rng: The source of all choices.
        seed: Named with a difference.
        days: The days of the ledger.
        folder: For the file of the portfolio.

    Attributes:
        outcomes: The number of postings by kind and outcome.
    """

    kinds: Mapping[str, int] = {
        **SettlementQuestions.kinds, "accrue": 20, "pay": 20, "accrue_all": 2, "make_schedule": 15, "reverse": 8,
    }  # fmt: skip

    def __init__(
        self,
        client: FlaskClient,
        poster: LedgerPoster,
        command: Callable[..., Result],
        rng: Random,
        seed: int,
        days: range,
        folder: Path,
    ) -> None:
        super().__init__(client, poster.ledger, command, rng, seed, days, folder)
        self._poster = poster
        self.outcomes: Counter[tuple[str, str]] = Counter()

    def accrue(self) -> None:
        """Charge interest to a loan over HTTP."""
        loan, day = self._loan_and_day()
        try:
            charge = accrue(loan.state().exact, day, _today())
        except Refused as refused:
            self._refuse("accrue", f"/api/v1/loan/{loan.loan_id}/accrue", {"date": str(day)}, refused.fields)
            return
        path = f"/api/v1/loan/{loan.loan_id}/accrue"
        if charge is None:
            caller, asked = self._post(path, {"date": str(day)}, 200)
            expected = loan.state().balance(date.fromisoformat(asked[1].json["date"])) | {"events": []}
            self._compare(asked, expected, key=("accrue", loan.loan_id, loan.version, day))
            self.outcomes["accrue", "nothing"] += 1
            return
        caller, asked = self._post(path, {"date": str(day)}, 201)
        self._compare_posted(loan, [self._charged(loan, day, charge)], asked, caller)
        self.outcomes["accrue", charge[0]] += 1

    def pay(self) -> None:
        """Post payments and other events with what has accrued before them."""
        loan = self._any_loan()
        state = loan.state()
        events = [self._new_event(loan) for _ in range(self._rng.choice((1, 1, 2, 3, 6)))]
        undone = {event.reverses for event in loan.events}
        reversible = [event for event in loan.events if event.reverses is None and event.tx_id not in undone]
        if reversible and self._rng.random() < 0.3:
            events.insert(self._rng.randrange(len(events) + 1), self._reversal(self._rng.choice(reversible)))
        versions = {event.tx_id: event.version for event in loan.events}
        exact = [
            Event(0, 0, event["post_date"], event["event_type"], state.units(event["amt"]),
                  versions.get(event.get("reverses")))
            for event in events
        ]  # fmt: skip
        path, body = f"/api/v1/loan/{loan.loan_id}/events", {"events": written(events), "accrue": True}
        try:
            placed = with_accrued(state.exact, exact, _today())
        except Refused as refused:
            self._refuse("pay", path, body, refused.fields)
            return
        given = {id(event): members for event, members in zip(exact, events, strict=True)}
        to_note = [given.get(id(event)) or self._charged(loan, event.day, (event.kind, event.amt)) for event in placed]
        caller, asked = self._post(path, body, 201)
        self._compare_posted(loan, to_note, asked, caller)
        self.outcomes["pay", "with interest" if len(placed) > len(exact) else "alone"] += 1

    def reverse(self) -> None:
        """Reverse an event, such as interest that was charged."""
        loan = self._any_loan()
        undone = {event.reverses for event in loan.events}
        reversible = [event for event in loan.events if event.reverses is None and event.tx_id not in undone]
        interest = [event for event in reversible if event.event_type.startswith("interest")]
        chosen = interest if interest and self._rng.random() < 0.7 else reversible
        if chosen:
            event = self._reversal(self._rng.choice(chosen))
            state = loan.state()
            if turnover(state.exact) + state.units(event["amt"]) <= MOST_TURNOVER:
                self._poster.post(loan, [event])

    def accrue_all(self) -> None:
        """Charge interest by the command: as a rule to all loans, tentatively first, and then once more."""
        loan, day = self._loan_and_day()
        day = min(day, _today())
        chosen = [loan] if self._rng.random() < 0.3 else None
        options = ["--date", str(day), *(["--loan", str(loan.loan_id)] if chosen else ())]
        if self._rng.random() < 0.5:
            self._run([*options, "--dry-run"], day, chosen, is_real=False)
        self._run([*options, "--as", "Bob"], day, chosen, is_real=True)
        self._run([*options, "--as", "Bob"], day, chosen, is_real=True)

    def _run(self, options: list[str], day: date, chosen: list[Loan] | None, *, is_real: bool) -> None:
        loans = chosen or [loan for _, loan in sorted(self._ledger.loans.items()) if loan.agreements]
        charges: dict[int, tuple[str, int]] = {}
        skipped: list[int] = []
        for loan in loans:
            try:
                charge = accrue(loan.state().exact, day, _today())
            except Refused:
                skipped.append(loan.loan_id)
                continue
            if charge is not None:
                charges[loan.loan_id] = charge
        amounts: defaultdict[tuple[str, str], list[Decimal]] = defaultdict(list)
        for loan_id, (kind, units) in charges.items():
            loan = self._ledger.loans[loan_id]
            amounts[loan.currency, kind].append(self._amount(loan, units))
        table = [["currency", "event_type", "loans", "amount"]] if charges else []
        table += [[*key, str(len(each)), f"{sum(each):f}"] for key, each in sorted(amounts.items())]
        unchanged = len(loans) - len(charges) - len(skipped)
        last = (
            f"{'charged' if is_real else 'would charge'} {_counted(len(charges))}; {_counted(unchanged)} needed "
            f"nothing; skipped {_counted(len(skipped))}"
        )
        done = self._command("accrue", *options)
        named = [
            int(line.split()[1])
            for line in done.stderr.splitlines()
            if line.startswith("loan ") and " skipped: " in line
        ]
        actual = done.exit_code, [line.split() for line in done.stdout.splitlines()], named
        question = f"accrue {options}"
        self._compare_values((question, actual), (0, [*table, last.split()], skipped), None)
        if is_real:
            for loan_id, charge in charges.items():
                loan = self._ledger.loans[loan_id]
                self._poster.note_next(loan, self._charged(loan, day, charge), f"{self._poster.user} (Bob)")
        self._answered |= {("accrue_all", day, is_real, loan.loan_id, loan.version) for loan in loans}
        self.outcomes["accrue_all", "charged" if charges else "nothing"] += 1
        self.outcomes["accrue_all", "skipped"] += bool(skipped)

    def make_schedule(self) -> None:
        """Post a schedule that a method makes."""
        loan = self._any_loan()
        state = loan.state()
        effective = self._near(loan)
        first = effective + timedelta(days=self._rng.randint(1, 60))
        end_of_month = self._rng.random() < 0.4
        if end_of_month:
            first = first.replace(day=monthrange(first.year, first.month)[1])
        count, every = self._rng.choice((1, 2, 3, 6, 12)), self._rng.choice((1, 1, 2, 3))
        method = self._rng.choice(METHODS)
        body = {
            "effective_date": str(effective), "method": method, "count": count, "first_due_date": str(first),
            "every_months": every, "end_of_month": end_of_month,
        }  # fmt: skip
        path = f"/api/v1/loan/{loan.loan_id}/schedule"
        if first <= effective:
            return
        try:
            made = make_installments(state.exact, effective, method, count, first, every, end_of_month)
            if sum(amt for _, amt in made) > MOST_SUM:
                raise NoSchedule
        except NoSchedule:
            self._refuse("make_schedule", path, body, {"method"})
            return
        caller, asked = self._post(path, body, 201)
        recorded_at = asked[1].json["recorded_at"]
        expected = {
            "loan_id": loan.loan_id, "currency": loan.currency, "version": loan.version + 1, "recorded_at": recorded_at,
            "posted_by": caller, "source_id": None, "memo": None, "reverses": None, "effective_date": str(effective),
            "installments": [{"due_date": str(due), "amt": state.payoffs.money(amt)} for due, amt in made],
            "method": {"name": method, **{name: body[name] for name in (
                "count", "first_due_date", "every_months", "end_of_month")}},
        }  # fmt: skip
        self._compare(asked, expected, key=("schedule", loan.loan_id, loan.version + 1))
        record = Schedule(loan.version + 1, effective, tuple(made))
        shown = expected["method"]
        loan.agreements.append(Agreed(record, datetime.fromisoformat(recorded_at), caller, method=shown))
        self.outcomes["make_schedule", method] += 1

    def _any_loan(self) -> Loan:
        """Choose a loan, as a rule one that accrues interest."""
        loans = list(self._ledger.loans.values())
        accruing = [loan for loan in loans if loan.agreements]
        return self._rng.choice(accruing if accruing and self._rng.random() < 0.8 else loans)

    def _loan_and_day(self) -> tuple[Loan, date]:
        loan = self._any_loan()
        return loan, self._day_to_accrue(loan)

    def _day_to_accrue(self, loan: Loan) -> date:
        """Choose a day. As a rule it is not before the last interest, or nothing can be charged."""
        if self._rng.random() < 0.3:
            return self._near(loan)
        undone = {event.reverses for event in loan.events}
        interest = [
            event.post_date
            for event in loan.events
            if event.event_type.startswith("interest") and event.reverses is None and event.tx_id not in undone
        ]
        return max([loan.start_date, *interest]) + timedelta(days=self._rng.choice((0, 1, 10, 31, 45)))

    def _new_event(self, loan: Loan) -> dict[str, Any]:
        units = self._rng.randint(1, self._rng.choice([1, 100, 10**5, 10**7]))
        kind = self._rng.choice(["payment"] * 5 + ["fee", "interest", "interest_credit"])
        day = self._near(loan) if kind == "fee" else self._day_to_accrue(loan)
        return {"event_type": kind, "post_date": day, "amt": self._amount(loan, units)}

    def _reversal(self, event: Posted) -> dict[str, Any]:
        later = timedelta(days=self._rng.choice([0, 0, 1, 30]))
        return {"event_type": event.event_type, "post_date": event.post_date + later, "amt": event.amt,
                "reverses": event.tx_id}  # fmt: skip

    def _amount(self, loan: Loan, units: int) -> Decimal:
        return Decimal(units).scaleb(-DIGITS[loan.currency])

    def _charged(self, loan: Loan, day: date, charge: tuple[str, int]) -> dict[str, Any]:
        """Return an event that charges interest, with the arguments of Posted."""
        kind, units = charge
        amount = self._amount(loan, units)
        return {"event_type": kind, "post_date": day, "amt": amount, "memo": f"accrued through {day}"}

    def _compare_posted(self, loan: Loan, events: list[dict[str, Any]], asked: tuple[str, Any], caller: str) -> None:
        """Compare the reply to a posting of events, and note them."""
        question, reply = asked
        newest = max((event.tx_id for event in loan.events), default=0)
        tx_ids = [event["tx_id"] for event in reply.json["events"]]
        increases = tx_ids == sorted(set(tx_ids)) and (not tx_ids or tx_ids[0] > newest)
        self._check(increases and len(tx_ids) == len(events), asked, f"{len(events)} new transaction ids")
        self._poster.note(loan, events, reply.json, caller)
        state = loan.state()
        expected = state.balance(date.fromisoformat(reply.json["date"])) | {
            "recorded_at": reply.json["recorded_at"],
            "events": [
                {"tx_id": event.tx_id, "version": event.version, "event_type": event.event_type,
                 "post_date": event.post_date.isoformat(), "amt": state.money(event.amt)}
                for event in loan.events[-len(events):]
            ],
        }  # fmt: skip
        versions = [event.version for event in loan.events[-len(events) :]]
        self._compare_values((question, versions), [*range(state.version - len(events) + 1, state.version + 1)], None)
        self._compare(asked, expected, key=("posted", loan.loan_id, loan.version))

    def _refuse(self, kind: str, path: str, body: dict[str, Any], fields: set[str]) -> None:
        """Check that a posting is refused, and that only these fields are named."""
        _, asked = self._post(path, body, 422)
        named = {error["field"] for error in asked[1].json["errors"]}
        self._check(bool(named) and named <= fields, asked, f"errors of some of the fields {sorted(fields)}")
        self.outcomes[kind, "refused"] += 1

    def _post(self, path: str, body: dict[str, Any], status: int) -> tuple[str, tuple[str, Any]]:
        caller, reply = self._poster.request(path, body)
        asked = f"POST {path} {body}", reply
        self._check(reply.status_code == status, asked, f"status {status}")
        return caller, asked


def _today() -> date:
    return datetime.now(UTC).date()


def _counted(number: int) -> str:
    return f"{number} loan{'' if number == 1 else 's'}"
