"""All routes agree with a model of a loan's rows: with and without a cache, and with the interpreted core."""

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
from tests.conftest import sql
from tests.models.decimal_model import AMOUNTS, DAYS, EVENTS, FIRST, days, post
from tests.support.application import build_app
from tests.support.settings import with_changes

SOME = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
FEW = settings(SOME, max_examples=15)


@pytest.fixture(params=["uncached", "cached", "interpreted"])
def request_json(served, request, monkeypatch):
    """Sends a request with a query or a body, and returns the reply's members or its text."""
    if request.param == "interpreted":
        monkeypatch.setattr("service.ledger.repository.Timeline", native.load("timeline", "interpreted").Timeline)
        monkeypatch.setattr("service.web.serializers.balance_parts", native.load("parts", "interpreted").balance_parts)
    if request.param == "cached":
        freshness = Freshness(3600)
        freshness.on_listen("a cluster", 0, freshness.now())  # nothing is posted to a loan after it was read
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
def test_every_route_agrees_with_the_rows(request_json, posting, start, initial, events, data):
    loan = post(posting, start, initial, events)
    first, last = sorted((data.draw(DAYS), data.draw(DAYS)))
    check_history(request_json, loan, first, last)
    check_explanation(request_json, loan, last)
    check_statement(request_json, loan, first, last, data.draw(st.integers(1, 14)))
    check_batch(request_json, loan, [first, last])
    [(now,)] = sql(posting, "SELECT clock_timestamp()")
    check_statement(request_json, loan, first, last, 5, known_at=now.isoformat())
    check_explanation(request_json, loan, last, known_at=now.isoformat())
    for version in range(len(loan.rows) + 1):
        check_version(request_json, loan, version, first, last)


def check_batch(request_json, loan, chosen):
    body = {"loan_ids": [loan.loan_id], "dates": [day.isoformat() for day in sorted(set(chosen))]}
    for more in ({}, {"snapshot": True}):
        balances = request_json("/api/v1/balances", body=body | more)["balances"]
        assert [(item["date"], Decimal(item["balance"]), item["version"]) for item in balances] == [
            (day, loan.balance(date.fromisoformat(day)), len(loan.rows)) for day in body["dates"]
        ]


def check_history(request_json, loan, first, last):
    path = f"/api/v1/loan/{loan.loan_id}"
    expected = {day.isoformat(): loan.balance(day) for day in days(first, last)}
    for day in (first, last):
        assert Decimal(request_json(f"{path}/{day}")["balance"]) == expected[day.isoformat()]
        check_csv(request_json, f"{path}/{day}", parts="true")
        check_csv(request_json, f"{path}/payoff/{day}", "totals", good_through=day + timedelta(days=3))
    points = {
        step: [(point["date"], Decimal(point["balance"])) for point in reply["balances"]]
        for step in ("day", "month", "change")
        for reply in [request_json(f"{path}/history", **{"from": first, "to": last, "step": step})]
    }
    assert points["day"] == list(expected.items())
    ends = [day for day in days(first, last) if day == last or (day + timedelta(days=1)).day == 1]
    assert points["month"] == [(day.isoformat(), expected[day.isoformat()]) for day in ends]
    changes, previous = [], None
    for day, balance in expected.items():
        if balance != previous:
            changes.append((day, balance))
        previous = balance
    assert points["change"] == changes
    check_csv(request_json, f"{path}/history", "balances", **{"from": first, "to": last, "step": "month"})
    check_csv(request_json, f"{path}/events", "events")


def check_csv(request_json, path, entries=None, **query):
    """Check that each row of the CSV has the members of the JSON, or those of one of its entries."""
    members = request_json(path, **query)
    rows = csv.DictReader(StringIO(request_json(path, format="csv", **query)))
    if entries == "totals":  # the first row is that of the date
        expected = [members, *members["totals"]]
    elif entries is not None:
        expected = members[entries]
    else:
        expected = [members | members["parts"] | {"allocation": ">".join(members["allocation"])}]
    found = list(rows)
    assert [row["loan_id"] for row in found] == [str(members["loan_id"])] * len(expected)
    for row, entry in zip(found, expected, strict=True):
        for name in row.keys() & entry.keys():
            assert row[name] == ("" if entry[name] is None else str(entry[name])), name
        unnested = {name for name, value in entry.items() if not isinstance(value, dict | list)}
        assert unnested <= row.keys() | {"next_cursor"}


