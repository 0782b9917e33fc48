"""Measures the memory needed to stream a statement as CSV, in addition to its timeline.

Usage: `python -m tests.bench.statement`.
"""

import tracemalloc
from datetime import date

import click

from native import to_date
from service.domain.date_range import DateRange
from service.domain.statement import Statement
from service.web.statement_csv import statement_csv
from tests.bench.memory import DAY, build_timeline


@click.command()
def main() -> None:
    """Measure the peak memory for statements of increasing length."""
    for events in (1_000, 10_000, 100_000):
        peak, size = measure_streaming(events)
        click.echo(f"statement of {events} events: peak {peak / 1000:.0f} kB, reply {size / 1000:.0f} kB")


def measure_streaming(events: int) -> tuple[int, int]:
    """Return the peak memory and the size of the reply, both in bytes."""
    ledger = build_timeline(1, events)
    span = DateRange(to_date(DAY), date(9999, 12, 31))
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
