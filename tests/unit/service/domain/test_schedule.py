"""Installments that a method computes: amounts, rounding, terms over time, and what is rejected."""

from datetime import date
from fractions import Fraction

import pytest

from service.domain.schedule import MAX_INSTALLMENTS, ScheduleMethod, make_installments
from tests.models.payoff_generator import ALLOCATIONS
from tests.models.payoff_model import Terms
from tests.models.payoff_timeline import terms_row

START = date(2020, 1, 1)
PRINCIPAL_FIRST = ("principal", "fees", "interest")


def terms(effective: str, rate: str, day_count: str = "30E/360", allocation=ALLOCATIONS[0]):
    return terms_row(Terms(1, date.fromisoformat(effective), Fraction(rate), day_count, allocation))


def amounts(name, count, first, every_months, principal, *rows, effective=START, **options) -> list[int]:
    method = ScheduleMethod(name, count, date.fromisoformat(first), every_months, **options)
    return [amount for _, amount in make_installments(method, principal, effective, rows)]


def test_the_last_installment_takes_what_rounding_leaves():
    assert amounts("annuity", 3, "2020-02-01", 1, 100_00) == [33_33, 33_33, 33_34]
    assert amounts("equal_principal", 3, "2020-02-01", 1, 200_00) == [66_67, 66_67, 66_66]


@pytest.mark.parametrize(
    ("day_count", "expected"), [("ACT/365F", 23_84), ("ACT/360", 24_17), ("ACT/ACT", 23_77), ("30E/360", 25_00)]
)
def test_interest_goes_by_the_day_count(day_count, expected):
    # the 29 days of February 2020, which 30E/360 counts as 30
    assert amounts("bullet", 2, "2020-03-01", 1, 3000_00, terms("2020-02-01", "0.1", day_count))[0] == expected


def test_interest_goes_by_the_terms_in_effect_over_the_period():
    rows = terms("2020-01-01", "0.1", "ACT/365F"), terms("2020-01-16", "0.2", "ACT/365F")
    assert amounts("bullet", 1, "2020-01-31", 1, 36_500_00, *rows) == [36_500_00 + 15 * 10_00 + 15 * 20_00]


def test_no_interest_accrues_before_the_first_terms():
    row = terms("2020-01-21", "0.1", "ACT/365F")
    assert amounts("bullet", 1, "2020-01-31", 1, 36_500_00, row) == [36_600_00]


def test_terms_after_the_last_due_date_have_no_effect():
    assert amounts("annuity", 2, "2020-02-01", 1, 100_00, terms("2020-03-01", "9")) == [50_00, 50_00]


def test_what_one_rounding_leaves_goes_into_the_next_interest():
    # 12.5 minor units a month: the total of 2512.5 is rounded to even, and so is 2513
    assert amounts("bullet", 3, "2020-02-01", 1, 2500, terms("2020-01-01", "0.06")) == [12, 13, 2500 + 12]


def test_the_total_is_rounded_to_even_and_not_the_interest():
    # 1.5 minor units a month: the total of 76.5 becomes 76, although 1.5 alone would become 2
    assert amounts("bullet", 2, "2020-02-01", 1, 75, terms("2020-01-01", "0.24")) == [1, 75 + 2]


def test_annuity_with_periods_of_different_lengths_discounts_each_by_its_own_length():
    row = terms("2020-01-01", "0.1", "ACT/365F")
    first, second = Fraction(1, 10) * Fraction(31, 365), Fraction(1, 10) * Fraction(29, 365)
    expected = round(10_000_00 / (1 / (1 + first) + 1 / (1 + first) / (1 + second)))
    assert amounts("annuity", 2, "2020-02-01", 1, 10_000_00, row)[0] == expected


def test_payments_that_go_to_principal_first_leave_interest_unpaid():
    row = terms("2020-01-01", "0.12", allocation=PRINCIPAL_FIRST)
    # Of the first installment all goes to principal, so that the second month's interest is on 1000 - 510.
    assert amounts("equal_principal", 2, "2020-02-01", 1, 1000_00, row) == [510_00, 500_00 + 4_90]


def test_due_dates_are_returned_with_the_amounts():
    method = ScheduleMethod("annuity", 2, date(2020, 2, 29), 1, end_of_month=True)
    assert make_installments(method, 10, START, []) == [(date(2020, 2, 29), 5), (date(2020, 3, 31), 5)]


def test_the_most_installments_are_computed_in_exact_fractions():
    found = amounts("annuity", MAX_INSTALLMENTS, "2020-02-01", 1, 10**15, terms("2020-01-01", "0.01234567", "ACT/ACT"))
    assert len(found) == MAX_INSTALLMENTS
    assert set(found[:-1]) == {found[0]}
    assert abs(found[-1] - found[0]) < 100_000  # what the rounding of the annuity has grown to


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("annuity", 0, "2020-02-01", 1, 100), "1 to 1200 installments"),
        (("annuity", MAX_INSTALLMENTS + 1, "2020-02-01", 1, 100), "1 to 1200 installments"),
        (("annuity", 2, "2020-02-01", 0, 100), "1 to 1200 months"),
        (("annuity", 2, "2020-02-01", 1201, 100), "1 to 1200 months"),
        (("annuity", 2, "2020-01-01", 1, 100), "after the effective date, 2020-01-01"),
        (("annuity", 2, "2019-12-31", 1, 100), "after the effective date, 2020-01-01"),
        (("annuity", 2, "9999-12-31", 1, 100), "up to 9999-12-31"),
        (("annuity", 2, "2020-02-01", 1, 0), "owes principal"),
        (("annuity", 2, "2020-02-01", 1, -5), "owes principal"),
        (("annuity", 5, "2020-02-01", 1, 2), "above zero"),  # 0.4 is rounded to 0
        (("annuity", 5, "2020-02-01", 1, 3), "2020-04-01"),  # 0.6 is rounded to 1: the third settles the loan
        (("equal_principal", 5, "2020-02-01", 1, 2), "above zero"),
        (("equal_principal", 5, "2020-02-01", 1, 3), "2020-04-01"),
        (("bullet", 2, "2020-02-01", 1, 100), "2020-02-01"),  # no interest
        (("annuity", 600, "2020-02-01", 1, 10**12, terms("2020-01-01", "0.3", "ACT/365F")), "above zero"),
        (("balloon", 2, "2020-02-01", 1, 100), "annuity, equal_principal, bullet"),
        (("bullet", 1, "2120-01-01", 1, 10**17, terms("2020-01-01", "10")), "at most"),
    ],
)
def test_a_method_without_a_schedule_is_rejected(arguments, message):
    with pytest.raises(ValueError, match=message):
        amounts(*arguments)


def test_end_of_month_needs_a_first_date_at_the_end_of_its_month():
    with pytest.raises(ValueError, match="last day of its month"):
        amounts("annuity", 2, "2020-02-28", 1, 100, end_of_month=True)
