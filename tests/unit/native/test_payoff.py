"""Payoff and arrears of one loan: each definition by an example, at the limits of 64 bits, and by both builds."""

from datetime import date
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native import FEE, INTEREST, INTEREST_CREDIT, PAYMENT, REVERSAL, day_number
from tests.models.oracle import Event, Ledger

MAX64 = 2**63 - 1
MAX_RATE = 10**9
ACT_365, ACT_360, ACT_ACT, THIRTY_360 = range(4)
FEES_FIRST, PRINCIPAL_FIRST = 0, 5
TEN_PERCENT = 10_000_000
START = day_number(date(2020, 1, 1))
TERMS = (START, TEN_PERCENT, ACT_365, FEES_FIRST, 0)


def on(text):
    return day_number(date.fromisoformat(text))


def build(core, *events, initial=36_500_00, start=START, terms=(TERMS,), schedules=()):
    """Return the timeline of (date, kind, amount, number of the reversed event) rows, numbered from 1."""
    rows = [
        Event(on(day), kind, amount, tx_id, *reverses) for tx_id, (day, kind, amount, *reverses) in enumerate(events, 1)
    ]
    return Ledger(start, initial, tuple(rows)).build(core, version=99, terms=terms, schedules=schedules)


def uncharged(core, timeline, day):
    return Fraction(*core.uncharged_at(timeline, on(day)))


# Accrual


def test_ten_a_day(core):
    timeline = build(core)
    payoff = core.payoff_at(timeline, on("2020-03-02"))
    assert payoff == (0, 0, 36_500_00, 610_00, 37_110_00, 10_00)
    assert payoff._fields == ("fees", "interest", "principal", "uncharged", "total", "per_diem")
    assert core.uncharged_at(timeline, on("2020-03-02")) == (610_00, 1)
    assert core.uncharged_at(timeline, START) == (0, 1)
    assert core.payoff_totals(timeline, [START, START + 1, START - 1]) == [36_500_00, 36_510_00, 0]


def test_payment_lowers_interest_from_its_day_on(core):
    timeline = build(core, ("2020-01-11", PAYMENT, 18_250_00))
    assert uncharged(core, timeline, "2020-01-11") == 100_00
    assert uncharged(core, timeline, "2020-01-12") == 105_00


def test_overpayment_earns_no_interest(core):
    timeline = build(core, ("2020-01-11", PAYMENT, 40_000_00))
    payoff = core.payoff_at(timeline, on("2020-12-31"))
    assert payoff == (0, 0, -3_500_00, 100_00, -3_400_00, 0)


def test_fees_and_charged_interest_earn_no_interest(core):
    timeline = build(core, ("2020-01-02", FEE, 10_000_00), ("2020-01-02", INTEREST, 10_00))
    assert core.payoff_at(timeline, on("2020-01-11")) == (10_000_00, 10_00, 36_500_00, 90_00, 46_600_00, 10_00)


def test_interest_charged_by_the_first_accrual_day_is_settled(core):
    events = ("2020-01-01", INTEREST, 1_00), ("2020-01-01", INTEREST_CREDIT, 50), ("2020-01-02", INTEREST, 10_00)
    assert uncharged(core, build(core, *events), "2020-01-03") == 10_00


def test_interest_credit_lowers_what_was_charged(core):
    events = ("2020-01-02", INTEREST, 10_00), ("2020-01-03", INTEREST_CREDIT, 12_00)
    timeline = build(core, *events)
    assert core.balance_parts(timeline, on("2020-01-03")) == (0, 0, 36_498_00)
    assert uncharged(core, timeline, "2020-01-03") == 22_00
    assert core.payoff_at(timeline, on("2020-01-03")).total == 36_520_00


def test_interest_credit_leaves_fees(core):
    timeline = build(core, ("2020-01-02", FEE, 5_00), ("2020-01-03", INTEREST_CREDIT, 12_00), terms=())
    assert core.balance_parts(timeline, on("2020-01-03")) == (5_00, 0, 36_488_00)


