"""The portfolio: totals by currency, and a row for each loan, each of one snapshot."""

import threading
import urllib.request
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from http.client import IncompleteRead

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import DatabaseUnavailable
from service.portfolio.rows import Total
from service.portfolio.sql import SqlPortfolio
from service.postgres.pool import FETCH_ROWS, ConnectionPool
from tests.conftest import sql
from tests.generated.test_equivalence import FEW
from tests.models.decimal_model import AMOUNTS, DAYS, EVENTS, post
from tests.support.application import build_app
from tests.support.processes import ask, serving
from tests.support.settings import with_changes

HEAD = "date,loan_id,balance,currency,version\r\n"


@pytest.fixture
def get_portfolio(client, bearer):
    """Return a function that requests the portfolio of a day."""
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
def test_totals_count_started_loans_and_sum_their_balances(get_portfolio, day, loans, balance):
    before = datetime.now(UTC)
    reply = get_portfolio(day)
    assert reply.json == {"date": day, "totals": [{"currency": "USD", "loans": loans, "balance": balance}]}
    assert abs((datetime.fromisoformat(reply.headers["As-Of"]) - before).total_seconds()) < 5


def test_totals_are_empty_before_the_first_loan(get_portfolio):
    assert get_portfolio("2019-12-04").json["totals"] == []
    assert get_portfolio("2019-12-04", format="csv").text == HEAD


def test_each_currency_has_its_own_total(get_portfolio, posting):
    sql(posting, "SELECT create_loans('{7,8}', '{2020-01-01,2020-01-01}', '{5,7.01}', '{EUR,EUR}')")
    assert [tuple(total.values()) for total in get_portfolio("2020-03-01").json["totals"]] == [
        ("EUR", 2, "12.01"), ("USD", 2, "399.55"),
    ]  # fmt: skip


def test_csv_has_a_row_for_each_loan(client, bearer, get_portfolio):
    expected = HEAD + "2020-03-01,1,899.55,USD,3\r\n2020-03-01,2,-500.00,USD,1\r\n2020-03-01,,399.55,USD,\r\n"
    reply = get_portfolio("2020-03-01", format="csv")
    assert (reply.text, reply.content_type) == (expected, "text/csv; charset=utf-8; header=present")
    assert 'filename="portfolio-2020-03-01.csv"' in reply.headers["Content-Disposition"]
    accepting = client.get("/api/v1/portfolio/2020-03-01", headers=bearer | {"Accept": "text/csv"})
    assert (accepting.text, accepting.headers["Vary"]) == (expected, "Accept")


def test_a_client_with_the_current_etag_gets_304(client, bearer, get_portfolio):
    condition = {"If-None-Match": get_portfolio("2020-03-01").headers["ETag"]}
    assert client.get("/api/v1/portfolio/2020-03-01", headers=bearer | condition).status_code == 304
    assert client.get("/api/v1/portfolio/2020-03-02", headers=bearer | condition).status_code == 200


def test_an_invalid_parameter_is_400_and_named(get_portfolio):
    for day, query, field in (
        ("2021-02-29", {}, "date"),
        ("today", {}, "date"),
        ("0000-01-01", {}, "date"),
        ("2020-03-01", {"format": "xml"}, "format"),
    ):
        reply = get_portfolio(day, **query)
        assert (reply.status_code, reply.json["errors"][0]["field"]) == (400, field)


def test_a_token_with_the_read_scope_is_required(client, make_token):
    assert client.get("/api/v1/portfolio/2020-03-01").status_code == 401
    writes = {"Authorization": f"Bearer {make_token(scopes='api:write')}"}
    assert client.get("/api/v1/portfolio/2020-03-01?format=csv", headers=writes).status_code == 403


@FEW
@given(loans=st.lists(st.tuples(DAYS, AMOUNTS, EVENTS), min_size=1, max_size=4), day=DAYS)
def test_totals_and_rows_agree_with_the_model(get_portfolio, posting, loans, day):
    posted = [post(posting, *loan) for loan in loans]
    rows = [row.split(",")[1:] for row in get_portfolio(day, format="csv").text.splitlines()[1:]]
    balances = {int(loan): rest for loan, *rest in rows if loan}
    sums = [rest for loan, *rest in rows if not loan]
    for loan in posted:
        if loan.start_date <= day:
            assert balances[loan.loan_id] == [str(loan.balance(day)), "USD", str(len(loan.rows))]
        else:
            assert loan.loan_id not in balances
    totals = get_portfolio(day).json["totals"]
    if balances:
        [total] = totals
        assert total["loans"] == len(balances)
        assert Decimal(total["balance"]) == sum((Decimal(balance) for balance, *_ in balances.values()), Decimal(0))
    assert sums == [[total["balance"], "USD", ""] for total in totals]


