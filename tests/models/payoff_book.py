"""Puts the questions of the payoff model about many loans on one day to the core's kernel for a book."""

from array import array
from collections.abc import Iterable
from datetime import date, timedelta
from random import Random
from typing import Any

from tests.models.payoff_comparison import MAX64, difference
from tests.models.payoff_generator import ANCHORS, LoanGenerator
from tests.models.payoff_model import FEES, INTEREST, PRINCIPAL, Loan
from tests.models.payoff_timeline import build_timeline, to_number

EVENTS = {"days": "i", "kinds": "B", "running": "q", "links": "I"}
TERMS = {"term_days": "i", "rates": "I", "grace_days": "I", "day_counts": "B", "allocations": "B"}
SCHEDULES = {"schedule_days": "i", "ends": "I"}
INSTALLMENTS = {"amounts": "q", "due_days": "i"}


def compare_book(cores: dict[str, Any], seed: int, number: int, count: int) -> int:
    """Compare the payoffs of a book of random loans on one day, and return how many loans there were.

    Args:
        cores: The builds of the core by their names.
        seed: Determines the books, each by itself.
        number: The number of the book.
        count: How many loans.

    Raises:
        Difference: If a value differs.
    """
    rng = Random(f"{seed}/book {number}")
    anchor = rng.choice(ANCHORS)
    day = anchor + timedelta(days=rng.randrange(150))
    generator = LoanGenerator(rng, anchor)
    loans = [generator.generate() for _ in range(count)]
    expected = [_expected_row(loan, day) for loan in loans]
    for build, core in cores.items():
        columns = to_columns([build_timeline(core, loan) for loan in loans])
        found = core.portfolio_payoffs(to_number(day), **columns, threads=2)
        for position, right in enumerate(expected):
            actual = (
                *found.parts[3 * position : 3 * position + 3],
                *(column[position] for column in found[1:]),
            )
            if actual != right:
                question = f"loan {position} of book {number} of seed {seed}, {build}, on {day}: {loans[position]!r}"
                raise difference(question, right, actual)
    return count


def _expected_row(loan: Loan, day: date) -> tuple[int, ...]:
    payoff, arrears, _, walk = loan.answers(day)
    parts = (walk.parts[FEES], walk.parts[INTEREST], walk.parts[PRINCIPAL])
    if not all(-MAX64 <= value <= MAX64 for value in (payoff.uncharged, payoff.total)):
        return (0, 0, 0, 0, 0, 0, 0, 1)
    return (*parts, payoff.uncharged, payoff.total, arrears.past_due, arrears.days, 0)


def to_columns(timelines: Iterable[Any]) -> dict[str, array]:
    """Return the columns of many loans that `portfolio_payoffs` reads."""
    offsets = {name: array("q", [0]) for name in ("offsets", "term_offsets", "schedule_offsets", "installment_offsets")}
    groups = (EVENTS, TERMS, SCHEDULES, INSTALLMENTS)
    columns = {name: array(code) for group in groups for name, code in group.items()}
    starts, initials = array("i"), array("q")
    for timeline in timelines:
        starts.append(timeline.start_day)
        initials.append(timeline.initial)
        rows = (_event_rows(timeline), _terms_rows(timeline), *_schedule_rows(timeline))
        for group, values, ends_of_loans in zip(groups, rows, offsets.values(), strict=True):
            for name, column in zip(group, zip(*values, strict=True), strict=False):
                columns[name].extend(column)
            ends_of_loans.append(len(columns[next(iter(group))]))
    return {"start_days": starts, "initials": initials, **offsets, **columns}


def _event_rows(timeline: Any) -> list[tuple[int, ...]]:
    events = timeline.events(0, len(timeline))
    positions = {event[4]: position for position, event in enumerate(events, 1)}
    return [
        (day, kind, running, positions.get(reverses or reversed_by, 0))
        for day, kind, _, running, _, _, _, reverses, reversed_by in events
    ]


def _terms_rows(timeline: Any) -> list[tuple[int, ...]]:
    return [
        (day, rate, grace_days, day_count, allocation)
        for day, rate, day_count, allocation, grace_days in timeline.terms
    ]


def _schedule_rows(timeline: Any) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    schedules, installments = [], []
    for effective_day, rows in timeline.schedules:
        installments += [(amount, due_day) for due_day, amount in rows]
        schedules.append((effective_day, len(installments)))
    return schedules, installments