def test_accrual_begins_with_the_later_of_start_and_first_terms(core):
    later = build(core, terms=[(START + 10, TEN_PERCENT, ACT_365, 0, 0)])
    earlier = build(core, terms=[(START - 10, TEN_PERCENT, ACT_365, 0, 0)])
    assert core.first_accrual_day(later) == START + 10
    assert core.first_accrual_day(earlier) == START
    assert core.first_accrual_day(build(core, terms=())) is None
    assert uncharged(core, later, "2020-01-12") == 10_00
    assert uncharged(core, earlier, "2020-01-02") == 10_00
    assert core.payoff_at(later, START + 9).per_diem == 0
    assert core.payoff_at(later, START + 10).per_diem == 10_00


def test_terms_apply_to_the_interest_of_their_day(core):
    timeline = build(core, terms=[TERMS, (START + 10, 2 * TEN_PERCENT, ACT_365, 0, 0)])
    assert uncharged(core, timeline, "2020-01-11") == 100_00
    assert uncharged(core, timeline, "2020-01-12") == 120_00
    assert core.payoff_at(timeline, START + 9).per_diem == 10_00
    assert core.payoff_at(timeline, START + 10).per_diem == 20_00


def test_events_before_the_start_count_from_the_start(core):
    timeline = build(core, ("2019-12-01", PAYMENT, 18_250_00), ("2019-12-02", INTEREST, 7))
    assert core.payoff_at(timeline, START - 1) == (0, 0, 0, 0, 0, 0)
    assert core.payoff_at(timeline, START + 1) == (0, 7, 18_250_00, 5_00, 18_255_07, 5_00)


def test_without_terms_the_payoff_is_the_balance(core):
    timeline = build(core, ("2020-01-11", INTEREST, 5_00), terms=())
    assert core.payoff_at(timeline, on("2021-01-01")) == (0, 5_00, 36_500_00, 0, 36_505_00, 0)
    assert core.uncharged_at(timeline, on("2021-01-01")) == (0, 1)
    assert core.accrual_segments(timeline, on("2021-01-01")) == []


@pytest.mark.parametrize("kind", [PAYMENT, INTEREST, FEE, INTEREST_CREDIT])
def test_reversed_event_costs_no_interest_from_the_date_of_its_reversal_on(core, kind):
    timeline = build(core, ("2020-01-11", kind, 1_000_00), ("2020-03-11", kind | REVERSAL, 1_000_00, 1))
    plain = build(core)
    day, before = on("2020-03-11"), on("2020-03-10")
    for function in (core.payoff_at, core.uncharged_at, core.balance_parts):
        assert function(timeline, day) == function(plain, day)
        assert function(timeline, before) == function(build(core, ("2020-01-11", kind, 1_000_00)), before)


def test_reversal_dated_before_its_event_counts_by_itself_until_then(core):
    early = build(core, ("2020-03-11", INTEREST, 5_00), ("2020-01-11", INTEREST | REVERSAL, 5_00, 1))
    assert core.payoff_at(early, on("2020-01-11")) == (0, 0, 36_495_00, 105_00, 36_600_00, 10_00)
    assert core.uncharged_at(early, on("2020-03-11")) == core.uncharged_at(build(core), on("2020-03-11"))
    credit = build(core, ("2020-03-11", INTEREST_CREDIT, 5_00), ("2020-01-11", INTEREST_CREDIT | REVERSAL, 5_00, 1))
    assert core.payoff_at(credit, on("2020-01-11")) == (0, 5_00, 36_500_00, 95_00, 36_600_00, 10_00)


def test_later_records_change_nothing(core):
    day = on("2020-02-01")
    later = build(
        core,
        ("2020-02-02", PAYMENT, 5_00),
        ("2020-02-02", PAYMENT | REVERSAL, 5_00, 1),
        terms=[TERMS, (day + 1, MAX_RATE, 3, 5, 9)],
        schedules=[(day + 1, [(day - 5, 1)])],
    )
    assert core.payoff_at(later, day) == core.payoff_at(build(core), day)
    assert core.arrears_at(later, day) == (0, 0, 0, None)
    assert core.installments_at(later, day) == []


# Day counts