@pytest.fixture
def many(settings, posting):
    """Return a portfolio that is streamed in three batches."""
    count = 2 * FETCH_ROWS + 1
    terms = list(range(1, count + 1)), ["2020-01-01"] * count, [1] * count, ["USD"] * count
    sql(posting, "SELECT create_loans(%s, %s::date[], %s::numeric[], %s)", *terms)
    with closing(ConnectionPool(settings.replace(pool_size=1))) as database:
        yield SqlPortfolio(database)


DAY = date(2020, 1, 1)


def test_all_rows_belong_to_one_snapshot_despite_concurrent_postings(many, posting):
    pieces = many.loans(DAY)
    rows = next(pieces)
    sql(posting, "SELECT post_events(%s, %s, %s::date[], %s)", [2, 4001], ["fee", "fee"], ["2020-01-01"] * 2, [7, 7])
    sql(posting, "SELECT create_loans('{9999}', '{2020-01-01}', '{1}', '{USD}')")
    rows += [row for piece in pieces for row in piece]
    assert [row.loan_id for row in rows] == list(range(1, 2 * FETCH_ROWS + 2))
    assert {(row.balance, row.version) for row in rows} == {("1.00", 0)}
    assert many.totals(DAY) == [Total("USD", 2 * FETCH_ROWS + 2, f"{2 * FETCH_ROWS + 2 + 14}.00")]


def test_closing_the_stream_releases_its_connection(many):
    pieces = many.loans(DAY)
    next(pieces)
    with pytest.raises(DatabaseUnavailable, match="in use"):
        many.totals(DAY)
    pieces.close()
    assert many.totals(DAY)


def test_a_lost_connection_is_replaced_before_the_first_row_and_an_error_after_it(many, admin):
    end_all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'loaner reader'"
    many.totals(DAY)
    sql(admin, end_all)
    pieces = many.loans(DAY)
    next(pieces)
    sql(admin, end_all)
    with pytest.raises(DatabaseUnavailable, match="reading from Postgres failed"):
        list(pieces)
    assert sum(map(len, many.loans(DAY))) == 2 * FETCH_ROWS + 1


def test_the_statement_timeout_bounds_the_whole_stream(settings, many):
    hasty = settings.replace(statement_timeout_s=0.2)
    with closing(ConnectionPool(hasty)) as database:
        pieces = SqlPortfolio(database).loans(DAY)
        next(pieces)
        threading.Event().wait(0.3)  # a slow client
        with pytest.raises(DatabaseUnavailable, match="too long"):
            list(pieces)
        with pytest.raises(DatabaseUnavailable, match="too long"):
            list(database.stream("SELECT pg_sleep(2)"))
        assert list(database.stream("SELECT 1")) == [[(1,)]]


def test_postgres_ends_the_transaction_of_an_abandoned_stream(settings, many, admin):
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


def test_the_portfolio_is_503_without_postgres(served, bearer):
    client = build_app(with_changes(served, psql_port=1)).test_client()
    for query in ("", "?format=csv"):
        reply = client.get(f"/api/v1/portfolio/2020-01-01{query}", headers=bearer)
        assert (reply.status_code, reply.content_type) == (503, "application/problem+json")


def test_an_interrupted_csv_has_no_sums(settings, posting, admin, keys_dir, bearer):
    count = 100_000  # more than socket buffers hold
    terms = list(range(1, count + 1)), ["2020-01-01"] * count, [1] * count, ["USD"] * count
    sql(posting, "SELECT create_loans(%s, %s::date[], %s::numeric[], %s)", *terms)
    end_all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'loaner reader'"
    with serving(settings, keys_dir) as (url, log):
        path = f"{url}/api/v1/portfolio/2020-01-01?format=csv"
        with urllib.request.urlopen(urllib.request.Request(path, headers=bearer), timeout=30) as reply:
            rows = reply.read().decode().splitlines()
        assert (len(rows), rows[-1]) == (count + 2, "2020-01-01,,100000.00,USD,")
        with urllib.request.urlopen(urllib.request.Request(path, headers=bearer), timeout=30) as reply:
            reply.read(1000)
            sql(admin, end_all)
            with pytest.raises(IncompleteRead) as cut:  # RFC 9112, section 8: the last chunk is missing
                reply.read()
        rows = cut.value.partial.decode().splitlines()
        assert len(rows) < count
        assert rows[-1].startswith("2020-01-01,")
        assert ask(f"{url}/api/v1/portfolio/2020-01-01", bearer)[0] == 200
        assert "portfolio of 2020-01-01: CSV ended early" in log()
        assert "Traceback" not in log()
