"""One loan, asked about in every way, from a cache and without, computed by either build of the core: always what its
rows in Postgres say."""

import csv
from datetime import date, timedelta
from decimal import Decimal
from io import StringIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import native
from service.cache import TimelineLru
from service.ledger.freshness import Freshness
from service.ledger.repository import PostgresLedger
from service.ledger.timeline_lookup import TimelineLookup
from service.postgres.pool import ConnectionPool
from service.runtime.bootstrap import build_app
from tests.conftest import sql
from tests.models.decimal_model import AMOUNTS, DAYS, EVENTS, FIRST, days, post
from tests.support.settings import with_changes

SOME = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
FEW = settings(SOME, max_examples=15)


@pytest.fixture(params=["uncached", "cached", "interpreted"])
def ask(served, request, monkeypatch):
    """Asks for a path with a query or a body, and gives the reply's members."""
    if request.param == "interpreted":
        monkeypatch.setattr("service.ledger.repository.Timeline", native.load("timeline", "interpreted").Timeline)
        monkeypatch.setattr("service.web.serializers.balance_parts", native.load("parts", "interpreted").balance_parts)
    if request.param == "cached":
        freshness = Freshness(3600)
        freshness.listening("a cluster", 0, freshness.now())  # nothing is posted to a loan that was asked about
        monkeypatch.setattr(
            "service.runtime.bootstrap.TimelineLookup",
            lambda *_, **__: TimelineLookup(
                PostgresLedger(ConnectionPool(served.postgres)), freshness, caches=(TimelineLru(10**6),)
            ),
        )
    client = build_app(with_changes(served, secure_loans=False)).test_client()

    def get(path, body=None, **query):
        reply = client.post(path, json=body) if body else client.get(path, query_string=query)
        assert reply.status_code == 200, reply.text
        return reply.json if reply.is_json else reply.text

    return get


@SOME
@given(start=DAYS, initial=AMOUNTS, events=EVENTS, data=st.data())
def test_every_way_of_asking_gives_what_the_rows_say(ask, posting, start, initial, events, data):
    loan = post(posting, start, initial, events)
    first, last = sorted((data.draw(DAYS), data.draw(DAYS)))
    check_history(ask, loan, first, last)
    check_explanation(ask, loan, last)
    check_statement(ask, loan, first, last, data.draw(st.integers(1, 14)))
    check_bulk(ask, loan, [first, last])
    [(now,)] = sql(posting, "SELECT clock_timestamp()")
    check_statement(ask, loan, first, last, 5, known_at=now.isoformat())
    check_explanation(ask, loan, last, known_at=now.isoformat())
    for version in range(len(loan.rows) + 1):
        check_version(ask, loan, version, first, last)


def check_bulk(ask, loan, chosen):
    body = {"loan_ids": [loan.loan_id], "dates": [day.isoformat() for day in sorted(set(chosen))]}
    for more in ({}, {"snapshot": True}):
        told = ask("/api/v1/balances", body=body | more)["balances"]
        assert [(item["date"], Decimal(item["balance"]), item["version"]) for item in told] == [
            (day, loan.balance(date.fromisoformat(day)), len(loan.rows)) for day in body["dates"]
        ]


def check_history(ask, loan, first, last):
    path = f"/api/v1/loan/{loan.loan_id}"
    expected = {day.isoformat(): loan.balance(day) for day in days(first, last)}
    for day in (first, last):
        assert Decimal(ask(f"{path}/{day}")["balance"]) == expected[day.isoformat()]
    told = {
        step: [(point["date"], Decimal(point["balance"])) for point in reply["balances"]]
        for step in ("day", "month", "change")
        for reply in [ask(f"{path}/history", **{"from": first, "to": last, "step": step})]
    }
    assert told["day"] == list(expected.items())
    ends = [day for day in days(first, last) if day == last or (day + timedelta(days=1)).day == 1]
    assert told["month"] == [(day.isoformat(), expected[day.isoformat()]) for day in ends]
    changes, before = [], None
    for day, balance in expected.items():
        if balance != before:
            changes.append((day, balance))
        before = balance
    assert told["change"] == changes


