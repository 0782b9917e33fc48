"""Published examples of accrued interest, as payoffs of a loan."""

from datetime import date
from fractions import Fraction

import pytest

from tests.models.payoff_model import Loan, Terms
from tests.models.payoff_timeline import build_timeline, to_number


def payoff(core, principal: int, rate: str, day_count: str, first: str, last: str):
    start = date.fromisoformat(first)
    loan = Loan(start, principal, (), (Terms(1, start, Fraction(rate), day_count),))
    return core.payoff_at(build_timeline(core, loan), to_number(date.fromisoformat(last)))


def test_an_invoice_paid_ten_days_late(core):
    # Code of Federal Regulations, 5 CFR 1315.17: $1,500 (.065/360*10) = $2.71, due April 1 and paid April 11
    found = payoff(core, 1_500_00, "0.065", "ACT/360", "2023-04-01", "2023-04-11")
    assert (found.uncharged, found.total) == (2_71, 1_502_71)


def test_a_month_of_a_student_loan(core):
    # Aspire Servicing Center, Billing: https://aspireservicingcenter.com/Ways-To-Pay/Billing.aspx
    # "$10,000 x 0.068 / 365 = $1.8630", and $55.89 for 30 days
    found = payoff(core, 10_000_00, "0.068", "ACT/365F", "2023-04-01", "2023-05-01")
    assert (found.per_diem, found.uncharged) == (1_86, 55_89)
    assert payoff(core, 10_000_0000, "0.068", "ACT/365F", "2023-04-01", "2023-05-01").per_diem == 1_8630


@pytest.mark.parametrize(
    ("first", "last", "fraction"),
    [
        ("2003-11-01", "2004-05-01", 4_977_243_806),
        ("1999-02-01", "1999-07-01", 4_109_589_041),
        ("1999-07-01", "2000-07-01", 10_013_773_486),
        ("2002-08-15", "2003-07-15", 9_150_684_932),
        ("2003-07-15", "2004-01-15", 5_040_047_908),
        ("1999-07-30", "2000-01-30", 5_038_925_069),
        ("2000-01-30", "2000-06-30", 4_153_005_464),
    ],
)
def test_actual_actual_isda(core, first, last, fraction):
    # The periods of ISDA, "EMU and Market Conventions: Recent Developments" (1998), section 4, with the 10 decimals of
    # QuantLib's test-suite/daycounters.cpp: the interest at 100 % on 10^10 minor units
    assert payoff(core, 10**10, "1", "ACT/ACT", first, last).uncharged == fraction


@pytest.mark.parametrize(
    ("first", "last", "days"),
    [
        ("2007-01-15", "2007-01-30", 15),
        ("2007-01-15", "2007-02-15", 30),
        ("2007-09-30", "2008-03-31", 180),
        ("2007-01-15", "2007-01-31", 15),
        ("2007-01-31", "2007-02-28", 28),
        ("2007-02-28", "2007-03-31", 32),
        ("2006-08-31", "2007-02-28", 178),
        ("2007-02-26", "2008-02-29", 363),
        ("2008-02-29", "2009-02-28", 359),
        ("2008-02-29", "2008-03-31", 31),
    ],
)
def test_30e_360(core, first, last, days):
    # ISDA, "30/360 Day Count Conventions", worked examples of 30E/360 in the 2006 ISDA Definitions, section 4.16 (g)
    assert payoff(core, 360, "1", "30E/360", first, last).uncharged == days