@pytest.mark.parametrize(
    ("day_count", "first", "last", "years"),
    [
        (ACT_365, "2019-12-01", "2021-01-01", Fraction(397, 365)),
        (ACT_360, "2019-12-01", "2021-01-01", Fraction(397, 360)),
        (ACT_ACT, "2019-12-01", "2021-01-02", Fraction(31 + 1, 365) + 1),
        (ACT_ACT, "1899-12-31", "1901-01-01", Fraction(366, 365)),
        (ACT_ACT, "1999-12-31", "2001-01-01", Fraction(1, 365) + 1),
        (THIRTY_360, "2020-01-30", "2020-01-31", Fraction(0)),
        (THIRTY_360, "2020-01-31", "2020-02-01", Fraction(1, 360)),
        (THIRTY_360, "2020-02-28", "2020-02-29", Fraction(1, 360)),
        (THIRTY_360, "2020-02-29", "2020-03-01", Fraction(2, 360)),
        (THIRTY_360, "2021-02-28", "2021-03-01", Fraction(3, 360)),
        (THIRTY_360, "2020-01-15", "2027-01-15", Fraction(7)),
    ],
)
def test_day_counts(core, day_count, first, last, years):
    timeline = build(core, initial=1, start=on(first), terms=[(on(first), 10**8, day_count, 0, 0)])
    assert uncharged(core, timeline, last) == years


@given(start=st.integers(0, 3_000_000), length=st.integers(0, 1000))
def test_day_counts_follow_the_calendar(core, start, length):
    """Thirty-day months and leap years, against Python's dates."""
    first, last = (date.fromordinal(1 + number) for number in (start, start + length))
    thirty = [360 * day.year + 30 * day.month + min(day.day, 30) for day in (first, last)]
    leap = sum(
        max(0, min(last, date(year + 1, 1, 1)).toordinal() - max(first, date(year, 1, 1)).toordinal())
        for year in range(first.year, last.year + 1)
        if (year % 4 == 0 and year % 100) or year % 400 == 0
    )
    for day_count, years in (
        (THIRTY_360, Fraction(thirty[1] - thirty[0], 360)),
        (ACT_ACT, Fraction(leap, 366) + Fraction(length - leap, 365)),
    ):
        timeline = build(core, initial=1, start=day_number(first), terms=[(day_number(first), 10**8, day_count, 0, 0)])
        assert uncharged(core, timeline, last.isoformat()) == years


@pytest.mark.parametrize(
    ("day_count", "day", "basis"),
    [(ACT_365, "2020-01-01", 365), (ACT_360, "2020-01-01", 360), (THIRTY_360, "2020-01-31", 360)]
    + [(ACT_ACT, "2020-12-31", 366), (ACT_ACT, "2021-01-01", 365), (ACT_ACT, "2100-12-31", 365)],
)
def test_per_diem_divides_by_the_basis_of_the_year(core, day_count, day, basis):
    timeline = build(core, terms=[(START, TEN_PERCENT, day_count, 0, 0)])
    assert core.payoff_at(timeline, on(day)).per_diem == round(Fraction(3_650_00, basis))


def test_days_before_1970_and_beyond_the_calendar(core):
    for day_count, first, days in (
        (ACT_365, -(2**31), 2**32 - 1),
        (ACT_360, -(2**31), 2**32 - 1),
        (THIRTY_360, -719_528 - 146_097, 360 * 400),
    ):
        timeline = build(core, initial=1, start=first, terms=[(first, 10**8, day_count, 0, 0)])
        last = 2**31 - 1 if day_count != THIRTY_360 else first + 146_097
        assert Fraction(*core.uncharged_at(timeline, last)) == Fraction(days, 365 if day_count == ACT_365 else 360)


def test_accrual_is_additive(core):
    events = ("2020-01-11", PAYMENT, 1_234_57), ("2020-02-29", FEE, 5_00), ("2021-03-01", PAYMENT, 999_99)
    terms = [(START, 12_345_678, ACT_ACT, 0, 0), (START + 100, 87_654_321, THIRTY_360, 0, 0)]
    timeline = build(core, *events, terms=terms)
    days = [START, on("2020-01-11"), on("2020-07-07"), on("2021-02-28"), on("2022-01-01")]
    for day in days:
        segments = core.accrual_segments(timeline, day)
        interest = sum(Fraction(segment.numerator, segment.denominator) for segment in segments)
        assert interest == Fraction(*core.uncharged_at(timeline, day))