def lines_of(loan, first, last, version=None):
    """What a statement holds, as (transaction id, type, date, signed amount, balance)."""
    balance = Decimal(0)
    found = []
    principal = [(None, "principal", loan.start_date, loan.initial_amt)] if last >= loan.start_date else []
    events = [(row.tx_id, row.event_type, row.post_date, row.signed) for row in loan.until(last, version)]
    for tx_id, event_type, day, signed in principal + events:
        balance += signed
        if max(day, loan.start_date) >= first:
            found.append((tx_id, event_type, day.isoformat(), signed, balance))
    return found


def told_lines(members):
    for line in members:
        assert Decimal(line["amt"]) == abs(Decimal(line["signed_amt"]))
    return [
        (line["tx_id"], line["event_type"], line["post_date"], Decimal(line["signed_amt"]), Decimal(line["balance"]))
        for line in members
    ]


def check_statement(ask, loan, first, last, limit, **query):
    version = query.get("as_of_version")
    path = f"/api/v1/loan/{loan.loan_id}/statement"
    query = {"from": first, "to": last, **query}
    pages = [ask(path, limit=limit, **query)]
    while pages[-1]["next_cursor"]:
        assert len(pages[-1]["events"]) == limit
        pages.append(ask(path, limit=limit, cursor=pages[-1]["next_cursor"]))
    opening = loan.balance(first - timedelta(days=1), version)
    closing = loan.balance(last, version)
    assert {(Decimal(p["opening_balance"]), Decimal(p["closing_balance"])) for p in pages} == {(opening, closing)}
    lines = told_lines([line for page in pages for line in page["events"]])
    assert lines == lines_of(loan, first, last, version)
    assert opening + sum(line[3] for line in lines) == closing

    reversing = {row.tx_id for row in loan.rows if row.reverses is not None}
    assert all(line["reversal"] == (line["tx_id"] in reversing) for page in pages for line in page["events"])
    before, *rows, after = csv.DictReader(StringIO(ask(path, format="csv", **query)))
    assert [before["event_type"], Decimal(before["balance"])] == ["opening", opening]
    assert [after["event_type"], Decimal(after["balance"])] == ["closing", closing]
    for row in rows:
        row["tx_id"] = int(row["tx_id"]) if row["tx_id"] else None
    assert told_lines(rows) == lines


def check_explanation(ask, loan, day, **query):
    reply = ask(f"/{loan.loan_id}/{day}", explain="true", parts="true", **query)
    rows = loan.until(day, query.get("as_of_version"))
    assert [event["tx_id"] for event in reply["events"]] == [row.tx_id for row in rows]
    told = told_lines(reply["events"])
    assert told == lines_of(loan, FIRST, day, query.get("as_of_version"))[1:]  # without the principal
    assert (reply["start_date"], Decimal(reply["initial_amt"])) == (loan.start_date.isoformat(), loan.initial_amt)
    owed = Decimal(reply["initial_amt"]) if reply["date"] >= reply["start_date"] else 0
    assert Decimal(reply["balance"]) == owed + sum(line[3] for line in told) == loan.balance(day, reply["version"])
    assert sum(map(Decimal, reply["parts"].values())) == Decimal(reply["balance"])


def check_version(ask, loan, version, first, last):
    path = f"/api/v1/loan/{loan.loan_id}"
    for place in (f"{path}/{last}", path, f"/{loan.loan_id}/{first}"):
        reply = ask(place, as_of_version=version)
        assert reply["version"] == version
        assert Decimal(reply["balance"]) == loan.balance(date.fromisoformat(reply["date"]), version)
    reply = ask(f"{path}/history", **{"from": first, "to": last, "step": "day", "as_of_version": version})
    told = [(point["date"], Decimal(point["balance"])) for point in reply["balances"]]
    assert told == [(day.isoformat(), loan.balance(day, version)) for day in days(first, last)]
    check_statement(ask, loan, first, last, 5, as_of_version=version)
    check_explanation(ask, loan, last, as_of_version=version)
