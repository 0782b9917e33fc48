"""Rows of a portfolio as CSV, and their sums: exact, by bucket and currency, and without loans that are errors."""

from datetime import date

import pytest

from native import PARTS
from service.domain.arrears import BUCKETS
from service.portfolio.amounts import Amounts, LoanKeys
from service.portfolio.csv import csv_head, portfolio_csv
from service.portfolio.rows import Details
from service.portfolio.sums import Sums

DAY = date(2020, 7, 1)
BOTH = Details(payoff=True, arrears=True)
# Two loans in dollars, one of them late; one in dollars that does not fit; one in yen with, and one without decimals.
KEYS = LoanKeys([1, 2, 3, 4, 5], [9, 8, 7, 6, 5], [("USD", 2), ("USD", 2), ("USD", 2), ("JPY", 0), ("JPY", 2)])
AMOUNTS = Amounts(
    balances=[10_000, 20_001, 2**63 - 1, 500, 50],
    payoff=[[1, -3, 0, 7, 0], [10_001, 19_998, 0, 507, 50]],
    arrears=[[0, 301, 0, 100, 1], [0, 31, 0, 121, 30]],
    errors=[0, 0, 1, 0, 0],
)


def test_rows_have_empty_cells_for_errors_and_totals_follow_by_bucket():
    text = csv_head(BOTH) + "".join(portfolio_csv(DAY, [AMOUNTS.rows(KEYS)], BOTH))
    rows = text.split("\r\n")
    assert rows[:6] == [
        "date,loan_id,balance,currency,version,interest_uncharged,payoff,past_due,days_past_due,bucket,loans,errors",
        "2020-07-01,1,100.00,USD,9,0.01,100.01,0.00,0,current,,0",
        "2020-07-01,2,200.01,USD,8,-0.03,199.98,3.01,31,31-60,,0",
        "2020-07-01,3,92233720368547758.07,USD,7,,,,,,,1",
        "2020-07-01,4,500,JPY,6,7,507,100,121,over 120,,0",
        "2020-07-01,5,0.50,JPY,5,0.00,0.50,0.01,30,1-30,,0",
    ]
    assert rows[6:18] == [
        "2020-07-01,,0.00,JPY,,0.00,0.00,0.00,,current,0,0",
        "2020-07-01,,0.50,JPY,,0.00,0.50,0.01,,1-30,1,0",
        "2020-07-01,,0.00,JPY,,0.00,0.00,0.00,,31-60,0,0",
        "2020-07-01,,0.00,JPY,,0.00,0.00,0.00,,61-90,0,0",
        "2020-07-01,,0.00,JPY,,0.00,0.00,0.00,,91-120,0,0",
        "2020-07-01,,500.00,JPY,,7.00,507.00,100.00,,over 120,1,0",
        "2020-07-01,,100.00,USD,,0.01,100.01,0.00,,current,1,0",
        "2020-07-01,,0.00,USD,,0.00,0.00,0.00,,1-30,0,0",
        "2020-07-01,,200.01,USD,,-0.03,199.98,3.01,,31-60,1,0",
        "2020-07-01,,0.00,USD,,0.00,0.00,0.00,,61-90,0,0",
        "2020-07-01,,0.00,USD,,0.00,0.00,0.00,,91-120,0,0",
        "2020-07-01,,0.00,USD,,0.00,0.00,0.00,,over 120,0,0",
    ]
    assert rows[18:] == [
        "2020-07-01,,500.50,JPY,,7.00,507.50,100.01,,,2,0",
        "2020-07-01,,92233720368548058.08,USD,,-0.02,299.99,3.01,,,3,1",
        "",
    ]


@pytest.mark.parametrize(
    ("details", "names"),
    [
        (Details(), ""),
        (Details(parts=True), ",fees,interest,principal"),
        (Details(payoff=True), ",interest_uncharged,payoff,loans,errors"),
        (Details(arrears=True), ",past_due,days_past_due,bucket,loans,errors"),
        (
            Details(True, True, True),
            ",fees,interest,principal,interest_uncharged,payoff,past_due,days_past_due,bucket,loans,errors",
        ),
    ],
)
def test_every_row_has_the_columns_of_the_head(details, names):
    amounts = AMOUNTS._replace(
        parts=[AMOUNTS.balances] * len(PARTS) if details.parts else (),
        payoff=AMOUNTS.payoff if details.payoff else (),
        arrears=AMOUNTS.arrears if details.arrears else (),
        errors=AMOUNTS.errors if details.can_fail else (),
    )
    head = csv_head(details)
    assert head == f"date,loan_id,balance,currency,version{names}\r\n"
    rows = "".join(portfolio_csv(DAY, [amounts.rows(KEYS)], details)).splitlines()
    assert {row.count(",") for row in rows} == {head.count(",")}
    assert len(rows) == 5 + 2 + (2 * len(BUCKETS) if details.arrears else 0)


def test_sums_of_columns_equal_those_of_rows():
    from_columns, from_rows = Sums(BOTH), Sums(BOTH)
    started = [True, True, True, True, False]
    AMOUNTS.include_in(from_columns, KEYS, started)
    for loan, has_started in zip(AMOUNTS.rows(KEYS), started, strict=True):
        if has_started:
            from_rows.include_loan(loan)
    assert from_columns.totals() == from_rows.totals()
    [yen, dollars] = from_columns.totals()
    assert (yen.balance, yen.payoff, yen.arrears, yen.errors) == ("500", ("7", "507"), ("100",), 0)
    assert (dollars.loans, dollars.errors, sum(bucket.loans for bucket in dollars.buckets)) == (3, 1, 2)


def test_an_empty_portfolio_has_no_totals():
    assert Sums(BOTH).totals() == []
    assert "".join(portfolio_csv(DAY, [], BOTH)) == ""
