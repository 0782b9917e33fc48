"""What all loans together owed: totals by currency, and a row for each loan, both of one snapshot."""

import threading
import urllib.request
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import DatabaseUnavailable
from service.portfolio.sql import SqlPortfolio
from service.postgres.pool import FETCH_ROWS, ConnectionPool
from service.runtime.bootstrap import build_app
from tests.conftest import sql
from tests.generated.test_equivalence import FEW
from tests.models.decimal_model import AMOUNTS, DAYS, EVENTS, post
from tests.support.processes import ask as ask_at
from tests.support.processes import serving
from tests.support.settings import with_changes

HEAD = "date,loan_id,balance,currency,version\r\n"


@pytest.fixture
def ask(client, bearer):
    """Asks for the portfolio of a day."""
    return lambda day, **query: client.get(f"/api/v1/portfolio/{day}", query_string=query, headers=bearer)


@pytest.mark.parametrize(
    ("day", "loans", "balance"),
    [
        ("2019-12-05", 1, "1000.00"),
        ("2019-12-06", 2, "3000.00"),
        ("2020-02-29", 2, "399.50"),
        ("9999-12-31", 3, "449.55"),
    ],
)
def test_loans_that_had_started_are_counted_and_what_they_owed_is_added_up(ask, day, loans, balance):
    before = datetime.now(UTC)
    reply = ask(day)
    assert reply.json == {"date": day, "totals": [{"currency": "USD", "loans": loans, "balance": balance}]}
    assert abs((datetime.fromisoformat(reply.headers["As-Of"]) - before).total_seconds()) < 5


def test_nothing_had_started(ask):
    assert ask("2019-12-04").json["totals"] == []
    assert ask("2019-12-04", format="csv").text == HEAD


def test_currencies_are_never_added_up(ask, posting):
    sql(posting, "SELECT create_loans('{7,8}', '{2020-01-01,2020-01-01}', '{5,7.01}', '{EUR,EUR}')")
    assert [tuple(total.values()) for total in ask("2020-03-01").json["totals"]] == [
        ("EUR", 2, "12.01"), ("USD", 2, "399.55"),
    ]  # fmt: skip


def test_a_row_for_each_loan_as_csv(client, bearer, ask):
    told = HEAD + "2020-03-01,1,899.55,USD,3\r\n2020-03-01,2,-500.00,USD,1\r\n2020-03-01,,399.55,USD,\r\n"
    reply = ask("2020-03-01", format="csv")
    assert (reply.text, reply.content_type) == (told, "text/csv; charset=utf-8; header=present")
    assert 'filename="portfolio-2020-03-01.csv"' in reply.headers["Content-Disposition"]
    accepting = client.get("/api/v1/portfolio/2020-03-01", headers=bearer | {"Accept": "text/csv"})
    assert (accepting.text, accepting.headers["Vary"]) == (told, "Accept")


def test_it_is_not_sent_again_to_whoever_has_it(client, bearer, ask):
    known = {"If-None-Match": ask("2020-03-01").headers["ETag"]}
    assert client.get("/api/v1/portfolio/2020-03-01", headers=bearer | known).status_code == 304
    assert client.get("/api/v1/portfolio/2020-03-02", headers=bearer | known).status_code == 200


def test_what_is_not_understood_is_400_and_named(ask):
    for day, query, field in (
        ("2021-02-29", {}, "date"),
        ("today", {}, "date"),
        ("0000-01-01", {}, "date"),
        ("2020-03-01", {"format": "xml"}, "format"),
    ):
        reply = ask(day, **query)
        assert (reply.status_code, reply.json["errors"][0]["field"]) == (400, field)


def test_it_takes_a_token_that_may_read(client, make_token):
    assert client.get("/api/v1/portfolio/2020-03-01").status_code == 401
    writes = {"Authorization": f"Bearer {make_token(scopes='api:write')}"}
    assert client.get("/api/v1/portfolio/2020-03-01?format=csv", headers=writes).status_code == 403


@FEW
@given(loans=st.lists(st.tuples(DAYS, AMOUNTS, EVENTS), min_size=1, max_size=4), day=DAYS)
def test_it_is_what_the_rows_say(ask, posting, loans, day):
    posted = [post(posting, *loan) for loan in loans]
    rows = [row.split(",")[1:] for row in ask(day, format="csv").text.splitlines()[1:]]
    told = {int(loan): rest for loan, *rest in rows if loan}
    sums = [rest for loan, *rest in rows if not loan]
    for loan in posted:
        if loan.start_date <= day:
            assert told[loan.loan_id] == [str(loan.balance(day)), "USD", str(len(loan.rows))]
        else:
            assert loan.loan_id not in told
    totals = ask(day).json["totals"]
    if told:
        [total] = totals
        assert total["loans"] == len(told)
        assert Decimal(total["balance"]) == sum((Decimal(balance) for balance, *_ in told.values()), Decimal(0))
    assert sums == [[total["balance"], "USD", ""] for total in totals]


