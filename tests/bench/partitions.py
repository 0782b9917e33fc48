"""The ledger's tables in parts against whole ones: reading a loan, posting to one, and splitting tables that have rows.

`python -m tests.bench.partitions [--loans 50000] [--events-per-loan 20] [--rounds 5] [--parts 4 ...]`. Databases of the
same rows are timed in turn within each round, straight on Postgres, by one connection.
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

TIMES = 300  # of each thing in a round
WHOLE = 1


@click.command()
@click.option("--loans", default=50_000)
@click.option("--events-per-loan", default=20)
@click.option("--rounds", default=5)
@click.option("--parts", multiple=True, default=(4, 16, 64), type=click.IntRange(2, 256))
def main(loans: int, events_per_loan: int, rounds: int, parts: tuple[int, ...]) -> None:
    """Print the ratios of parts to the whole, with their spread."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        files = folder / "loans.csv", folder / "events.csv"
        write_sample(*files, loans, events_per_loan)
        postgres = EmbeddedPostgres(folder / "postgres")
        postgres.start()
        try:
            databases = {number: _database(postgres, number, files) for number in (WHOLE, *parts)}
            for what, doing in (("read", _read), ("post", _post)):
                _compare(what, {number: doing(chosen, loans) for number, chosen in databases.items()}, rounds)
        finally:
            postgres.stop()


def _database(postgres: EmbeddedPostgres, parts: int, files: tuple[Path, Path]) -> PostgresSettings:
    name = f"parts{parts}"
    create_database(postgres, name)
    settings = settings_of(postgres).replace(database=name)
    migrate(settings)
    create_users(settings, postgres)
    with closing(connect(settings, "posting")) as connection:
        events = load(connection, *files).events
    if parts != WHOLE:
        begun = time.perf_counter()
        migrate(settings, parts)
        click.echo(f"{events} events were split into {parts} parts in {time.perf_counter() - begun:.1f} s")
    return settings


def _read(settings: PostgresSettings, loans: int) -> Callable[[], None]:
    ledger = PostgresLedger(ConnectionPool(settings))
    return lambda: _do(lambda: ledger.timelines([random.randint(1, loans)]))


def _post(settings: PostgresSettings, loans: int) -> Callable[[], None]:
    connection = connect(settings, "posting")
    connection.autocommit = True
    cursor = connection.cursor()
    event = "'{fee}', '{2020-05-01}', '{1}', '{NULL}', '{NULL}'"
    posting = f"SELECT post_events_once(NULL, NULL, '2020-12-31', %s, {event})"
    return lambda: _do(lambda: cursor.execute(posting, (random.randint(1, loans),)))


def _do(act: Callable[[], object]) -> None:
    for _ in range(TIMES):
        act()


def _compare(what: str, doing: dict[int, Callable[[], None]], rounds: int) -> None:
    took: dict[int, list[float]] = {number: [] for number in doing}
    for turn in range(rounds + 1):
        for number, act in doing.items():
            begun = time.perf_counter()
            act()
            if turn:  # the first one warms up
                took[number].append(time.perf_counter() - begun)
    for number, seconds in took.items():
        ratios = sorted(one / whole for one, whole in zip(seconds, took[WHOLE], strict=True))
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        click.echo(
            f"{what} from {number} part(s): {statistics.median(seconds) / TIMES * 1e6:.0f} us, {spread} of whole"
        )


if __name__ == "__main__":
    main()
