"""Compares partitioned ledger tables with unpartitioned ones: reading a loan, posting to it, and partitioning itself.

Usage: `python -m tests.bench.partitions [--loans 50000] [--events-per-loan 20] [--rounds 5] [--parts 4 ...]`.
Each round measures all databases in turn. They contain the same rows, and one connection queries Postgres directly.
"""

import random
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import click

from service.bulk_load.loader import load
from service.bulk_load.sample import write_sample
from service.ledger.repository import PostgresLedger
from service.postgres.connect import connect
from service.postgres.migrate import migrate
from service.postgres.pool import ConnectionPool
from service.settings import PostgresSettings
from service.standalone.embedded_postgres import EmbeddedPostgres
from service.standalone.environment import create_database, create_users, settings_of

CALLS = 300  # of each operation in a round
UNPARTITIONED = 1


@click.command()
@click.option("--loans", default=50_000, help="Number of loans.")
@click.option("--events-per-loan", default=20, help="Events of each loan.")
@click.option("--rounds", default=5, help="Number of rounds.")
@click.option(
    "--parts", multiple=True, default=(4, 16, 64), type=click.IntRange(2, 256), help="Number of partitions; repeatable."
)
def main(loans: int, events_per_loan: int, rounds: int, parts: tuple[int, ...]) -> None:
    """Measure each number of partitions, and print the ratios to unpartitioned tables."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        folder.chmod(0o755)
        files = folder / "loans.csv", folder / "events.csv"
        write_sample(*files, loans, events_per_loan)
        postgres = EmbeddedPostgres(folder / "postgres")
        postgres.start()
        try:
            databases = {number: _create_database(postgres, number, files) for number in (UNPARTITIONED, *parts)}
            for name, build in (("read", _build_read), ("post", _build_post)):
                _compare(name, {number: build(settings, loans) for number, settings in databases.items()}, rounds)
        finally:
            postgres.stop()


def _create_database(postgres: EmbeddedPostgres, parts: int, files: tuple[Path, Path]) -> PostgresSettings:
    name = f"parts{parts}"
    create_database(postgres, name)
    settings = settings_of(postgres).replace(database=name)
    migrate(settings)
    create_users(settings, postgres)
    with closing(connect(settings, "posting")) as connection:
        events = load(connection, *files).events
    if parts != UNPARTITIONED:
        start = time.perf_counter()
        migrate(settings, parts)
        click.echo(f"partitioned {events} events into {parts} parts in {time.perf_counter() - start:.1f} s")
    return settings


def _build_read(settings: PostgresSettings, loans: int) -> Callable[[], None]:
    ledger = PostgresLedger(ConnectionPool(settings))
    return lambda: _repeat(lambda: ledger.timelines([random.randint(1, loans)]))


def _build_post(settings: PostgresSettings, loans: int) -> Callable[[], None]:
    connection = connect(settings, "posting")
    connection.autocommit = True
    cursor = connection.cursor()
    event = "'{fee}', '{2020-05-01}', '{1}', '{NULL}', '{NULL}'"
    posting = f"SELECT post_events_once(NULL, NULL, '2020-12-31', %s, {event})"
    return lambda: _repeat(lambda: cursor.execute(posting, (random.randint(1, loans),)))


def _repeat(operation: Callable[[], object]) -> None:
    for _ in range(CALLS):
        operation()


def _compare(name: str, operations: dict[int, Callable[[], None]], rounds: int) -> None:
    times: dict[int, list[float]] = {number: [] for number in operations}
    for round_ in range(rounds + 1):
        for number, operation in operations.items():
            start = time.perf_counter()
            operation()
            if round_:  # round 0 warms up
                times[number].append(time.perf_counter() - start)
    for number, seconds in times.items():
        ratios = sorted(part / whole for part, whole in zip(seconds, times[UNPARTITIONED], strict=True))
        click.echo(
            f"{name}, {number} partition(s): {statistics.median(seconds) / CALLS * 1e6:.0f} us, "
            f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) times unpartitioned"
        )


if __name__ == "__main__":
    main()
