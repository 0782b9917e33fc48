"""Random questions about a ledger, which the service answers over HTTP and the model predicts.

An answer is counted if its question has not been put to the same ledger before. Each requested page or reply is one,
but each pair of a batch of balances, each loan in a list of loans, and each row of a portfolio's CSV is one, too: the
loan, the date, the time of knowledge and what is requested are then the question.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from random import Random
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.models.ledger_model import DIGITS, Ledger, Loan, State, loans_csv
from tests.models.payoff_model import Schedule
from tests.models.payoff_replies import AmountTooLarge

MOST_POINTS = 10_000  # of a history
MOST_WALKS = 40  # of the model for one history: each walks from day to day
Requested = tuple[str, ...]


class Questions:
    """Puts random questions to the service and to the model.

    Args:
        client: Reads over HTTP.
        ledger: The model of what was posted.
        rng: The source of all choices.
        seed: Named with a difference.
        days: The days of the ledger.
        settled: How often the payoff, or the arrears, are requested where they may be.

    Attributes:
        by_kind: The number of compared answers by the kind of question.
        later_pages: The number of compared pages after the first, by the kind of question.
        too_large: The number of replies that refuse to show an amount.
    """

    kinds: Mapping[str, int] = {
        "balance": 45, "loan": 5, "history": 14, "statement": 10, "statement_csv": 4, "event_list": 10, "missing": 4,
        "loans": 6, "balances": 5, "portfolio": 4, "portfolio_csv": 3,
    }  # fmt: skip
    """The methods that put a question, and how often."""

    def __init__(
        self, client: FlaskClient, ledger: Ledger, rng: Random, seed: int, days: range, settled: float = 0
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._rng = rng
        self._seed = seed
        self._days = days
        self._settled = settled
        self._answered: set[object] = set()
        self.by_kind: Counter[str] = Counter()
        self.later_pages: Counter[str] = Counter()
        self.too_large = 0

    @property
    def answers(self) -> int:
        """The number of answers that were compared."""
        return len(self._answered)

    def put(self) -> None:
        """Put a question of a random kind."""
        [kind] = self._rng.choices(list(self.kinds), list(self.kinds.values()))
        before = self.answers
        getattr(self, kind)()
        self.by_kind[kind] += self.answers - before

    def balance(self) -> None:
        state, query, _ = self._state()
        day = self._day(state.loan)
        expected = state.balance(day)
        provenance = False
        if self._rng.random() < 0.5:
            query["explain"] = "true"
            provenance = self._chance(query, "provenance", 0.5)
            expected = state.explanation(day, provenance)
        if self._chance(query, "parts", 0.5):
            expected |= {"parts": state.parts(day), "allocation": state.allocation(day)}
        prefix = self._rng.choice(["", "/api/v1/loan"])
        self._compare(self._get(f"{prefix}/{state.loan.loan_id}/{day}", query), expected)

    def loan(self) -> None:
        state, query, moment = self._state()
        days = [each.astimezone(UTC).date() for each in ([moment] if moment else [datetime.now(UTC)])]
        asked = self._get(f"/api/v1/loan/{state.loan.loan_id}", query)
        if moment is None:
            days.append(datetime.now(UTC).date())  # the day may have changed during the request
        possible = [state.balance(day) | state.terms() for day in days]
        self._compare(asked, possible[-1] if asked[1].json == possible[-1] else possible[0])

    def history(self) -> None:
        state, query, moment = self._state()
        first, last = self._range(state.loan, query, moment)
        days = (last - first).days + 1
        query["step"] = step = self._rng.choice(["change", "day", "month"] if days <= MOST_POINTS else ["change"])
        walks = {"change": 0, "day": days, "month": days // 28}[step]
        requested = self._requested(query) if walks <= MOST_WALKS else ()
        path = f"/api/v1/loan/{state.loan.loan_id}/history"
        self._ask(path, query, lambda: state.history(first, last, step, requested))

    def statement(self) -> None:
        state, query, moment = self._state()
        first, last = self._range(state.loan, query, moment)
        provenance, requested = self._chance(query, "provenance", 0.5), self._requested(query)
        query["limit"] = limit = self._rng.randint(1, 12)
        path = f"/api/v1/loan/{state.loan.loan_id}/statement"
        try:
            shared = state.statement(first, last, requested)
        except AmountTooLarge:
            self._refused(path, query)
            return
        entries = state.statement_entries(first, last, provenance)
        for position in range(0, max(len(entries), 1), limit):
            asked = self._get(path, query)
            self.later_pages["statement"] += position > 0
            cursor = asked[1].json.get("next_cursor")
            page = {"events": entries[position : position + limit], "next_cursor": cursor}
            self._compare(asked, shared | page, key=(asked[0], position))
            self._check(
                (cursor is None) == (position + limit >= len(entries)), asked, "a cursor while entries are left"
            )
            # Parameters beside a cursor agree with it or are missing.
            dropped = ("known_at", "as_of_version", "min_version", "from", "to") if self._rng.random() < 0.5 else ()
            query = {name: value for name, value in query.items() if name not in dropped} | {"cursor": cursor}

    def statement_csv(self) -> None:
        state, query, moment = self._state()
        first, last = self._range(state.loan, query, moment)
        provenance, requested = self._chance(query, "provenance", 0.5), self._requested(query)
        query["format"] = "csv"
        path = f"/api/v1/loan/{state.loan.loan_id}/statement"
        self._ask(path, query, lambda: state.statement_csv(first, last, provenance, requested))

    def event_list(self) -> None:
        state, query, _ = self._state()
        chosen: dict[str, Any] = {}
        if self._rng.random() < 0.3:
            chosen["event_type"] = self._rng.choice(["fee", "interest", "payment"])
        if state.loan.events and self._rng.random() < 0.15:
            source_id = self._rng.choice(state.loan.events).source_id
            chosen |= {"source_id": source_id} if source_id else {}
        if self._rng.random() < 0.3:
            low, high = sorted((self._moment(state.loan), self._moment(state.loan)))
            chosen |= self._rng.choice([{"recorded_from": low}, {"recorded_to": high},
                                        {"recorded_from": low, "recorded_to": high}])  # fmt: skip
        query["limit"] = limit = self._rng.randint(1, 12)
        query |= {name: value if isinstance(value, str) else self._write(value) for name, value in chosen.items()}
        events = state.event_list(**chosen)
        shared = {"loan_id": state.loan.loan_id, "currency": state.loan.currency, "version": state.version}
        for position in range(0, max(len(events), 1), limit):
            asked = self._get(f"/api/v1/loan/{state.loan.loan_id}/events", query)
            self.later_pages["event_list"] += position > 0
            cursor = asked[1].json.get("next_cursor")
            page = {"events": events[position : position + limit], "next_cursor": cursor}
            self._compare(asked, shared | page, key=(asked[0], position))
            self._check((cursor is None) == (position + limit >= len(events)), asked, "a cursor while events are left")
            query = {"limit": limit, "cursor": cursor}

    def missing(self) -> None:
        """Request what does not exist: a loan, a loan before its creation, a version that it has not reached."""
        loan = self._rng.choice(list(self._ledger.loans.values()))
        loan_id, status, query = loan.loan_id, 404, {}
        match self._rng.randrange(3):
            case 0:
                loan_id = self._rng.randint(10**6, 10**9)
            case 1:
                query["known_at"] = self._write(loan.recorded_at - timedelta(microseconds=1))
            case _:
                status = 412
                query[self._rng.choice(["as_of_version", "min_version"])] = loan.version + self._rng.randint(1, 3)
        path = self._rng.choice(["", f"/{self._day(loan)}", "/history", "/statement", "/events"])
        question, reply = self._get(f"/api/v1/loan/{loan_id}{path}", query, status)
        problem = "unknown-loan" if status == 404 else "version-not-reached"
        self._compare_values((question, reply.json["type"]), f"urn:loaner:problem:{problem}", question)

    def loans(self) -> None:
        day = self._day(self._rng.choice(list(self._ledger.loans.values())))
        chosen: dict[str, Any] = {}
        if self._rng.random() < 0.3:
            low, high = sorted(self._rng.sample(self._ids, 2))
            chosen |= self._rng.choice([{"id_from": low}, {"id_to": high}, {"id_from": low, "id_to": high}])
        if self._rng.random() < 0.3:
            chosen["currency"] = self._rng.choice(list(DIGITS))
        if self._rng.random() < 0.3:
            start, end = sorted((self._plain_day(), self._plain_day()))
            chosen |= self._rng.choice(
                [{"start_from": start}, {"start_to": end}, {"start_from": start, "start_to": end}]
            )
        if self._rng.random() < 0.5:
            chosen["state"] = self._rng.choice(["not_started", "open", "closed"])
        expected = self._ledger.find(day, **chosen)
        limit, as_csv = self._rng.choice([3, 7, 15, 100]), self._rng.random() < 0.3
        shared = {"limit": limit} | ({"format": "csv"} if as_csv else {})
        query = {name: str(value) for name, value in chosen.items()} | {"date": day.isoformat()} | shared
        search = repr(("loans", sorted(query.items())))
        position = 0
        while True:
            asked = self._get("/api/v1/loans", query)
            self.later_pages["loans"] += position > 0
            page = expected[position : position + limit]
            if as_csv:
                cursor = (
                    asked[1].headers["Link"].split("cursor=")[1].split(">")[0] if "Link" in asked[1].headers else None
                )
                self._compare(asked, loans_csv(day, page), key=(search, position))
            else:
                cursor = asked[1].json["next_cursor"]
                members = {"date": day.isoformat(), "loans": page, "next_cursor": cursor}
                self._compare(asked, members, key=(search, position))
            self._answered |= {(search, loan["loan_id"]) for loan in page}
            position += len(page)
            if cursor is None:
                break
            query = shared | {"cursor": cursor}
        self._check(position == len(expected), asked, f"pages with all {len(expected)} loans")

    def balances(self) -> None:
        ids = self._rng.sample(self._ids, self._rng.randint(1, 12))
        days = list(dict.fromkeys(self._plain_day() for _ in range(self._rng.randint(1, 12))))
        if self._rng.random() < 0.5:
            pairs = [(loan_id, day) for loan_id in ids for day in days]
            body: dict[str, Any] = {"loan_ids": ids, "dates": [day.isoformat() for day in days]}
        else:
            pairs = list(dict.fromkeys((self._rng.choice(ids), self._rng.choice(days)) for _ in range(30)))
            body = {"pairs": [{"loan_id": loan_id, "date": day.isoformat()} for loan_id, day in pairs]}
        moment = self._moment() if self._rng.random() < 0.6 else None
        parts, snapshot, requested = self._rng.random() < 0.5, self._rng.random() < 0.3, self._requested()
        body |= {"known_at": self._write(moment)} if moment else {}
        body |= ({"parts": parts} if parts or self._rng.random() < 0.2 else {}) | (
            {"snapshot": True} if snapshot else {}
        )
        body |= dict.fromkeys(requested, True)
        question = f"POST /api/v1/balances {body}"
        reply = self._client.post("/api/v1/balances", json=body)
        expected = [self._ledger.batch_item(*pair, moment, parts, requested) for pair in pairs]
        self._compare((question, reply), {"balances": expected}, key=None)
        self._answered |= {("balances", *pair, moment, parts, requested, snapshot) for pair in pairs}

    def portfolio(self) -> None:
        day, moment, parts, requested, query = self._portfolio()
        asked = self._get(f"/api/v1/portfolio/{day}", query)
        totals = self._ledger.totals(day, moment, parts, requested)
        self._compare(asked, {"date": day.isoformat(), "totals": totals}, key=None)
        self._answered.add(("totals", day, moment, parts, requested))

    def portfolio_csv(self) -> None:
        day, moment, parts, requested, query = self._portfolio()
        asked = self._get(f"/api/v1/portfolio/{day}", query | {"format": "csv"})
        self._compare(asked, self._ledger.portfolio_csv(day, moment, parts, requested), key=None)
        rows = asked[1].text.split("\r\n")[1:-1]
        keys = {row.split(",")[1] or row.split(",")[3] for row in rows}
        self._answered |= {("portfolio", day, moment, parts, requested, key) for key in keys}

    def _portfolio(self) -> tuple[date, datetime | None, bool, Requested, dict[str, Any]]:
        query: dict[str, Any] = {}
        moment = self._moment() if self._rng.random() < 0.6 else None
        if moment is not None:
            query["known_at"] = self._write(moment)
        return self._plain_day(), moment, self._chance(query, "parts", 0.5), self._requested(query), query

    @property
    def _ids(self) -> range:
        """The ids of the loans, and others."""
        return range(1, max(self._ledger.loans) + 10)

    def _requested(self, query: dict[str, Any] | None = None) -> Requested:
        """Choose whether the payoff and the arrears are requested; add that to a query."""
        query = {} if query is None else query
        return tuple(name for name in ("payoff", "arrears") if self._chance(query, name, self._settled))

    def _state(self) -> tuple[State, dict[str, Any], datetime | None]:
        """Choose a loan, and its current version, another one, or a time; return the parameters for it, too."""
        loan = self._rng.choice(list(self._ledger.loans.values()))
        match self._rng.randrange(5):
            case 0:
                version = self._rng.randint(0, loan.version)
                return loan.state(version), {"as_of_version": version}, None
            case 1 | 2:
                moment = self._moment(loan)
                known = loan.known_version(moment)
                if known is not None:
                    return loan.state(known), {"known_at": self._write(moment)}, moment
            case 3:
                return loan.state(), {"min_version": self._rng.randint(0, loan.version)}, None
        return loan.state(), {}, None

    def _moment(self, loan: Loan | None = None) -> datetime:
        """Choose a time at which something was recorded, or the last microsecond before it, or one after it."""
        loan = loan or self._rng.choice(list(self._ledger.loans.values()))
        moments = [loan.recorded_at, *(record.recorded_at for record in loan.records)]
        return self._rng.choice(moments) + timedelta(microseconds=self._rng.choice([0, 0, -1, 1]))

    def _write(self, moment: datetime) -> str:
        """Write a time in one of the forms of RFC 3339."""
        zone = self._rng.choice([UTC, UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-8))])
        text = moment.astimezone(zone).strftime("%Y-%m-%dT%H:%M:%S.%f") + self._rng.choice(["", "0", "999"])
        offset = moment.astimezone(zone).isoformat()[-6:] if zone is not UTC else self._rng.choice("Zz")
        return (text.replace("T", "t") if self._rng.random() < 0.2 else text) + offset

    def _plain_day(self) -> date:
        return date.fromordinal(self._rng.choice(self._days))

    def _day(self, loan: Loan) -> date:
        """Choose a day near something that happens to a loan, any day of the ledger, or one far away."""
        # The model walks from day to day over a loan with terms.
        far = [date(1, 1, 1), date(9999, 12, 31)] if not loan.agreements else [date(1, 1, 1), date(2030, 1, 1)]
        return self._rng.choice([self._near(loan), self._plain_day(), self._plain_day(), self._rng.choice(far)])

    def _near(self, loan: Loan) -> date:
        """Choose a day near something that happens to a loan."""
        near = [loan.start_date, *(event.post_date for event in loan.events)]
        for agreed in loan.agreements:
            near.append(agreed.record.effective)
            if isinstance(agreed.record, Schedule):
                near += [due for due, _ in agreed.record.installments]
        return self._rng.choice(near) + timedelta(days=self._rng.choice([-1, 0, 0, 1, 1, 15, 31, 61, 91, 121]))

    def _range(self, loan: Loan, query: dict[str, Any], moment: datetime | None) -> tuple[date, date]:
        """Choose a range of days. Either end may be left to its default."""
        first, last = sorted((self._plain_day(), self._plain_day()))
        if loan.start_date <= last and self._rng.random() < 0.15:
            query["to"] = last.isoformat()
            return loan.start_date, last
        query["from"] = first.isoformat()
        if moment is not None and self._rng.random() < 0.05:
            return first, max(first, moment.astimezone(UTC).date())
        query["to"] = last.isoformat()
        return first, last

    def _chance(self, query: dict[str, Any], flag: str, probability: float) -> bool:
        chosen = self._rng.random() < probability
        if chosen or self._rng.random() < 0.1:
            query[flag] = str(chosen).lower()
        return chosen

    def _ask(self, path: str, query: dict[str, Any], expected: Callable[[], object]) -> None:
        """Compare a reply with what the model computes, which may be that an amount is too large."""
        try:
            right = expected()
        except AmountTooLarge:
            self._refused(path, query)
        else:
            self._compare(self._get(path, query), right)

    def _refused(self, path: str, query: dict[str, Any]) -> None:
        question, reply = self._get(path, query, 422)
        self._compare_values((question, reply.json["type"]), "urn:loaner:problem:amount-too-large", question)
        self.too_large += 1

    def _get(self, path: str, query: dict[str, Any], status: int = 200) -> tuple[str, Any]:
        reply = self._client.get(path, query_string=query)
        question = f"GET {path} {query}"
        self._check(reply.status_code == status, (question, reply), f"status {status}")
        return question, reply

    def _compare(self, asked: tuple[str, Any], expected: object, key: object = "the question") -> None:
        question, reply = asked
        actual = reply.json if reply.is_json else reply.text
        self._compare_values((question, actual), expected, question if key == "the question" else key)

    def _compare_values(self, asked: tuple[str, object], expected: object, key: object) -> None:
        question, actual = asked
        if actual != expected:
            pytest.fail(f"seed {self._seed}: {question}\nexpected: {expected}\nactual:   {actual}", pytrace=False)
        if key is not None:
            self._answered.add(key)

    def _check(self, correct: bool, asked: tuple[str, Any], expected: str) -> None:
        if not correct:
            question, reply = asked
            actual = f"{reply.status_code} {reply.text}"
            pytest.fail(f"seed {self._seed}: {question}\nexpected: {expected}\nactual:   {actual}", pytrace=False)
