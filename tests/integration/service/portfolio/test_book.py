"""The history of the whole book is that of the portfolio's totals, for any loans."""

from contextlib import closing
from datetime import date

import pytest

from service.bulk_load.loader import load
from service.domain.money import to_decimal_string
from service.portfolio.book import MAX_MONTHS, Book
from service.portfolio.sql import ConnectionSource, SqlPortfolio
from service.postgres.connect import connect

LOANS = """loan_id,start_date,initial_amt,currency
1,2019-12-05,1000.00,USD
2,2020-02-29,2000.00,USD
3,2020-03-01,500000,JPY
4,2020-06-15,70.125,KWD
5,2031-01-01,1.00,EUR
6,2019-12-06,1000.00,USD
"""
EVENTS = """loan_id,event_type,post_date,amt,source_id,reverses_source_id
1,interest,2019-11-30,10.00,early,
1,payment,2020-01-31,110.50,,
1,fee,2020-02-01,0.05,f1,
1,fee,2020-04-30,0.05,f2,f1
2,payment,2020-02-01,2500.00,,
3,interest,2020-05-31,777,,
4,payment,2020-06-30,0.125,,
"""
DAYS = [
    date(2019, 12, 4),
    date(2019, 12, 31),
    date(2020, 1, 30),
    date(2020, 2, 29),
    date(2020, 6, 30),
    date(2035, 1, 1),
]


@pytest.fixture
def source(settings, posting, tmp_path):
    paths = tmp_path / "loans.csv", tmp_path / "events.csv"
    for path, content in zip(paths, (LOANS, EVENTS), strict=True):
        path.write_text(content)
    load(posting, *paths)
    with closing(connect(settings, "reader")) as connection:
        yield ConnectionSource(connection)


def totals_of(history) -> dict[date, list[tuple[str, int, str]]]:
    found: dict[date, list[tuple[str, int, str]]] = {}
    for total in history:
        for month in total.months:
            amount = to_decimal_string(month.balance, total.digits)
            found.setdefault(month.day, []).append((total.currency, month.loans, amount))
    return found


@pytest.mark.parametrize("last", DAYS)
@pytest.mark.parametrize("months", [1, 3, MAX_MONTHS])
def test_the_total_of_each_month_is_that_of_the_portfolio(source, last, months):
    history = totals_of(Book(source).months(last, months))
    portfolio = SqlPortfolio(source)
    assert (last in history) == bool(portfolio.totals(last))
    for day, totals in history.items():
        assert totals == [(total.currency, total.loans, total.balance) for total in portfolio.totals(day)], day
    assert all(len(total.months) <= months for total in Book(source).months(last, months))


def test_the_history_begins_with_the_first_loan(source):
    [usd] = [total for total in Book(source).months(date(2020, 3, 31), MAX_MONTHS) if total.currency == "USD"]
    assert usd.months[0].day == date(2019, 12, 31)
    assert usd.latest.day == date(2020, 3, 31)


def test_more_months_than_allowed_are_not_read(source):
    [eur] = [total for total in Book(source).months(date(2099, 1, 1), 10_000) if total.currency == "EUR"]
    assert len(eur.months) == MAX_MONTHS


def test_the_first_days_of_the_calendar_have_a_history(source):
    assert Book(source).months(date(1, 1, 1), MAX_MONTHS) == []


def test_the_largest_loans_come_first_and_equal_ones_by_id(source):
    found = Book(source).largest(date(2019, 12, 31), "USD", 10)
    assert [(loan.loan_id, loan.balance, loan.digits) for loan in found] == [(1, 101_000, 2), (6, 100_000, 2)]
    assert [loan.loan_id for loan in Book(source).largest(date(2020, 6, 30), "USD", 1)] == [6]
    assert [loan.balance for loan in Book(source).largest(date(2020, 6, 30), "KWD", 5)] == [70_000]
    assert Book(source).largest(date(2020, 6, 30), "EUR", 5) == []


def test_the_size_is_that_of_the_ledger(source):
    assert Book(source).size() == (6, 7, 0)