@pytest.fixture
def many(settings, posting):
    """A portfolio of loans that are told in three pieces."""
    count = 2 * FETCH_ROWS + 1
    terms = list(range(1, count + 1)), ["2020-01-01"] * count, [1] * count, ["USD"] * count
    sql(posting, "SELECT create_loans(%s, %s::date[], %s::numeric[], %s)", *terms)
    with closing(ConnectionPool(settings.replace(pool_size=1))) as database:
        yield SqlPortfolio(database)


DAY = date(2020, 1, 1)


def test_all_rows_are_of_one_snapshot_whatever_is_posted_meanwhile(many, posting):
    pieces = many.loans(DAY)
    told = next(pieces)
    sql(posting, "SELECT post_events(%s, %s, %s::date[], %s)", [2, 4001], ["fee", "fee"], ["2020-01-01"] * 2, [7, 7])
    sql(posting, "SELECT create_loans('{9999}', '{2020-01-01}', '{1}', '{USD}')")
    told += [owed for piece in pieces for owed in piece]
    assert [owed.loan_id for owed in told] == list(range(1, 2 * FETCH_ROWS + 2))
    assert {(owed.balance, owed.version) for owed in told} == {("1.00", 0)}
    assert many.totals(DAY) == [("USD", 2 * FETCH_ROWS + 2, f"{2 * FETCH_ROWS + 2 + 14}.00")]


def test_whoever_goes_away_leaves_no_connection_behind(many):
    pieces = many.loans(DAY)
    next(pieces)
    with pytest.raises(DatabaseUnavailable, match="in use"):
        many.totals(DAY)
    pieces.close()
    assert many.totals(DAY)


def test_a_connection_that_broke_is_replaced_before_and_503_in_the_middle(many, admin):
    end_all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'loaner reader'"
    many.totals(DAY)
    sql(admin, end_all)
    pieces = many.loans(DAY)
    next(pieces)
    sql(admin, end_all)
    with pytest.raises(DatabaseUnavailable, match="broke off"):
        list(pieces)
    assert sum(map(len, many.loans(DAY))) == 2 * FETCH_ROWS + 1


def test_the_whole_is_given_up_when_it_takes_too_long(settings, many):
    hasty = settings.replace(statement_timeout_s=0.2)
    with closing(ConnectionPool(hasty)) as database:
        pieces = SqlPortfolio(database).loans(DAY)
        next(pieces)
        threading.Event().wait(0.3)  # somebody reads slowly
        with pytest.raises(DatabaseUnavailable, match="too long"):
            list(pieces)
        with pytest.raises(DatabaseUnavailable, match="too long"):
            list(database.stream("SELECT pg_sleep(2)"))
        assert list(database.stream("SELECT 1")) == [[(1,)]]


def test_postgres_does_not_wait_for_whoever_never_comes_back(settings, many, admin):
    hasty = settings.replace(statement_timeout_s=0.2)
    busy = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'loaner reader' AND xact_start IS NOT NULL"
    with closing(ConnectionPool(hasty)) as database:
        pieces = SqlPortfolio(database).loans(DAY)
        next(pieces)
        assert sql(admin, busy) == [(1,)]
        threading.Event().wait(1)
        assert sql(admin, busy) == [(0,)]
        with pytest.raises(DatabaseUnavailable):
            list(pieces)


def test_without_postgres_it_is_503(served, bearer):
    client = build_app(with_changes(served, psql_port=1)).test_client()
    for query in ("", "?format=csv"):
        reply = client.get(f"/api/v1/portfolio/2020-01-01{query}", headers=bearer)
        assert (reply.status_code, reply.content_type) == (503, "application/problem+json")


def test_a_csv_that_breaks_off_has_no_sums(settings, posting, admin, keys_dir, bearer):
    count = 100_000  # more than sockets hold
    terms = list(range(1, count + 1)), ["2020-01-01"] * count, [1] * count, ["USD"] * count
    sql(posting, "SELECT create_loans(%s, %s::date[], %s::numeric[], %s)", *terms)
    end_all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'loaner reader'"
    with serving(settings, keys_dir) as (url, told):
        path = f"{url}/api/v1/portfolio/2020-01-01?format=csv"
        with urllib.request.urlopen(urllib.request.Request(path, headers=bearer), timeout=30) as reply:
            rows = reply.read().decode().splitlines()
        assert (len(rows), rows[-1]) == (count + 2, "2020-01-01,,100000.00,USD,")
        with urllib.request.urlopen(urllib.request.Request(path, headers=bearer), timeout=30) as reply:
            reply.read(1000)
            sql(admin, end_all)
            rows = reply.read().decode().splitlines()
        assert len(rows) < count
        assert rows[-1].startswith("2020-01-01,")
        assert ask_at(f"{url}/api/v1/portfolio/2020-01-01", bearer)[0] == 200
        assert "portfolio of 2020-01-01: CSV ended early" in told()
        assert "Traceback" not in told()
