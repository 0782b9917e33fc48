"""The geometry of a chart of amounts over days, drawn as steps.

Positions are whole numbers of 1/1000 of the plot's width or height: a template writes them into an SVG that stretches.
Amounts are exact until they become positions.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import count
from typing import NamedTuple

from native import day_number, to_date
from service.domain.money import to_decimal_string

SIZE = 1000
MAX_DAY_TICKS = 7
_MONTH_STEPS = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200, 2400, 6000, 12000, 24000)
_DAY_STEPS = (1, 2, 7, 14)
_LAST_TICK = 930  # a label to the right of a later one would be cut off


class Column(NamedTuple):
    """One amount for each day of a chart, in minor units.

    Attributes:
        key: Names it in the style sheet.
        amounts: The amounts.
    """

    key: str
    amounts: Sequence[int]


class Shape(NamedTuple):
    """A path of SVG, and the column that it shows."""

    key: str
    path: str


class DayTick(NamedTuple):
    """A label below the plot, where a day begins."""

    position: int
    label: str
    day: date


class AmountTick(NamedTuple):
    """A line across the plot, with its amount in minor units."""

    position: int
    amount: int


@dataclass(frozen=True)
class StepChart:
    """A chart, ready to be written as SVG.

    Attributes:
        areas: The stacked columns, in the order in which to paint them: each covers a part of the one before.
        line: The outline of the total.
        day_ticks: From left to right.
        amount_ticks: From low to high, 0 among them.
        first: The first day.
        last: The last day.
    """

    areas: list[Shape]
    line: str
    day_ticks: list[DayTick]
    amount_ticks: list[AmountTick]
    first: int
    last: int

    def position(self, day: int) -> int | None:
        """Return where a day begins; None if the chart does not have it."""
        return _x(day, self.first, self.last) if self.first <= day <= self.last else None

    def amount_labels(self, digits: int, show: Callable[[int, int], str]) -> list[tuple[int, str, str]]:
        """Return the position, the plain amount and the text of each tick, without decimals if all of them are whole.

        Args:
            digits: The currency's number of decimals.
            show: Writes an amount of minor units with a number of decimals.
        """
        unit = 10**digits
        if any(tick.amount % unit for tick in self.amount_ticks):
            shown = [show(tick.amount, digits) for tick in self.amount_ticks]
        else:
            shown = [show(tick.amount // unit, 0) for tick in self.amount_ticks]
        return [
            (tick.position, to_decimal_string(tick.amount, digits), text)
            for tick, text in zip(self.amount_ticks, shown, strict=True)
        ]


def step_chart(days: Sequence[int], total: Sequence[int], stack: Sequence[Column], last: int) -> StepChart:
    """Return a chart whose amounts hold from their day until the next one.

    Args:
        days: The days of the amounts, in ascending order; at least one.
        total: The amount that the line shows, for each day.
        stack: What the areas show, from the lowest to the highest. Negative amounts are stacked below zero.
        last: The last day of the chart.
    """
    tops = [*_tops(stack)]
    every = [0, *total, *(amount for column in tops for amount in column.amounts)]
    ticks = _amount_ticks(min(every), max(every))
    low, high = ticks[0], ticks[-1]
    xs = [_x(day, days[0], last) for day in days]

    def y(amount: int) -> int:
        return SIZE - SIZE * (amount - low) // (high - low)

    def steps(amounts: Sequence[int]) -> str:
        heights = [y(amount) for amount in amounts]
        turns = (f"H{x}V{height}" for x, height in zip(xs[1:], heights[1:], strict=True))
        return f"{heights[0]}{''.join(turns)}H{SIZE}"

    return StepChart(
        [Shape(key, f"M0 {y(0)}V{steps(amounts)}V{y(0)}Z") for key, amounts in reversed(tops) if any(amounts)],
        f"M0 {steps(total)}",
        [*_day_ticks(days[0], last)],
        [AmountTick(y(amount), amount) for amount in ticks],
        days[0],
        last,
    )


def _tops(stack: Sequence[Column]) -> Iterator[Column]:
    """Yield the far edge of each area: its own amounts on top of those below it that have the same sign."""
    size = len(stack[0].amounts) if stack else 0
    above, below = [0] * size, [0] * size
    for key, amounts in stack:
        above = [edge + max(amount, 0) for edge, amount in zip(above, amounts, strict=True)]
        below = [edge + min(amount, 0) for edge, amount in zip(below, amounts, strict=True)]
        edges = zip(below, above, amounts, strict=True)
        yield Column(key, [low if amount < 0 else high if amount else 0 for low, high, amount in edges])


def _x(day: int, first: int, last: int) -> int:
    return SIZE * (day - first) // (last + 1 - first)


def _amount_ticks(low: int, high: int) -> list[int]:
    """Return about five round amounts that enclose a range with 0."""
    step = _round_up(max(1, -(-(high - low) // 4)))
    return [*range(low // step * step, max(high, low + 1) + step, step)]


def _round_up(number: int) -> int:
    """Return the next number that is 1, 2 or 5 times a power of ten."""
    power = int(10 ** (len(str(number)) - 1))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= number)


def _day_ticks(first: int, last: int) -> Iterator[DayTick]:
    begin, end = to_date(first), to_date(last)
    months = (end.year - begin.year) * 12 + end.month - begin.month
    if months < 3:
        step = next((step for step in _DAY_STEPS if (last - first) // step < MAX_DAY_TICKS), _DAY_STEPS[-1])
        ticks = ((day, day.isoformat()) for day in map(to_date, range(first, last + 1, step)))
    else:
        step = next(step for step in _MONTH_STEPS if months // step <= MAX_DAY_TICKS)
        ticks = ((day, _label(day, step)) for day in _month_starts(begin, end, step))
    for day, label in ticks:
        if (position := _x(day_number(day), first, last)) <= _LAST_TICK:
            yield DayTick(position, label, day)


def _month_starts(begin: date, end: date, step: int) -> Iterator[date]:
    """Yield the first days of those months within a range whose number is a multiple of the step."""
    first_month = begin.year * 12 + begin.month - 1 + (begin.day > 1)
    for month in count(-(-first_month // step) * step, step):
        if not 12 <= month <= end.year * 12 + end.month - 1:
            return
        yield date(month // 12, month % 12 + 1, 1)


def _label(day: date, step: int) -> str:
    return f"{day.year:04d}" if step % 12 == 0 else day.isoformat()[:7]
