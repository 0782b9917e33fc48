"""Compares the portfolio kernel with DuckDB and Polars: the balances of all loans on one day, from rows in memory.

Usage: `python -m tests.bench.portfolio [--loans 1000000] [--events 20] [--rounds 5]`. Requires
tests/bench/requirements.txt. Each round measures all engines in turn. Each engine may use any number of threads. Their
results are compared first. Loading the rows is not measured.
"""

import os
import random
import statistics
import time
from array import array
from collections.abc import Callable
from itertools import chain

import click
import duckdb
import numpy
import polars

import native

DAY, FIRST, SPAN, INITIAL = 18_500, 18_000, 1_000, 10**6
TARGET_RATIO = 5


@click.command()
@click.option("--loans", default=1_000_000, help="Number of loans.")
@click.option("--events", default=20, help="Events of each loan.")
@click.option("--rounds", default=5, help="Number of rounds.")
def main(loans: int, events: int, rounds: int) -> None:
    """Measure all engines, and print times and ratios."""
    days, changes = _build_rows(loans, events)
    engines = {
        f"kernel ({native.IMPLEMENTATION})": _kernel(loans, events, days, changes),
        "DuckDB": _duckdb(loans, events, days, changes),
        "Polars": _polars(loans, events, days, changes),
    }
    kernel, *others = engines
    expected = engines[kernel]()
    for name in others:
        assert numpy.array_equal(engines[name](), expected), name
    times: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name, run in engines.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    for name, seconds in times.items():
        click.echo(f"{name}: {statistics.median(seconds) * 1000:.0f} ms for {loans} loans x {events} events")
    for name in others:
        ratios = sorted(other / own for other, own in zip(times[name], times[kernel], strict=True))
        click.echo(
            f"{name} / kernel: {statistics.median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f}; "
            f"target: at least {TARGET_RATIO} for the faster engine)"
        )


def _build_rows(loans: int, events: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return the day and the signed amount of each event, ordered by loan and day."""
    source = random.Random(1)
    patterns = 1009
    days = [sorted(source.randrange(FIRST, FIRST + SPAN) for _ in range(events)) for _ in range(patterns)]
    changes = [[source.randrange(-1000, 1000) or 1 for _ in range(events)] for _ in range(patterns)]
    repetitions = -(-loans // patterns)
    return (
        numpy.tile(numpy.array(list(chain(*days)), dtype=numpy.int32), repetitions)[: loans * events],
        numpy.tile(numpy.array(list(chain(*changes)), dtype=numpy.int64), repetitions)[: loans * events],
    )


def _kernel(loans: int, events: int, days: numpy.ndarray, changes: numpy.ndarray) -> Callable[[], object]:
    running = INITIAL + changes.reshape(loans, events).cumsum(axis=1).reshape(-1)
    columns = {
        "start_days": array("i", [FIRST]) * loans,
        "initials": array("q", [INITIAL]) * loans,
        "offsets": array("q", range(0, loans * events + 1, events)),
        "days": days,
        "running": running,
    }
    return lambda: native.portfolio_balances(DAY, **columns, threads=os.cpu_count())


def _duckdb(loans: int, events: int, days: numpy.ndarray, changes: numpy.ndarray) -> Callable[[], object]:
    database = duckdb.connect()
    loan_ids = numpy.repeat(numpy.arange(loans, dtype=numpy.int64), events)
    database.register("rows", {"loan_id": loan_ids, "day": days, "change": changes})
    database.execute("CREATE TABLE events AS SELECT * FROM rows")
    database.unregister("rows")
    database.execute(
        f"CREATE TABLE loans AS SELECT range AS loan_id, {FIRST}::int AS start_day, {INITIAL}::bigint AS initial "
        f"FROM range({loans})"
    )
    query = f"""
        SELECT l.loan_id, CASE WHEN l.start_day <= {DAY} THEN l.initial + coalesce(e.change, 0) ELSE 0 END AS balance
        FROM loans AS l
        LEFT JOIN (SELECT loan_id, sum(change)::bigint AS change FROM events WHERE day <= {DAY} GROUP BY loan_id) AS e
        USING (loan_id)
    """

    def run() -> object:
        result = database.execute(query).fetchnumpy()
        balances = numpy.empty(loans, dtype=numpy.int64)
        balances[result["loan_id"]] = result["balance"]
        return balances

    return run


def _polars(loans: int, events: int, days: numpy.ndarray, changes: numpy.ndarray) -> Callable[[], object]:
    loan_ids = numpy.repeat(numpy.arange(loans, dtype=numpy.int64), events)
    rows = polars.DataFrame({"loan_id": loan_ids, "day": days, "change": changes})
    terms = polars.DataFrame(
        {
            "loan_id": numpy.arange(loans, dtype=numpy.int64),
            "start_day": numpy.full(loans, FIRST, dtype=numpy.int32),
            "initial": numpy.full(loans, INITIAL, dtype=numpy.int64),
        }
    )
    plan = (
        terms.lazy()
        .join(
            rows.lazy().filter(polars.col("day") <= DAY).group_by("loan_id").agg(polars.col("change").sum()),
            on="loan_id", how="left", maintain_order="left",
        )
        .select(
            polars.when(polars.col("start_day") <= DAY)
            .then(polars.col("initial") + polars.col("change").fill_null(0))
            .otherwise(0)
            .alias("balance")
        )
    )  # fmt: skip
    return lambda: plan.collect()["balance"].to_numpy()


if __name__ == "__main__":
    main()
