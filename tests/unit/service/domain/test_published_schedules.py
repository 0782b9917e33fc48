"""Published amortization examples. Where a document rounds only what it prints, amounts are in 1e-12 of its currency.

A periodic rate of r / 12 a month is the rate r in 30E/360 with a day of the month up to 30, and r a year is that with
12 months between due dates.
"""

from datetime import date
from fractions import Fraction

import pytest

from service.domain.money import to_decimal_string
from service.domain.schedule import ScheduleMethod, make_installments
from tests.models.payoff_model import Terms
from tests.models.payoff_timeline import terms_row

START = date(2024, 1, 15)
FINE = 10**12
# Colorado Water Conservation Board, contract C1537, Decker Lateral Company, in "Feasibility Study, Rehabilitation of
# the Lower Decker Lateral", July 1997, table 2: https://dnrweblink.state.co.us/CWCB/0/doc/69405/Page16.aspx
DECKER_LATERAL = (
    "73717.63 72380.76 70987.08 69534.16 68019.49 66440.45 64794.30 63078.19 61289.15 59424.07 57479.72 55452.74 "
    "53339.61 51136.68 48840.12 46445.96 43950.04 41348.05 38635.47 35807.61 32859.57 29786.23 26582.28 23242.15 "
    "19760.08 16130.01 12345.67 8400.49 4287.64 0.00"
)
# numpy-financial, reference of ipmt: https://numpy.org/numpy-financial/latest/ipmt.html
NUMPY_FINANCIAL = "2299.42 2097.46 1894.11 1689.37 1483.22 1275.66 1066.67 856.25 644.38 431.05 216.26 0.00"
# Ross, Westerfield and Jordan, Fundamentals of Corporate Finance, solutions of chapter 6, problems 55 and 56:
# https://www.coursehero.com/file/5919788/CHAPTER-6-11/ and https://www.coursehero.com/file/5919789/CHAPTER-6-12/
ROSS_55 = "34840.83 27108.92 18758.47 9739.97 0.00"
ROSS_56 = "33600.00 25200.00 16800.00 8400.00 0.00"


def installments(name: str, principal: int, rate: str, count: int, months: int, unit: int = FINE) -> list[Fraction]:
    """Return the amounts of a loan that begins on a 15th, in its currency."""
    method = ScheduleMethod(name, count, date(2024 + months // 12, 1 + months % 12, 15), months)
    rows = [terms_row(Terms(1, START, Fraction(rate), "30E/360"))]
    return [Fraction(amount, unit) for _, amount in make_installments(method, principal * unit, START, rows)]


def balances(principal: int, rate: str, months: int, amounts: list[Fraction]) -> list[Fraction]:
    """Return what is owed after each installment, by the periodic rate."""
    balance, found = Fraction(principal), []
    for amount in amounts:
        balance += balance * Fraction(rate) * months / 12 - amount
        found.append(balance)
    return found


def printed(values: list[Fraction], decimals: int = 2) -> list[str]:
    return [to_decimal_string(round(value * 10**decimals), decimals) for value in values]


@pytest.mark.parametrize(
    ("principal", "rate", "count", "payment"),
    [
        # Microsoft, PMT function, first example: https://support.microsoft.com/en-us/excel/functions/pmt-function
        pytest.param(10_000, "0.08", 10, "1037.03", id="Microsoft"),
        # MathWorks, Financial Toolbox, amortize: https://www.mathworks.com/help/finance/amortize.html
        pytest.param(100_000, "0.12", 360, "1028.61", id="MathWorks"),
        # Claris FileMaker Pro, PMT, example 1: https://help.claris.com/en/pro-help/content/pmt.html
        pytest.param(21_000, "0.069", 48, "501.90", id="Claris"),
    ],
)
def test_monthly_payment(principal, rate, count, payment):
    fine = installments("annuity", principal, rate, count, 1)
    assert printed(fine[:1]) == [payment]
    cents = installments("annuity", principal, rate, count, 1, unit=100)
    assert set(printed(cents[:-1])) == {payment}


@pytest.mark.parametrize(
    ("name", "principal", "rate", "months", "payment", "table"),
    [
        pytest.param("annuity", 75_000, "0.0425", 12, "4469.87", DECKER_LATERAL, id="Decker Lateral"),
        pytest.param("annuity", 2_500, "0.0824", 1, "217.75", NUMPY_FINANCIAL, id="numpy-financial"),
        pytest.param("annuity", 42_000, "0.08", 12, "10519.17", ROSS_55, id="Ross 55"),
        pytest.param("equal_principal", 42_000, "0.08", 12, "11760.00", ROSS_56, id="Ross 56"),
    ],
)
def test_balance_after_each_installment(name, principal, rate, months, payment, table):
    expected = table.split()
    amounts = installments(name, principal, rate, len(expected), months)
    assert printed(amounts[:1]) == [payment]
    assert printed(balances(principal, rate, months, amounts)) == expected


def test_each_payment_of_equal_parts_of_the_principal():
    expected = ["11760.00", "11088.00", "10416.00", "9744.00", "9072.00"]  # Ross 56, too
    assert printed(installments("equal_principal", 42_000, "0.08", 5, 12, unit=100)) == expected


def test_principal_paid_in_the_first_month_and_in_the_second_year():
    # Microsoft, CUMPRINC function: https://support.microsoft.com/en-us/excel/functions/cumprinc-function
    left = balances(125_000, "0.09", 1, installments("annuity", 125_000, "0.09", 360, 1))
    assert printed([125_000 - left[0]], 8) == ["68.27827118"]
    assert printed([left[11] - left[23]], 7) == ["934.1071234"]


def test_principal_paid_by_the_first_payment():
    # SAS 9.3, PPMT function, first example:
    # https://support.sas.com/documentation/cdl/en/lefunctionsref/63354/HTML/default/p1m2s8u7i0jfo6n1c0siw2vinb9t.htm
    left = balances(2_000, "0.1", 1, installments("annuity", 2_000, "0.1", 24, 1))
    assert printed([2_000 - left[0]]) == ["75.62"]


def test_interest_each_year_and_the_principal_at_the_end():
    # An interest-only loan of 35,000 at 12 % for 15 years: https://qammunity.org/11544806
    assert installments("bullet", 35_000, "0.12", 15, 12, unit=100) == [4_200] * 14 + [39_200]
