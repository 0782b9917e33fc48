"""Random questions about payoff and arrears, and about terms and schedules, beside those about any ledger."""

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

from click.testing import Result
from flask.testing import FlaskClient

from tests.models.ledger_model import Ledger, Loan, State
from tests.models.payoff_model import Schedule, Terms
from tests.models.questions import Questions

SPANS = (0, 1, 1, 2, 3, 5, 31)  # days through which a payoff is good


class SettlementQuestions(Questions):
    """Puts random questions; as a rule, payoff and arrears are requested where they may be.

    Args:
        client: Reads over HTTP.
        ledger: The model of what was posted.
        command: Runs a command of the service with arguments.
        rng: The source of all choices.
        seed: Named with a difference.
        days: The days of the ledger.
        folder: For the file of the portfolio.
    """

    kinds: Mapping[str, int] = {
        "payoff": 80, "arrears": 60, "balance": 10, "loan": 2, "history": 20, "statement": 16, "statement_csv": 8,
        "event_list": 4, "missing": 4, "loans": 2, "balances": 4, "portfolio": 8, "portfolio_csv": 3,
        "terms": 4, "schedules": 4, "portfolio_command": 2,
    }  # fmt: skip

    def __init__(
        self,
        client: FlaskClient,
        ledger: Ledger,
        command: Callable[..., Result],
        rng: Random,
        seed: int,
        days: range,
        folder: Path,
    ) -> None:
        super().__init__(client, ledger, rng, seed, days, settled=0.6)
        self._command = command
        self._folder = folder

    def payoff(self) -> None:
        state, query, _ = self._state()
        day = self._settled_day(state.loan)
        last = day + timedelta(days=self._rng.choice(SPANS)) if self._rng.random() < 0.3 else None
        query |= {} if last is None else {"good_through": last.isoformat()}
        is_explained = self._chance(query, "explain", 0.5)

        def expected() -> dict[str, Any]:
            members = state.payoffs.payoff(day)
            if last is not None:
                members["totals"] = state.payoffs.totals(day, last)
            if is_explained:
                segments = state.payoffs.segments(day)
                members |= state.payoffs.explanation(day, segments) | {"segments": segments}
            return members

        self._ask(f"/api/v1/loan/{state.loan.loan_id}/payoff/{day}", query, expected)

    def arrears(self) -> None:
        state, query, _ = self._state()
        day = self._settled_day(state.loan)
        self._ask(f"/api/v1/loan/{state.loan.loan_id}/arrears/{day}", query, lambda: state.payoffs.arrears(day))

    def terms(self) -> None:
        state, query, _ = self._state()
        self._agreements("terms", "terms", state, query, {})

    def schedules(self) -> None:
        state, query, _ = self._state()
        self._agreements("schedule", "schedules", state, query, {"currency": state.loan.currency})

    def _agreements(self, path: str, name: str, state: State, query: dict[str, Any], members: dict[str, str]) -> None:
        expected = state.agreement_list(Terms if name == "terms" else Schedule)
        query["limit"] = limit = self._rng.randint(1, 4)
        path = f"/api/v1/loan/{state.loan.loan_id}/{path}"
        shared = {"loan_id": state.loan.loan_id, "version": state.version, **members}
        for position in range(0, max(len(expected), 1), limit):
            asked = self._get(path, query)
            cursor = asked[1].json.get("next_cursor")
            page = {name: expected[position : position + limit], "next_cursor": cursor}
            self._compare(asked, shared | page, key=(asked[0], position))
            self._check((cursor is None) == (position + limit >= len(expected)), asked, "a cursor while there are more")
            query = {"limit": limit, "cursor": cursor}

    def portfolio_command(self) -> None:
        day, moment, parts, requested, query = self._portfolio()
        options = ["--date", str(day), "--csv", "--file", str(self._folder / "portfolio")]
        options += [f"--{name}" for name in ("parts", *requested) if name != "parts" or parts]
        options += ["--known-at", query["known_at"]] if moment else []
        done = self._command("portfolio", *options)
        question = f"portfolio {options}"
        actual = done.exit_code, done.stdout_bytes.decode()
        expected = 0, self._ledger.portfolio_csv(day, moment, parts, requested)
        self._compare_values((question, actual), expected, (question, moment))

    def _settled_day(self, loan: Loan) -> date:
        """Choose a day to which the model can walk."""
        if self._rng.random() < 0.01:
            far = [date(1900, 1, 1), date(2100, 1, 1)] if loan.agreements else [date(1, 1, 1), date(2300, 1, 1)]
            return self._rng.choice(far)
        return self._near(loan) if self._rng.random() < 0.7 else self._plain_day()
