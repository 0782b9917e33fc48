"""Measures the core: one balance of a long ledger, and the balances of a portfolio relative to copying its day column.

Usage: `python -m tests.bench.core [--loans 1000000] [--events 20] [--rounds 15]`.
The copy's target is already mapped memory. Each round measures both in turn, so the ratios are valid even if the speed
of the machine drifts.
"""

import random
import statistics
import time
import timeit
from array import array

import click

import native

DAY, FIRST, SPAN = 18_500, 18_000, 1_000


@click.command()
@click.option("--loans", default=1_000_000, help="Number of loans.")
@click.option("--events", default=20, help="Events of each loan.")
@click.option("--rounds", default=15, help="Number of rounds.")
def main(loans: int, events: int, rounds: int) -> None:
    """Measure the core, and print medians and ranges."""
    click.echo(f"core: {native.IMPLEMENTATION}")
    _measure_balance(10_000)
    _measure_portfolio(loans, events, rounds)


def _measure_balance(events: int) -> None:
    source = random.Random(1)
    timeline = native.Timeline.build(
        loan_id=1, version=events, horizon=1, start_day=FIRST, initial=10**9, currency="USD", exponent=2,
        days=sorted(source.randrange(FIRST, FIRST + SPAN) for _ in range(events)),
        kinds=source.choices((native.FEE, native.INTEREST, native.PAYMENT), k=events),
        amounts=[source.randrange(1, 10**6) for _ in range(events)], tx_ids=range(events),
        versions=range(1, events + 1), recorded_at=[0] * events, reverses=[0] * events,
    )  # fmt: skip
    days = [source.randrange(FIRST, FIRST + SPAN) for _ in range(1000)]
    calls = 200
    runs = timeit.repeat(lambda: [timeline.balance_at(day) for day in days], number=calls, repeat=5)
    per_call_us = sorted(run / calls / len(days) * 1e6 for run in runs)
    baseline = statistics.median(timeit.repeat(lambda: [len(days) for _ in days], number=calls, repeat=5))
    ratio = statistics.median(runs) / baseline
    click.echo(
        f"balance_at with {events} events: {per_call_us[0]:.3f} to {per_call_us[-1]:.3f} us, "
        f"{ratio:.1f} times a call of len()"
    )


def _measure_portfolio(loans: int, events: int, rounds: int) -> None:
    source = random.Random(1)
    patterns = [sorted(source.randrange(FIRST, FIRST + SPAN) for _ in range(events)) for _ in range(1009)]
    days = array("i")
    for loan in range(loans):
        days.extend(patterns[loan % len(patterns)])
    columns = {
        "start_days": array("i", [FIRST]) * loans,
        "initials": array("q", [10**6]) * loans,
        "offsets": array("q", range(0, loans * events + 1, events)),
        "days": days,
        "running": array("q", range(loans * events)),
    }
    out = array("q", bytes(8 * loans))
    copy, original = memoryview(array("i", days)), memoryview(days)

    def timed(work) -> float:  # type: ignore[no-untyped-def]
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    def copy_days() -> None:
        copy[:] = original

    ratios: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        copy_s = timed(copy_days)
        for threads, measured in ratios.items():
            kernel_s = timed(lambda t=threads: native.portfolio_balances(DAY, **columns, out=out, threads=t))
            measured.append(kernel_s / copy_s)
    for threads, measured in ratios.items():
        measured.sort()
        click.echo(
            f"{loans} loans x {events} events, {threads} thread(s): {statistics.median(measured):.2f} times copying the"
            f" day column ({measured[0]:.2f} to {measured[-1]:.2f})"
        )


if __name__ == "__main__":
    main()
