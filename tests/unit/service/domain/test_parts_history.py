"""The points of a chart: every change while they are few, and an honest sample when they are many."""

from datetime import date, timedelta

import pytest

from native import FEE, INTEREST, PAYMENT, REVERSAL, Timeline, balance_parts, day_number, to_date
from service.domain.date_range import DateRange
from service.domain.parts_history import MAX_POINTS, MIN_MONTHS, parts_history

START = date(2020, 1, 1)
KINDS = (INTEREST, FEE, PAYMENT)


def timeline(days: list[int], kinds: list[int] | None = None, reverses: list[int] | None = None) -> Timeline:
    count = len(days)
    return Timeline.build(
        loan_id=1, version=count, horizon=1, start_day=day_number(START), initial=1_000_000, currency="USD",
        exponent=2, days=days, kinds=kinds or [KINDS[number % 3] for number in range(count)], amounts=[100] * count,
        tx_ids=range(1, count + 1), versions=range(1, count + 1), recorded_at=[0] * count,
        reverses=reverses or [0] * count,
    )  # fmt: skip


def every(step: int, count: int) -> list[int]:
    return [day_number(START) + step * number for number in range(count)]


def assert_exact(found, ledger):
    for point in found.points:
        assert point.balance == ledger.balance_at(point.day) == sum(point.parts)
        assert point.parts == balance_parts(ledger, point.day)
    days = [point.day for point in found.points]
    assert days == sorted(set(days))


def test_few_changes_all_have_a_point():
    ledger = timeline(every(7, 20))
    found = parts_history(ledger, DateRange(START, date(2020, 12, 31)))
    assert (found.every, found.months, found.changes) == (1, 0, 20)
    assert [point.day for point in found.points] == every(7, 20)
    assert_exact(found, ledger)


def test_a_range_before_the_loan_is_one_point_of_zero():
    found = parts_history(timeline(every(1, 5)), DateRange(date(2019, 1, 1), date(2019, 2, 1)))
    assert [(point.balance, point.parts) for point in found.points] == [(0, (0, 0, 0))]


def test_a_reversal_counts_from_its_day_on():
    day = day_number(START)
    ledger = timeline([day + 5, day + 9], [FEE, FEE | REVERSAL], [0, 1])
    found = parts_history(ledger, DateRange(START, date(2020, 2, 1)))
    assert [(point.day - day, point.parts) for point in found.points] == [
        (0, (0, 0, 1_000_000)), (5, (100, 0, 1_000_000)), (9, (0, 0, 1_000_000)),
    ]  # fmt: skip


@pytest.mark.parametrize("count", [MAX_POINTS, MAX_POINTS + 1, 2 * MAX_POINTS, 900])
def test_many_changes_of_a_short_range_are_thinned_and_end_with_its_last_day(count):
    ledger = timeline(every(1, count))
    last = to_date(day_number(START) + count + 5)
    found = parts_history(ledger, DateRange(START, last))
    assert len(found.points) <= MAX_POINTS
    assert (found.every > 1) == (count > MAX_POINTS)
    assert found.months == 0
    assert found.points[0].day == day_number(START)
    if found.every > 1:
        assert found.points[-1].day == day_number(last)
        assert {point.day for point in found.points[:-1]} <= set(every(1, count))
    assert_exact(found, ledger)


@pytest.mark.parametrize("months", [MIN_MONTHS, 240, 2400])
def test_a_long_range_keeps_ends_of_months(months):
    last = date(2020 + months // 12, 1, 15)
    days = (day_number(last) - day_number(START)) // 1000
    ledger = timeline(every(days, 1000))
    found = parts_history(ledger, DateRange(START, last))
    assert len(found.points) <= MAX_POINTS + 1
    assert found.every == 0
    assert found.months == -(-(months + 1) // (MAX_POINTS - 1))
    assert found.points[0].day == day_number(START)
    assert found.points[-1].day == day_number(last)
    between = [to_date(point.day) for point in found.points[1:-1]]
    assert all((day + timedelta(days=1)).day == 1 for day in between)
    assert_exact(found, ledger)


def test_the_longest_range_has_few_points():
    ledger = timeline(every(1, 1000))
    assert len(parts_history(ledger, DateRange(date.min, date.max)).points) <= MAX_POINTS + 1
