"""Payoffs and arrears of many loans: equal to those of each timeline, and inconsistent columns are rejected."""

from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native import PAYMENT
from tests.models.oracle import Event, Ledger, ledgers
from tests.unit.native.test_agreement import all_schedules, all_terms

MAX64 = 2**63 - 1
NAMES = {
    "days": "i", "kinds": "B", "running": "q", "links": "I",
    "term_days": "i", "rates": "I", "grace_days": "I", "day_counts": "B", "allocations": "B",
    "schedule_days": "i", "ends": "I", "amounts": "q", "due_days": "i",
}  # fmt: skip


def to_columns(timelines) -> dict[str, array]:
    """Return the columns of a portfolio, as arguments of portfolio_payoffs."""
    columns = {name: array(code) for name, code in NAMES.items()}
    offsets = {name: array("q", [0]) for name in ("offsets", "term_offsets", "schedule_offsets", "installment_offsets")}
    for timeline in timelines:
        (_, _, events, terms, schedules, installments), *groups = timeline.columns()
        found = [
            groups[0][:3] + (groups[0][3] or array("I", bytes(4 * events)),),
            groups[1] or [()] * 5,
            groups[2] or [()] * 4,
        ]
        for name, column in zip(NAMES, [column for group in found for column in group], strict=True):
            columns[name].extend(column)
        for name, count in zip(offsets, (events, terms, schedules, installments), strict=True):
            offsets[name].append(offsets[name][-1] + count)
    starts = array("i", [timeline.start_day for timeline in timelines])
    return {
        "start_days": starts, "initials": array("q", [each.initial for each in timelines]), **columns, **offsets,
    }  # fmt: skip


def expected_of(core, timeline, day):
    """Return the row of a loan: parts, uncharged, total, past due, days, and whether a value does not fit."""
    try:
        payoff = core.payoff_at(timeline, day)
    except OverflowError:
        return (0,) * 7 + (1,)
    try:
        arrears = core.arrears_at(timeline, day)
    except OverflowError:  # only of what is due, which a book does not have
        return None
    return (*payoff[:5], arrears.past_due, arrears.days, 0)


def rows_of(payoffs):
    parts = zip(payoffs.parts[::3], payoffs.parts[1::3], payoffs.parts[2::3], strict=True)
    others = zip(*payoffs[1:], strict=True)
    return [(*three, *other) for three, other in zip(parts, others, strict=True)]