def test_segments_show_how_interest_accrued(core):
    events = ("2020-01-05", FEE, 5_00), ("2020-01-11", PAYMENT, 18_255_00)
    timeline = build(core, *events, terms=[TERMS, (START + 12, TEN_PERCENT, THIRTY_360, 0, 0)])
    assert core.accrual_segments(timeline, START) == []
    segments = core.accrual_segments(timeline, on("2020-01-31"))
    assert segments == [
        (START, START + 10, 36_500_00, TEN_PERCENT, "ACT/365F", 10, 100_00, 1),
        (START + 10, START + 12, 18_250_00, TEN_PERCENT, "ACT/365F", 2, 10_00, 1),
        (START + 12, START + 30, 18_250_00, TEN_PERCENT, "30E/360", 17, 155125, 18),
    ]
    assert segments[0]._fields[:4] == ("first_day", "last_day", "principal", "rate")


# Rounding


@pytest.mark.parametrize(("fee", "total"), [(1, 2), (2, 4), (3, 4), (4, 6)])
def test_the_total_is_rounded_half_even_as_one_number(core, fee, total):
    """Interest of 1/2 on a principal of 1."""
    timeline = build(core, ("2020-01-01", FEE, fee), initial=1, terms=[(START, 10**8 // 2, ACT_365, 0, 0)])
    assert core.uncharged_at(timeline, START + 365) == (1, 2)
    assert core.payoff_at(timeline, START + 365) == (fee, 0, 1, total - fee - 1, total, 0)


def test_a_negative_total_is_rounded_half_even(core):
    """Interest of 1/2 on 1, then an overpayment."""
    terms = [(START, 10**8 // 2, ACT_365, 0, 0)]
    for paid in (3, 4, 5):
        timeline = build(core, ("2020-12-31", PAYMENT, paid), initial=1, terms=terms)
        assert core.payoff_at(timeline, START + 365).total == round(1 - paid + Fraction(1, 2))


def test_interest_of_several_denominators_is_rounded_as_one_number(core):
    terms = [(START + 100 * number, 33_333_333, number % 4, 0, 0) for number in range(8)]
    timeline = build(core, ("2020-05-05", INTEREST, 12_34), initial=99_999_99, terms=terms)
    for day in range(START, START + 900, 7):
        exact = Fraction(*core.uncharged_at(timeline, day))
        payoff = core.payoff_at(timeline, day)
        assert payoff.total == round(timeline.balance_at(day) + exact)


# Allocation


@pytest.mark.parametrize(
    ("allocation", "parts"),
    [
        (0, (0, 0, 992)),
        (1, (0, 12, 980)),
        (2, (0, 0, 992)),
        (3, (5, 0, 987)),
        (4, (5, 12, 975)),
        (5, (5, 12, 975)),
    ],
)
def test_a_payment_is_allocated_in_the_order_of_its_terms(core, allocation, parts):
    events = ("2020-01-02", FEE, 5), ("2020-01-02", INTEREST, 12), ("2020-01-03", PAYMENT, 25)
    timeline = build(core, *events, initial=1000, terms=[(START, 0, 0, allocation, 0)])
    assert core.balance_parts(timeline, START + 2) == parts


@pytest.mark.parametrize("allocation", range(6))
def test_only_principal_becomes_negative(core, allocation):
    events = ("2020-01-02", FEE, 5), ("2020-01-02", INTEREST, 12), ("2020-01-03", PAYMENT, 125)
    timeline = build(core, *events, ("2020-01-04", FEE, 4), initial=100, terms=[(START, 0, 0, allocation, 0)])
    assert core.balance_parts(timeline, START + 2) == (0, 0, -8)
    assert core.balance_parts(timeline, START + 3) == (4, 0, -8)


def test_the_allocation_is_the_one_in_effect_on_the_payment_date(core):
    events = (
        ("2019-06-01", PAYMENT, 10),
        ("2020-01-02", FEE, 50),
        *((f"2020-01-0{day}", PAYMENT, 10) for day in (3, 4, 5)),
    )
    terms = [(on("2020-01-04"), 0, 0, 5, 0), (on("2020-01-05"), 0, 0, 0, 0)]
    timeline = build(core, *events, initial=1000, terms=terms)
    expected = {"01": (0, 0, 990), "02": (50, 0, 990), "03": (40, 0, 990), "04": (40, 0, 980), "05": (30, 0, 980)}
    for day, parts in expected.items():
        assert core.balance_parts(timeline, on(f"2020-01-{day}")) == parts
    early = build(core, *events, initial=1000, terms=[(on("2019-01-01"), 0, 0, 5, 0)])
    assert core.balance_parts(early, on("2020-01-05")) == (50, 0, 960)


# Limits


def test_interest_of_the_largest_loan_is_exact(core):
    for rate, days in ((MAX_RATE, 3_652_058), (MAX_RATE - 1, 1), (1, 3_652_058)):
        timeline = build(core, initial=MAX64, start=0, terms=[(0, rate, ACT_365, 0, 0)])
        assert Fraction(*core.uncharged_at(timeline, days)) == Fraction(MAX64 * rate * days, 365 * 10**8)
    timeline = build(core, initial=MAX64, start=-(2**31), terms=[(-(2**31), MAX_RATE, ACT_360, 0, 0)])
    assert Fraction(*core.uncharged_at(timeline, 2**31 - 1)) == Fraction(MAX64 * MAX_RATE * (2**32 - 1), 360 * 10**8)


def test_an_amount_beyond_64_bits_raises_instead_of_wrapping(core):
    timeline = build(core, initial=MAX64, terms=[(START + 1, TEN_PERCENT, ACT_365, 0, 0)], schedules=[(0, [(0, 1)])])
    assert core.payoff_at(timeline, START + 1).total == MAX64
    assert core.payoff_totals(timeline, [START + 1]) == [MAX64]
    for function in (
        core.payoff_at,
        core.arrears_at,
        lambda *arguments: core.payoff_totals(arguments[0], [arguments[1]]),
    ):
        with pytest.raises(OverflowError):
            function(timeline, START + 2)


def test_due_beyond_64_bits_raises_instead_of_wrapping(core):
    timeline = build(core, schedules=[(START, [(START + 1, MAX64), (START + 2, 1)])])
    assert core.arrears_at(timeline, START + 1) == (MAX64, 0, 0, START + 1)
    with pytest.raises(OverflowError):
        core.arrears_at(timeline, START + 2)
    paid = build(core, ("2020-01-02", PAYMENT, 1), schedules=[(START, [(START + 1, MAX64), (START + 2, 1)])])
    assert core.arrears_at(paid, START + 2) == (MAX64, 36_519_99, 1, START + 1)


@pytest.mark.parametrize(
    ("day", "error"), [(2**31, OverflowError), (-(2**31) - 1, OverflowError), (1.5, TypeError), ("1", TypeError)]
)
def test_invalid_day_is_rejected_by_both_builds(core, day, error):
    timeline = build(core, schedules=[(START, [(START, 1)])])
    for function in (core.payoff_at, core.arrears_at, core.installments_at, core.accrual_segments, core.uncharged_at):
        with pytest.raises(error):
            function(timeline, day)
    with pytest.raises(error):
        core.payoff_totals(timeline, [day])


# Arrears

INSTALLMENTS = [(START + 31, 100_00), (START + 60, 200_00), (START + 60, 50_00), (START + 91, 300_00)]
SCHEDULES = [(START, INSTALLMENTS)]


def test_an_installment_is_due_on_its_day_and_past_due_from_the_next(core):
    timeline = build(core, schedules=SCHEDULES)
    assert core.arrears_at(timeline, START + 30) == (0, 0, 0, None)
    assert core.arrears_at(timeline, START + 31) == (100_00, 0, 0, START + 31)
    assert core.arrears_at(timeline, START + 32) == (100_00, 100_00, 1, START + 31)
    assert core.arrears_at(timeline, START + 60) == (350_00, 100_00, 29, START + 31)
    arrears = core.arrears_at(timeline, START + 61)
    assert arrears == (350_00, 350_00, 30, START + 31)
    assert arrears._fields == ("due", "past_due", "days", "oldest_due_day")


def test_payments_satisfy_installments_in_order_and_ahead_of_time(core):
    timeline = build(core, ("2020-01-05", PAYMENT, 120_00), ("2020-02-10", PAYMENT, 200_00), schedules=SCHEDULES)
    satisfied = [row[2] for row in core.installments_at(timeline, START + 4)]
    assert satisfied == [100_00, 20_00, 0, 0]
    assert [row[:2] for row in core.installments_at(timeline, START)] == INSTALLMENTS
    assert [row[2] for row in core.installments_at(timeline, on("2020-02-10"))] == [100_00, 200_00, 20_00, 0]
    assert core.arrears_at(timeline, START + 61) == (30_00, 30_00, 1, START + 60)


@pytest.mark.parametrize(("allocation", "satisfied"), [(0, 80_00), (2, 90_00), (5, 100_00)])
def test_what_fees_take_satisfies_no_installment(core, allocation, satisfied):
    events = ("2020-01-02", FEE, 20_00), ("2020-01-02", INTEREST, 90_00), ("2020-01-03", PAYMENT, 100_00)
    timeline = build(core, *events, terms=[(START, 0, 0, allocation, 0)], schedules=SCHEDULES)
    assert core.installments_at(timeline, START + 2)[0] == (START + 31, 100_00, satisfied)


def test_interest_credits_and_reversed_fees_satisfy_no_installment(core):
    events = (
        ("2020-01-02", INTEREST_CREDIT, 20_00),
        ("2020-03-02", FEE, 20_00),
        ("2020-01-03", FEE | REVERSAL, 20_00, 2),
    )
    timeline = build(core, *events, schedules=SCHEDULES)
    assert core.installments_at(timeline, START + 10)[0][2] == 0


def test_a_reversed_payment_satisfies_no_installment_from_its_reversal_on(core):
    events = ("2020-01-05", PAYMENT, 100_00), ("2020-03-05", PAYMENT | REVERSAL, 100_00, 1)
    timeline = build(core, *events, schedules=SCHEDULES)
    assert core.arrears_at(timeline, on("2020-02-02")) == (0, 0, 0, None)
    assert core.arrears_at(timeline, on("2020-03-05")).days == on("2020-03-05") - START - 31


def test_the_latest_effective_schedule_counts_with_payments_from_its_day_on(core):
    schedules = [*SCHEDULES, (START + 40, [(START + 50, 70_00)]), (START + 80, [])]
    events = ("2020-01-05", PAYMENT, 100_00), ("2020-02-10", PAYMENT, 30_00)
    timeline = build(core, *events, schedules=schedules)
    assert core.installments_at(timeline, START + 39)[0] == (START + 31, 100_00, 100_00)
    assert core.installments_at(timeline, START + 40) == [(START + 50, 70_00, 30_00)]
    assert core.arrears_at(timeline, START + 51) == (40_00, 40_00, 1, START + 50)
    assert core.arrears_at(timeline, START + 80) == (0, 0, 0, None)
    assert core.installments_at(timeline, START + 80) == []


def test_within_the_grace_days_nothing_is_past_due(core):
    timeline = build(core, terms=[(START, 0, 0, 0, 5), (START + 90, 0, 0, 0, 365)], schedules=SCHEDULES)
    assert core.arrears_at(timeline, START + 36) == (100_00, 0, 0, START + 31)
    assert core.arrears_at(timeline, START + 37) == (100_00, 100_00, 6, START + 31)
    assert core.arrears_at(timeline, START + 90) == (350_00, 0, 0, START + 31)


def test_past_due_is_at_most_the_payoff(core):
    timeline = build(core, ("2020-01-01", INTEREST_CREDIT, 36_400_00), terms=(), schedules=SCHEDULES)
    assert core.payoff_at(timeline, START + 61).total == 100_00
    assert core.arrears_at(timeline, START + 61) == (350_00, 100_00, 30, START + 31)


def test_nothing_is_due_without_a_positive_payoff(core):
    timeline = build(core, ("2020-01-01", INTEREST_CREDIT, 36_500_00), terms=(), schedules=SCHEDULES)
    assert core.arrears_at(timeline, START + 61) == (0, 0, 0, None)
    assert core.installments_at(timeline, START + 61)[0] == (START + 31, 100_00, 0)


def test_nothing_is_due_before_the_start(core):
    timeline = build(core, schedules=[(START - 100, [(START - 50, 1)])])
    assert core.arrears_at(timeline, START - 1) == (0, 0, 0, None)
    assert core.installments_at(timeline, START - 1) == []
    assert core.arrears_at(timeline, START) == (1, 1, 50, START - 50)
