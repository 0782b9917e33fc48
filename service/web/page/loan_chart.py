"""The chart of a loan: its balance over a range of days, with its parts stacked."""

from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup

from native import PARTS, Timeline, day_number, to_date
from service.domain.date_range import DateRange
from service.domain.parts_history import PartsHistory, parts_history
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

    def rows(self, show: Callable[[int], str]) -> Markup:
        """Return the rows of a table of the values: a date, the balance, and its parts from the lowest to the highest.

        They are written here because a template takes longer for some hundred rows.

        Args:
            show: Writes an amount of minor units as HTML.
        """
        rows = []
        for day, balance, parts in self.history.points:
            written = to_date(day).isoformat()
            cells = "".join(f'<td class="figure">{show(amount)}</td>' for amount in (balance, *reversed(parts)))
            rows.append(f'<tr><td><time datetime="{written}">{written}</time></td>{cells}</tr>')
        return Markup("\n".join(rows))  # noqa: S704  (dates, and amounts that are HTML)


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
