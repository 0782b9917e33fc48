"""The chart of a loan: its balance over a range of days, with its parts stacked."""

from collections.abc import Iterator
from dataclasses import dataclass

from native import PARTS, Timeline, day_number, to_date
from service.domain.date_range import DateRange
from service.domain.parts_history import PartsHistory, PartsPoint, parts_history
from service.web.page.step_chart import Column, StepChart, step_chart


@dataclass(frozen=True)
class LoanChart:
    """A chart, the values that it shows, and a description of them.

    Attributes:
        history: The values.
        drawing: Where they are in the chart.
        lowest: The day and the amount of the lowest balance.
        highest: The day and the amount of the highest balance.
    """

    history: PartsHistory
    drawing: StepChart
    lowest: tuple[str, int]
    highest: tuple[str, int]

    def rows(self) -> Iterator[tuple[str, PartsPoint]]:
        """Yield the date of each point, and the point."""
        for point in self.history.points:
            yield to_date(point.day).isoformat(), point


def loan_chart(timeline: Timeline, date_range: DateRange) -> LoanChart:
    """Return the chart of a loan over a range of days."""
    history = parts_history(timeline, date_range)
    points = history.points
    # Principal is at the bottom: it is the largest part and changes slowly.
    stack = [Column(name, [point.parts[index] for point in points]) for index, name in enumerate(PARTS)][::-1]
    balances = [point.balance for point in points]
    drawing = step_chart([point.day for point in points], balances, stack, day_number(date_range.last))
    lowest = min(points, key=lambda point: point.balance)
    highest = max(points, key=lambda point: point.balance)
    return LoanChart(
        history,
        drawing,
        (to_date(lowest.day).isoformat(), lowest.balance),
        (to_date(highest.day).isoformat(), highest.balance),
    )