@st.composite
def portfolios(draw):
    days = st.integers(-400, 400)
    amounts = st.one_of(st.integers(1, 500), st.integers(1, MAX64 // 20))
    ledger = ledgers(max_events=6, days=days, amounts=amounts)
    return draw(st.lists(st.tuples(ledger, all_terms(), all_schedules()), max_size=5))


@settings(max_examples=150)
@given(portfolio=portfolios(), days=st.lists(st.integers(-500, 2000), min_size=1, max_size=4))
def test_payoffs_equal_those_of_each_timeline(core, portfolio, days):
    timelines = [ledger.build(core, terms=terms, schedules=schedules) for ledger, terms, schedules in portfolio]
    columns = to_columns(timelines)
    for day in days:
        rows = rows_of(core.portfolio_payoffs(day, **columns))
        for row, timeline in zip(rows, timelines, strict=True):
            assert expected_of(core, timeline, day) in (row, None)


@given(portfolio=portfolios(), day=st.integers(-500, 2000))
def test_parts_with_terms_equal_those_of_each_timeline(core, portfolio, day):
    timelines = [ledger.build(core, terms=terms, schedules=schedules) for ledger, terms, schedules in portfolio]
    columns = {name: column for name, column in to_columns(timelines).items() if name in PARTS_COLUMNS}
    expected = [part for timeline in timelines for part in core.balance_parts(timeline, day)]
    assert list(core.portfolio_parts(day, **columns)) == expected


PARTS_COLUMNS = {
    *("start_days", "initials", "offsets", "days", "kinds", "running", "links"),
    *("term_offsets", "term_days", "rates", "grace_days", "day_counts", "allocations"),
}
TERMS = [(0, 10_000_000, 0, 0, 0)]
SCHEDULES = [(0, [(30, 5_00), (60, 5_00)]), (100, [(130, 5_00)])]
LOAN = Ledger(0, 36_500_00, (Event(10, PAYMENT, 5_00, 1),))


def loan(core, initial=36_500_00):
    return Ledger(0, initial, LOAN.events).build(core, version=4, terms=TERMS, schedules=SCHEDULES)


def test_a_loan_that_does_not_fit_is_flagged_and_the_others_are_answered(core):
    timelines = [loan(core), loan(core, MAX64), loan(core)]
    payoffs = core.portfolio_payoffs(61, **to_columns(timelines))
    row = (*core.payoff_at(timelines[0], 61)[:5], 5_00, 1, 0)
    assert rows_of(payoffs) == [row, (0, 0, 0, 0, 0, 0, 0, 1), row]
    assert payoffs._fields == ("parts", "uncharged", "totals", "past_due", "days", "overflows")


def test_threads_do_not_change_the_result(core):
    loans = 120_000 if core.build == "compiled" else 100
    one = to_columns([LOAN.build(core, version=4, terms=TERMS, schedules=SCHEDULES)] * 2)
    many = {name: column[: len(column) // 2] * loans for name, column in one.items() if "offsets" not in name}
    for name in ("offsets", "term_offsets", "schedule_offsets", "installment_offsets"):
        many[name] = array("q", (one[name][1] * number for number in range(loans + 1)))
    payoffs = core.portfolio_payoffs(61, **many, threads=2)
    assert set(rows_of(payoffs)) == set(rows_of(core.portfolio_payoffs(61, **one)))
    assert len(payoffs.totals) == loans


def changed(column, position, value):
    copy = column[:]
    copy[position] = value
    return copy


@pytest.mark.parametrize(
    ("name", "position", "value", "message"),
    [
        ("offsets", 1, 3, "offsets of loan 0"),
        ("offsets", 0, -1, "offsets of loan 0"),
        ("offsets", 2, 0, "offsets of loan 1"),
        ("term_offsets", 2, 3, "offsets of loan 1"),
        ("term_offsets", 1, -1, "offsets of loan 0"),
        ("schedule_offsets", 2, 5, "offsets of loan 1"),
        ("schedule_offsets", 0, -1, "offsets of loan 0"),
        ("installment_offsets", 2, 7, "offsets of loan 1"),
        ("installment_offsets", 1, 9, "offsets of loan 0"),
        ("ends", 0, 4, "offsets of loan 0"),
        ("ends", 2, 2**32 - 1, "offsets of loan 1"),
        ("rates", 1, 10**9 + 1, "terms 1: the rate"),
        ("grace_days", 0, 2**31, "grace days"),
        ("day_counts", 0, 4, "unknown day count"),
        ("allocations", 1, 6, "unknown allocation"),
    ],
)
def test_columns_that_point_outside_are_rejected(core, name, position, value, message):
    columns = to_columns([loan(core), loan(core)])
    with pytest.raises(ValueError, match=message):
        core.portfolio_payoffs(61, **{**columns, name: changed(columns[name], position, value)})


def test_ends_in_descending_order_are_rejected(core):
    columns = to_columns([loan(core), loan(core)])
    with pytest.raises(ValueError, match="offsets of loan 1"):
        core.portfolio_payoffs(131, **{**columns, "ends": array("I", [2, 3, 3, 2])})


@pytest.mark.parametrize("name", [*NAMES, "start_days", "initials", "offsets", "term_offsets", "schedule_offsets"])
def test_columns_of_another_length_or_type_are_rejected(core, name):
    columns = to_columns([loan(core), loan(core)])
    with pytest.raises(ValueError, match=r"must have|must be"):
        core.portfolio_payoffs(61, **{**columns, name: columns[name][:-1]})
    with pytest.raises(ValueError, match=f"{name} must be"):
        core.portfolio_payoffs(61, **{**columns, name: array("h", [0])})


@pytest.mark.parametrize(("day", "error"), [(2**31, OverflowError), (1.5, TypeError)])
def test_invalid_day_is_rejected(core, day, error):
    with pytest.raises(error):
        core.portfolio_payoffs(day, **to_columns([]))
