"""The core's own speed: one balance of a long ledger, and a portfolio against copying its day column.

`python -m tests.bench.core [--loans 1000000] [--events 20] [--rounds 15]`. The copy goes into memory that has been
touched; both are timed in turn within each round, so the ratios hold on a machine whose speed drifts.
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
@click.option("--loans", default=1_000_000)
@click.option("--events", default=20)
@click.option("--rounds", default=15)
def main(loans: int, events: int, rounds: int) -> None:
    """Print the measurements with their spread."""
    click.echo(f"core: {native.IMPLEMENTATION}")
    _one_balance(10_000)
    _portfolio(loans, events, rounds)


def _one_balance(events: int) -> None:
    source = random.Random(1)
    timeline = native.Timeline.build(
        loan_id=1, version=events, horizon=1, start_day=FIRST, initial=10**9, currency="USD",
        days=sorted(source.randrange(FIRST, FIRST + SPAN) for _ in range(events)),
        kinds=source.choices((native.FEE, native.INTEREST, native.PAYMENT), k=events),
        amounts=[source.randrange(1, 10**6) for _ in range(events)], tx_ids=range(events),
    )  # fmt: skip
    days = [source.randrange(FIRST, FIRST + SPAN) for _ in range(1000)]
    calls = 200
    runs = timeit.repeat(lambda: [timeline.balance_at(day) for day in days], number=calls, repeat=5)
    each = sorted(run / calls / len(days) * 1e6 for run in runs)
    empty = statistics.median(timeit.repeat(lambda: [len(days) for _ in days], number=calls, repeat=5))
    ratio = statistics.median(runs) / empty
    click.echo(
        f"balance_at with {events} events: {each[0]:.3f} to {each[-1]:.3f} us, {ratio:.1f} times a call of len()"
    )


def _portfolio(loans: int, events: int, rounds: int) -> None:
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
        begun = time.perf_counter()
        work()
        return time.perf_counter() - begun

    def copy_days() -> None:
        copy[:] = original

    ratios: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        copied = timed(copy_days)
        for threads, found in ratios.items():
            taken = timed(lambda t=threads: native.portfolio_balances(DAY, **columns, out=out, threads=t))
            found.append(taken / copied)
    for threads, found in ratios.items():
        found.sort()
        click.echo(
            f"{loans} loans x {events} events, {threads} thread(s): {statistics.median(found):.2f} times copying the"
            f" day column (from {found[0]:.2f} to {found[-1]:.2f})"
        )


if __name__ == "__main__":
    main()