def expected_entries(loan, first, last, version=None):
    """Return the entries of a statement as (transaction id, type, date, signed amount, balance)."""
    balance = Decimal(0)
    entries = []
    principal = [(None, "principal", loan.start_date, loan.initial_amt)] if last >= loan.start_date else []
    events = [(row.tx_id, row.event_type, row.post_date, row.signed) for row in loan.until(last, version)]
    for tx_id, event_type, day, signed in principal + events:
        balance += signed
        if max(day, loan.start_date) >= first:
            entries.append((tx_id, event_type, day.isoformat(), signed, balance))
    return entries


def parse_entries(members):
    for entry in members:
        assert Decimal(entry["amt"]) == abs(Decimal(entry["signed_amt"]))
    return [
        (
            entry["tx_id"],
            entry["event_type"],
            entry["post_date"],
            Decimal(entry["signed_amt"]),
            Decimal(entry["balance"]),
        )
        for entry in members
    ]


def check_statement(request_json, loan, first, last, limit, **query):
    version = query.get("as_of_version")
    path = f"/api/v1/loan/{loan.loan_id}/statement"
    query = {"from": first, "to": last, **query}
    pages = [request_json(path, limit=limit, **query)]
    while pages[-1]["next_cursor"]:
        assert len(pages[-1]["events"]) == limit
        pages.append(request_json(path, limit=limit, cursor=pages[-1]["next_cursor"]))
    opening = loan.balance(first - timedelta(days=1), version)
    closing = loan.balance(last, version)
    assert {(Decimal(p["opening_balance"]), Decimal(p["closing_balance"])) for p in pages} == {(opening, closing)}
    entries = parse_entries([entry for page in pages for entry in page["events"]])
    assert entries == expected_entries(loan, first, last, version)
    assert opening + sum(entry[3] for entry in entries) == closing

    reversing = {row.tx_id for row in loan.rows if row.reverses is not None}
    assert all(entry["reversal"] == (entry["tx_id"] in reversing) for page in pages for entry in page["events"])
    before, *rows, after = csv.DictReader(StringIO(request_json(path, format="csv", **query)))
    assert [before["event_type"], Decimal(before["balance"])] == ["opening", opening]
    assert [after["event_type"], Decimal(after["balance"])] == ["closing", closing]
    for row in rows:
        row["tx_id"] = int(row["tx_id"]) if row["tx_id"] else None
    assert parse_entries(rows) == entries


def check_explanation(request_json, loan, day, **query):
    reply = request_json(f"/{loan.loan_id}/{day}", explain="true", parts="true", **query)
    rows = loan.until(day, query.get("as_of_version"))
    assert [event["tx_id"] for event in reply["events"]] == [row.tx_id for row in rows]
    entries = parse_entries(reply["events"])
    assert entries == expected_entries(loan, FIRST, day, query.get("as_of_version"))[1:]  # without the principal
    assert (reply["start_date"], Decimal(reply["initial_amt"])) == (loan.start_date.isoformat(), loan.initial_amt)
    principal = Decimal(reply["initial_amt"]) if reply["date"] >= reply["start_date"] else 0
    assert Decimal(reply["balance"]) == loan.balance(day, reply["version"])
    assert Decimal(reply["balance"]) == principal + sum(entry[3] for entry in entries)
    assert sum(map(Decimal, reply["parts"].values())) == Decimal(reply["balance"])


def check_version(request_json, loan, version, first, last):
    path = f"/api/v1/loan/{loan.loan_id}"
    for url in (f"{path}/{last}", path, f"/{loan.loan_id}/{first}"):
        reply = request_json(url, as_of_version=version)
        assert reply["version"] == version
        assert Decimal(reply["balance"]) == loan.balance(date.fromisoformat(reply["date"]), version)
    reply = request_json(f"{path}/history", **{"from": first, "to": last, "step": "day", "as_of_version": version})
    points = [(point["date"], Decimal(point["balance"])) for point in reply["balances"]]
    assert points == [(day.isoformat(), loan.balance(day, version)) for day in days(first, last)]
    check_statement(request_json, loan, first, last, 5, as_of_version=version)
    check_explanation(request_json, loan, last, as_of_version=version)
