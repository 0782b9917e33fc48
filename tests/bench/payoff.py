"""Compares the kernel of payoffs with DuckDB and Polars, and with the kernel of balances, on one day.

Usage: `python -m tests.bench.payoff [--loans 1000000] [--events 24] [--installments 24] [--rounds 5]`. Requires
tests/bench/requirements.txt. Each round measures all engines in turn. Each engine may use any number of threads. Their
parts, uncharged interest, payoffs, past-due amounts and days are compared first, to the minor unit. Loading the rows is
not measured.

DuckDB and Polars have no sequential allocation, so they use its closed form. What a part still owes is a running sum
less its running minimum below zero, and that minimum is what passes on to the next part. The rows have what keeps this
form simple: ACT/365F, one order of allocation, one schedule, and no reversals. The kernel has no advantage from that.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import click
import duckdb
import numpy
import polars

import native
from tests.bench.targets import Target

DAY, FIRST, INITIAL, RATE, GRACE_DAYS = 18_500, 18_000, 10**7, 7_500_000, 5
DENOMINATOR = 365 * native.RATE_SCALE
COLUMNS = ("fees", "interest", "principal", "uncharged", "total", "past_due", "days_past_due")
KERNEL, BALANCES = f"payoff kernel ({native.IMPLEMENTATION})", "balance kernel"
TARGETS = [
    *(Target(f"{name} / payoff kernel", name, KERNEL, "seconds", 5) for name in ("DuckDB", "Polars")),
    Target("payoff kernel / balance kernel", KERNEL, BALANCES, "seconds", 10, less_is_better=True),
]
Engine = Callable[[], list[numpy.ndarray]]


@dataclass(frozen=True)
class Rows:
    """The rows of all loans, ordered by loan and day."""

    loans: int
    days: numpy.ndarray
    kinds: numpy.ndarray
    changes: numpy.ndarray
    rates: numpy.ndarray
    due_days: numpy.ndarray
    amounts: numpy.ndarray

    @property
    def events(self) -> int:
        return len(self.days) // self.loans

    @property
    def installments(self) -> int:
        return len(self.due_days) // self.loans


@dataclass(frozen=True)
class Run:
    seconds: float


@click.command()
@click.option("--loans", default=1_000_000, help="Number of loans.")
@click.option("--events", default=24, help="Events of each loan.")
@click.option("--installments", default=24, help="Installments of each loan.")
@click.option("--rounds", default=5, help="Number of rounds.")
def main(loans: int, events: int, installments: int, rounds: int) -> None:
    """Measure all engines, and print times and ratios."""
    rows = _build_rows(loans, events, installments)
    kernel, balances = _kernels(rows)
    engines = {KERNEL: kernel, "DuckDB": _duckdb(rows), "Polars": _polars(rows)}
    expected = kernel()
    for name, engine in engines.items():
        for column, ours, theirs in zip(COLUMNS, expected, engine(), strict=True):
            assert numpy.array_equal(ours, theirs), (name, column)
    measured: dict[str, list[Run]] = {name: [] for name in (*engines, BALANCES)}
    for _ in range(rounds):
        for name, run in {**engines, BALANCES: balances}.items():
            start = time.perf_counter()
            run()
            measured[name].append(Run(time.perf_counter() - start))
    for name, runs in measured.items():
        milliseconds = sorted(run.seconds * 1000 for run in runs)
        click.echo(
            f"{name}: {milliseconds[0]:.0f} to {milliseconds[-1]:.0f} ms for {loans} loans x {events} events and "
            f"{installments} installments"
        )
    for target in TARGETS:
        target.report(measured)


def _build_rows(loans: int, events: int, installments: int) -> Rows:
    source = numpy.random.default_rng(1)
    kinds = source.choice(numpy.array([1, 2, 3], dtype=numpy.uint8), loans * events, p=[0.1, 0.45, 0.45])
    amounts = source.integers(1, 500_000, loans * events)
    days = source.integers(FIRST + 1, FIRST + 1000, (loans, events), dtype=numpy.int32)
    days.sort(axis=1)
    due_days = numpy.arange(installments, dtype=numpy.int32) * (1000 // max(1, installments)) + FIRST + 30
    return Rows(
        loans=loans,
        days=days.reshape(-1),
        kinds=kinds,
        changes=numpy.where(kinds == 3, -amounts, amounts // 10 + 1),
        rates=source.integers(1, 2 * RATE, loans, dtype=numpy.uint32),
        due_days=numpy.tile(due_days, loans),
        amounts=source.integers(1, 400_000, loans * installments),
    )


def _kernels(rows: Rows) -> tuple[Engine, Callable[[], object]]:
    loans = rows.loans
    running = (INITIAL + rows.changes.reshape(loans, rows.events).cumsum(axis=1)).reshape(-1)
    columns = {
        "start_days": numpy.full(loans, FIRST, numpy.int32),
        "initials": numpy.full(loans, INITIAL),
        "offsets": numpy.arange(loans + 1) * rows.events,
        "days": rows.days,
        "running": running,
    }
    others = {
        "kinds": rows.kinds,
        "links": numpy.zeros(len(rows.days), numpy.uint32),
        "term_offsets": numpy.arange(loans + 1),
        "term_days": numpy.full(loans, FIRST, numpy.int32),
        "rates": rows.rates,
        "grace_days": numpy.full(loans, GRACE_DAYS, numpy.uint32),
        "day_counts": numpy.zeros(loans, numpy.uint8),
        "allocations": numpy.zeros(loans, numpy.uint8),
        "schedule_offsets": numpy.arange(loans + 1),
        "schedule_days": numpy.full(loans, FIRST, numpy.int32),
        "ends": numpy.full(loans, rows.installments, numpy.uint32),
        "installment_offsets": numpy.arange(loans + 1) * rows.installments,
        "amounts": rows.amounts,
        "due_days": rows.due_days,
    }

    def payoffs() -> list[numpy.ndarray]:
        found = native.portfolio_payoffs(DAY, **columns, **others, threads=os.cpu_count())
        assert not any(found.overflows)
        parts = numpy.asarray(found.parts).reshape(loans, 3)
        return [*parts.T, *map(numpy.asarray, found[1:5])]

    return payoffs, lambda: native.portfolio_balances(DAY, **columns, threads=os.cpu_count())


def _duckdb(rows: Rows) -> Engine:
    database = duckdb.connect()
    for name, table in _tables(rows).items():
        database.register("rows", table)
        database.execute(f"CREATE TABLE {name} AS SELECT * FROM rows")
        database.unregister("rows")
    window = "(PARTITION BY loan_id ORDER BY number ROWS UNBOUNDED PRECEDING)"
    query = f"""
        WITH dated AS (
            SELECT loan_id, number, day,
                   sum(CASE WHEN kind <> 2 THEN change ELSE 0 END) OVER {window} AS fee_sum,
                   sum(CASE WHEN kind = 2 THEN change ELSE 0 END) OVER {window} AS charged,
                   lead(day, 1, {DAY}) OVER (PARTITION BY loan_id ORDER BY number) AS next_day
            FROM events WHERE day <= {DAY}
        ), after_fees AS (
            SELECT *, -least(0, min(fee_sum) OVER {window}) AS passed FROM dated
        ), after_interest AS (
            SELECT *, least(0, min(charged - passed) OVER {window}) AS paid FROM after_fees
        ), walked AS (
            SELECT loan_id, min(day) AS first_day,
                   (arg_max(fee_sum + passed, number))::bigint AS fees,
                   (arg_max(charged - passed - paid, number))::bigint AS interest,
                   (arg_max(paid, number))::bigint AS paid,
                   (arg_max(charged, number))::bigint AS charged,
                   (arg_max(passed, number))::bigint AS satisfying,
                   (sum(greatest(0, {INITIAL} + paid)::bigint * (next_day - day)))::bigint AS weight
            FROM after_interest GROUP BY loan_id
        ), summed AS (
            SELECT loan_id, due_day, amount, sum(amount) OVER {window} AS through
            FROM installments WHERE due_day < {DAY}
        ), late AS (
            SELECT s.loan_id, {DAY} - min(due_day) AS days,
                   (max(through) - max(coalesce(w.satisfying, 0)))::bigint AS past_due
            FROM summed AS s LEFT JOIN walked AS w USING (loan_id)
            WHERE through > coalesce(w.satisfying, 0) GROUP BY s.loan_id
        ), owed AS (
            SELECT l.loan_id, coalesce(fees, 0) AS fees, coalesce(interest, 0) AS interest,
                   {INITIAL} + coalesce(paid, 0) AS principal, coalesce(charged, 0) AS charged,
                   (coalesce(weight, 0) + {INITIAL}::bigint * (coalesce(first_day, {DAY}) - {FIRST})) * rate AS accrued,
                   days, past_due
            FROM loans AS l LEFT JOIN walked USING (loan_id) LEFT JOIN late USING (loan_id)
        ), whole AS (
            SELECT *, fees + interest + principal AS balance, accrued // {DENOMINATOR} AS floor,
                   2 * (accrued % {DENOMINATOR}) AS twice
            FROM owed
        ), settled AS (
            SELECT *, balance - charged + floor AS lower FROM whole
        ), rounded AS (
            SELECT *, lower + (twice > {DENOMINATOR} OR (twice = {DENOMINATOR} AND lower % 2 <> 0))::bigint AS total
            FROM settled
        )
        SELECT fees, interest, principal, total - balance AS uncharged, total,
               CASE WHEN days > {GRACE_DAYS} AND total > 0 THEN least(past_due, total) ELSE 0 END AS past_due,
               CASE WHEN days > {GRACE_DAYS} AND total > 0 THEN days ELSE 0 END AS days_past_due, loan_id
        FROM rounded
    """

    def run() -> list[numpy.ndarray]:
        result = database.execute(query).fetchnumpy()
        found = []
        for name in COLUMNS:
            column = numpy.empty(rows.loans, dtype=numpy.int64)
            column[result["loan_id"]] = result[name]
            found.append(column)
        return found

    return run


def _polars(rows: Rows) -> Engine:
    loans, events, installments = (polars.DataFrame(table).lazy() for table in _tables(rows).values())
    col, lit = polars.col, polars.lit

    def over(expression: polars.Expr) -> polars.Expr:
        return expression.over("loan_id")

    def last(name: str) -> polars.Expr:
        return col(name).last()

    change = col("change")
    walked = (
        events.filter(col("day") <= DAY)
        .with_columns(
            fee_sum=over(polars.when(col("kind") != 2).then(change).otherwise(0).cum_sum()),
            charged=over(polars.when(col("kind") == 2).then(change).otherwise(0).cum_sum()),
            next_day=over(col("day").shift(-1, fill_value=DAY)),
        )
        .with_columns(passed=-polars.min_horizontal(over(col("fee_sum").cum_min()), lit(0)))
        .with_columns(owed=col("charged") - col("passed"))
        .with_columns(paid=polars.min_horizontal(over(col("owed").cum_min()), lit(0)))
        .group_by("loan_id")
        .agg(
            first_day=col("day").first(),
            fees=last("fee_sum") + last("passed"),
            interest=last("owed") - last("paid"),
            paid=last("paid"),
            charged=last("charged"),
            satisfying=last("passed"),
            weight=(
                polars.max_horizontal(INITIAL + col("paid"), lit(0)) * (col("next_day") - col("day")).cast(polars.Int64)
            ).sum(),
        )
    )
    late = (
        installments.filter(col("due_day") < DAY)
        .with_columns(through=over(col("amount").cum_sum()))
        .join(walked.select("loan_id", "satisfying"), on="loan_id", how="left")
        .filter(col("through") > col("satisfying").fill_null(0))
        .group_by("loan_id")
        .agg(
            days=DAY - col("due_day").min(),
            past_due=col("through").max() - col("satisfying").max().fill_null(0),
        )
    )
    counted = (col("days") > GRACE_DAYS) & (col("total") > 0)
    days_before = (col("first_day").fill_null(DAY) - FIRST).cast(polars.Int64)
    plan = (
        loans.join(walked, on="loan_id", how="left", maintain_order="left")
        .join(late, on="loan_id", how="left", maintain_order="left")
        .with_columns(
            col("fees").fill_null(0),
            col("interest").fill_null(0),
            principal=INITIAL + col("paid").fill_null(0),
            accrued=(col("weight").fill_null(0) + INITIAL * days_before) * col("rate"),
        )
        .with_columns(
            balance=col("fees") + col("interest") + col("principal"),
            twice=2 * (col("accrued") % DENOMINATOR),
        )
        .with_columns(lower=col("balance") - col("charged").fill_null(0) + col("accrued") // DENOMINATOR)
        .with_columns(
            total=col("lower")
            + ((col("twice") > DENOMINATOR) | ((col("twice") == DENOMINATOR) & (col("lower") % 2 != 0))).cast(
                polars.Int64
            )
        )
        .select(
            "fees",
            "interest",
            "principal",
            (col("total") - col("balance")).alias("uncharged"),
            "total",
            polars.when(counted).then(polars.min_horizontal("past_due", "total")).otherwise(0).alias("past_due"),
            polars.when(counted).then("days").otherwise(0).alias("days_past_due"),
        )
    )

    def run() -> list[numpy.ndarray]:
        result = plan.collect()
        return [result[name].to_numpy() for name in COLUMNS]

    return run


def _tables(rows: Rows) -> dict[str, dict[str, numpy.ndarray]]:
    """Return the rows as tables of loans, events and installments."""
    loan_ids = numpy.arange(rows.loans, dtype=numpy.int64)
    return {
        "loans": {"loan_id": loan_ids, "rate": rows.rates.astype(numpy.int64)},
        "events": {
            "loan_id": loan_ids.repeat(rows.events),
            "number": numpy.tile(numpy.arange(rows.events), rows.loans),
            "day": rows.days,
            "kind": rows.kinds,
            "change": rows.changes,
        },
        "installments": {
            "loan_id": loan_ids.repeat(rows.installments),
            "number": numpy.tile(numpy.arange(rows.installments), rows.loans),
            "due_day": rows.due_days,
            "amount": rows.amounts,
        },
    }


if __name__ == "__main__":
    main()
