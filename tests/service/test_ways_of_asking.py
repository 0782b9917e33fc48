"""One loan, asked about in every way, from a cache and without: always what its rows in Postgres say."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.bootstrap import build_app
from service.cache import RecentTimelines
from service.database import PooledDatabase
from service.freshness import Freshness
from service.ledger import PostgresLedger
from service.timelines import Timelines
from tests.service.posted import AMOUNTS, DAYS, EVENTS, days, post

SOME = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=["uncached", "cached"])
def ask(served, request, monkeypatch):
    """Asks for a path with a query, and gives the reply's members."""
    if request.param == "cached":
        freshness = Freshness(3600)
        freshness.listening("a cluster", 0, freshness.now())  # nothing is posted to a loan that was asked about
        monkeypatch.setattr(
            "service.bootstrap.Timelines",
            lambda *_, **__: Timelines(
                PostgresLedger(PooledDatabase(served)), freshness, caches=(RecentTimelines(10**6),)
            ),
        )
    client = build_app(served.model_copy(update={"secure_loans": False})).test_client()

    def get(path, **query):
        reply = client.get(path, query_string=query)
        assert reply.status_code == 200, reply.text
        return reply.json

    return get


@SOME
@given(start=DAYS, initial=AMOUNTS, events=EVENTS, data=st.data())
def test_every_way_of_asking_gives_what_the_rows_say(ask, posting, start, initial, events, data):
    loan = post(posting, start, initial, events)
    first, last = sorted((data.draw(DAYS), data.draw(DAYS)))
    check_history(ask, loan, first, last)
    for version in range(len(loan.rows) + 1):
        check_version(ask, loan, version, first, last)


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


def check_version(ask, loan, version, first, last):
    path = f"/api/v1/loan/{loan.loan_id}"
    for place in (f"{path}/{last}", path, f"/{loan.loan_id}/{first}"):
        reply = ask(place, as_of_version=version)
        assert reply["version"] == version
        assert Decimal(reply["balance"]) == loan.balance(date.fromisoformat(reply["date"]), version)
    reply = ask(f"{path}/history", **{"from": first, "to": last, "step": "day", "as_of_version": version})
    told = [(point["date"], Decimal(point["balance"])) for point in reply["balances"]]
    assert told == [(day.isoformat(), loan.balance(day, version)) for day in days(first, last)]
