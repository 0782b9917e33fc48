"""An interactive demonstration: prompts for a loan and a date, and prints and draws the balance."""

import sys
from collections.abc import Callable
from datetime import date
from typing import TypeVar

import click
import plotext

from native import Timeline, day_number, to_date
from service.domain.money import to_decimal_string
from service.domain.parsing import parse_date, parse_loan_id
from service.errors import UnknownLoan
from service.ledger.timeline_lookup import TimelineLookup

Value = TypeVar("Value")

CHART_WIDTH, CHART_HEIGHT = 78, 14  # with its axis
DEFAULT_LOAN, DEFAULT_DAY = "1", "2020-07-01"


def run_demo(lookup: TimelineLookup, color: bool = False) -> None:
    """Prompt for a loan and a date, then print and draw the balance.

    Invalid input is explained and prompted for again. The input may be piped.

    Args:
        lookup: Reads loans.
        color: Whether to draw in color.
    """
    click.echo("What did a loan owe on a given date?\n")
    timeline = _prompt("Loan", DEFAULT_LOAN, lambda text: _timeline(lookup, text))
    day = _prompt("Date (YYYY-MM-DD)", DEFAULT_DAY, parse_date)
    owed = to_decimal_string(timeline.balance_at(day_number(day)), timeline.exponent)
    click.echo(f"\nOn {day}, loan {timeline.loan_id} owed {owed} {timeline.currency}.")
    if day_number(day) < timeline.start_day:
        click.echo(f"It starts on {to_date(timeline.start_day)}; before that date, nothing is owed.")
    click.echo()
    click.echo(chart(timeline, day, color))


def chart(timeline: Timeline, day: date, color: bool = False) -> str:
    """Draw the balance from the loan's start to its last event or the given day, and mark the day.

    Args:
        timeline: The loan.
        day: The day to mark. The chart extends to it if necessary.
        color: Whether to draw in color.

    Returns:
        Lines of text.
    """
    events = timeline.window(timeline.start_day, 2**31 - 1)
    first = min(timeline.start_day, day_number(day))
    last = max([first, day_number(day), *(event[0] for event in events[-1:])])
    first = min(first, last - 1)  # a chart of a single day has no width
    steps = sorted({first + (last - first) * column // CHART_WIDTH for column in range(CHART_WIDTH + 1)})
    plotext.clear_figure()
    plotext.theme("clear" if not color else "pro")
    plotext.plotsize(CHART_WIDTH, CHART_HEIGHT)
    plotext.title(f"Loan {timeline.loan_id}, balance in {timeline.currency}")
    plotext.plot(steps, [balance // 10**timeline.exponent for balance in timeline.balances_at(steps)], marker="hd")
    plotext.vertical_line(day_number(day))
    ticks = [first + (last - first) * part // 4 for part in range(5)]
    plotext.xticks(ticks, [to_date(tick).isoformat() for tick in ticks])
    return str(plotext.build())


def _timeline(lookup: TimelineLookup, text: str) -> Timeline:
    try:
        return lookup.get(parse_loan_id(text)).timeline
    except UnknownLoan as err:
        raise ValueError(str(err)) from err


def _prompt(question: str, default: str, parse: Callable[[str], Value]) -> Value:
    """Prompt until the answer can be parsed.

    Raises:
        click.Abort: If the input ends.
    """
    while True:
        text = click.prompt(question, default=default).strip()
        if not sys.stdin.isatty():
            click.echo(text)  # a terminal has already shown the input
        try:
            return parse(text)
        except ValueError as err:
            click.echo(f"  {text!r}: {err}")
