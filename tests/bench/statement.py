"""The memory that a statement takes while it is streamed as CSV, beside the timeline that it is made from.

`python -m tests.bench.statement`.
"""

import tracemalloc
from datetime import date

import click

from native import to_date
from service.domain.date_range import Span
from service.domain.statement import Statement
from service.web.statement_csv import statement_csv
from tests.bench.memory import DAY, timeline


@click.command()
def main() -> None:
    """Print the peak for statements of growing length."""
    for events in (1_000, 10_000, 100_000):
        peak, size = peak_of_streaming(events)
        click.echo(f"a statement of {events} events: {peak / 1000:.0f} kB at the peak, {size / 1000:.0f} kB sent")


def peak_of_streaming(events: int) -> tuple[int, int]:
    """The most bytes that were held at any moment, and how many were sent."""
    ledger = timeline(1, events)
    span = Span(to_date(DAY), date(9999, 12, 31))
    size = 0
    tracemalloc.start()
    try:
        for piece in statement_csv(Statement(ledger, span), span):
            size += len(piece)
        return tracemalloc.get_traced_memory()[1], size
    finally:
        tracemalloc.stop()


if __name__ == "__main__":
    main()
