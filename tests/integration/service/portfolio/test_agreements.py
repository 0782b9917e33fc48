"""Terms, schedules and credits of interest in the portfolio: by SQL, from the columnar file, and as known at a time."""

from contextlib import closing
from datetime import date

import pytest

from service.ledger.loan_search import LoanFilter, LoanSearch
from service.portfolio.columnar import ColumnarPortfolio
from service.portfolio.rows import BALANCES, Details
from service.portfolio.sql import SqlPortfolio
from service.portfolio.sync import refresh
from service.postgres.connect import connect
from service.postgres.pool import ConnectionPool
from tests.conftest import sql
from tests.support.agreements import post_schedules, post_terms

DAY = date(2020, 12, 31)
POST = "SELECT count(*) FROM post_events(%s, %s, %s::date[], %s::numeric[])"


@pytest.fixture
def database(settings):
    with closing(ConnectionPool(settings)) as pool:
        yield pool


@pytest.fixture
def filled(posting):
    """Loans whose versions count more than their events. Return when each record of loan 1 was recorded."""
    sql(posting, "SELECT create_loans('{1,2}', '{2020-01-01,2020-01-01}', '{100,200}', '{USD,USD}')")
    sql(posting, POST, [1], ["interest"], ["2020-02-01"], ["5"])
    post_terms(posting, (1, "2020-01-01", "0.1"), (2, "2020-01-01", "0.1"))
    sql(posting, POST, [1], ["interest_credit"], ["2020-03-01"], ["2"])
    post_schedules(posting, (1, "2020-01-01", [("2020-02-01", "5")]))
    sql(posting, POST, [1], ["payment"], ["2020-04-01"], ["7"])
    records = " UNION ALL ".join(
        f"SELECT version, recorded_at FROM {table} WHERE loan_id = 1"
        for table in ("loan_events", "loan_terms", "loan_schedules")
    )
    return dict(sql(posting, records))


def rows(portfolio, *known_at, details=BALANCES):
    return [
        (loan.loan_id, loan.balance, loan.version)
        for batch in portfolio.loans(DAY, *known_at, details=details)
        for loan in batch
    ]


@pytest.mark.parametrize("details", [BALANCES, Details(parts=True)])
def test_each_time_shows_the_versions_and_balances_that_were_known(filled, database, details):
    portfolio = SqlPortfolio(database)
    assert rows(portfolio, details=details) == [(1, "96.00", 5), (2, "200.00", 1)]
    balances = {1: "105.00", 2: "105.00", 3: "103.00", 4: "103.00", 5: "96.00"}
    for version, moment in filled.items():
        expected = [(1, balances[version], version), (2, "200.00", min(version - 1, 1))]
        assert rows(portfolio, moment, details=details) == expected


def test_the_columnar_file_counts_events_and_follows_versions(filled, database, posting, settings, tmp_path):
    def columnar():
        with closing(connect(settings, "reader")) as connection:
            return ColumnarPortfolio(refresh(connection, tmp_path / "portfolio"))

    def check():
        file = columnar()
        for details in (BALANCES, Details(parts=True)):
            assert file.totals(DAY, details) == SqlPortfolio(database).totals(DAY, details=details)
            found = [(loan.loan_id, loan.balance, loan.version) for loan in file.loans(DAY, details)]
            assert found == rows(SqlPortfolio(database), details=details)

    check()
    post_terms(posting, (2, "2020-06-01", "0.2"))
    check()
    sql(posting, POST, [2], ["interest_credit"], ["2020-06-01"], ["1"])
    check()


def test_a_search_shows_balances_after_credits_of_interest(filled, database):
    search = LoanSearch(database)
    found, _ = search.page(search.begin(LoanFilter(DAY)), 10)
    assert [(loan.loan_id, loan.balance, loan.version) for loan in found] == [(1, 96_00, 5), (2, 200_00, 1)]
