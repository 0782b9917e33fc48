"""The geometry of a chart: positions stay inside it, and every amount that people read is exact."""

import re
from datetime import date
from itertools import pairwise

import pytest

from native import day_number
from service.web.page.step_chart import SIZE, Column, step_chart

DAY = day_number(date(2020, 1, 1))
LARGE = 10**18 - 1


def chart(days, *columns, last=None):
    total = [sum(amounts) for amounts in zip(*columns, strict=True)]
    names = ("principal", "interest", "fees")
    stack = [Column(name, amounts) for name, amounts in zip(names, columns, strict=False)]
    return step_chart(days, total, stack, days[-1] if last is None else last)


def test_an_amount_holds_from_its_day_until_the_next():
    found = chart([DAY, DAY + 5], [100, 50], last=DAY + 9)
    assert found.line == "M0 0H500V500H1000"
    assert [(area.key, area.path) for area in found.areas] == [("principal", "M0 1000V0H500V500H1000V1000Z")]


def test_the_highest_area_is_painted_first_and_covered_by_those_below_it():
    found = chart([DAY], [60], [30], [10])
    assert [area.key for area in found.areas] == ["fees", "interest", "principal"]
    tops = [int(re.match(r"M0 1000V(\d+)", area.path)[1]) for area in found.areas]
    assert tops == [0, 100, 400]


def test_an_area_without_amounts_is_left_out():
    assert [area.key for area in chart([DAY], [60], [0], [0]).areas] == ["principal"]


def test_negative_amounts_are_below_zero_and_do_not_lower_the_others():
    found = chart([DAY, DAY + 1], [100, -50], [0, 20])
    zero = next(tick.position for tick in found.amount_ticks if tick.amount == 0)
    interest, principal = found.areas
    assert max(map(int, re.findall(r"V(\d+)", interest.path))) == zero
    assert max(map(int, re.findall(r"V(\d+)", principal.path))) > zero


@pytest.mark.parametrize("amounts", [[0], [1], [-1], [LARGE], [-LARGE, LARGE], [7, 7], [123_456, -1]])
def test_everything_is_inside_and_the_ticks_enclose_it(amounts):
    days = [DAY + number for number in range(len(amounts))]
    found = chart(days, amounts, last=DAY + 10)
    ticks = [tick.amount for tick in found.amount_ticks]
    assert 0 in ticks
    assert ticks[0] <= min(amounts) <= max(amounts) <= ticks[-1]
    assert 2 <= len(ticks) <= 7
    assert len({high - low for low, high in pairwise(ticks)}) == 1
    for path in (found.line, *(area.path for area in found.areas)):
        assert all(0 <= int(number) <= SIZE for number in re.findall(r"-?\d+", path))


@pytest.mark.parametrize(
    ("first", "last", "labels"),
    [
        (date(2020, 1, 1), date(2020, 1, 1), ["2020-01-01"]),
        (date(2020, 1, 30), date(2020, 2, 2), ["2020-01-30", "2020-01-31", "2020-02-01", "2020-02-02"]),
        (date(2020, 1, 15), date(2020, 8, 1), ["2020-02", "2020-03", "2020-04", "2020-05", "2020-06", "2020-07"]),
        (date(2019, 12, 5), date(2026, 11, 27), ["2020", "2021", "2022", "2023", "2024", "2025", "2026"]),
        (date(1, 1, 1), date(9999, 12, 31), ["2000", "4000", "6000", "8000"]),
    ],
)
def test_the_days_are_labeled_at_round_dates(first, last, labels):
    found = step_chart([day_number(first)], [1], [], day_number(last))
    assert [tick.label for tick in found.day_ticks][: len(labels)] == labels
    assert len(found.day_ticks) <= 9


@pytest.mark.parametrize("first", [date(1, 1, 1), date(2019, 12, 5), date(9998, 6, 1)])
def test_no_range_has_too_many_labels(first):
    for days in (1, 2, 10, 40, 70, 89, 90, 100, 200, 365, 366, 1000, 5000, 20_000, 200_000, 2_000_000):
        last = min(day_number(first) + days, day_number(date.max))
        found = step_chart([day_number(first)], [1], [], last)
        assert len(found.day_ticks) <= 9, days
        positions = [tick.position for tick in found.day_ticks]
        assert positions == sorted(set(positions))


def test_a_day_has_a_position_only_inside_the_chart():
    found = chart([DAY], [1], last=DAY + 3)
    assert [found.position(DAY + offset) for offset in (-1, 0, 1, 3, 4)] == [None, 0, 250, 750, None]


def test_whole_amounts_are_labeled_without_decimals():
    labels = chart([DAY], [40_000]).amount_labels(2, lambda amount, digits: f"{amount}/{digits}")
    assert [label for *_, label in labels] == ["0/0", "100/0", "200/0", "300/0", "400/0"]
    assert [amount for _, amount, _ in labels] == ["0.00", "100.00", "200.00", "300.00", "400.00"]
    labels = chart([DAY], [4]).amount_labels(2, lambda amount, digits: f"{amount}/{digits}")
    assert [label for *_, label in labels] == ["0/2", "1/2", "2/2", "3/2", "4/2"]
