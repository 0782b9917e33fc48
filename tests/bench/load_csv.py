"""Compares loading a million events with psql's \\copy of the same file into an equal table without triggers.

Usage: `python -m tests.bench.load_csv [--loans 50000] [--events-per-loan 20] [--rounds 3]`.
The baseline's table has all keys and indexes of loan_events, including the foreign key.
"""

import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path

import click

from service.bulk_load.loader import load
from service.bulk_load.sample import write_sample
from service.postgres.connect import connect
from service.postgres.migrate import migrate
from service.standalone.embedded_postgres import HOST, SUPERUSER, EmbeddedPostgres, find_binaries
from service.standalone.environment import create_database, settings_of

_BASELINE = """
    CREATE SEQUENCE bench_version;
    CREATE TABLE bench_events (LIKE loan_events INCLUDING ALL,
                               FOREIGN KEY (loan_id) REFERENCES loans);
    ALTER TABLE bench_events ALTER version SET DEFAULT nextval('bench_version'),
                             ALTER recorded_at SET DEFAULT now();
"""


@click.command()
@click.option("--loans", default=50_000, help="Number of loans.")
@click.option("--events-per-loan", default=20, help="Events of each loan.")
@click.option("--rounds", default=3, help="Number of rounds.")
def main(loans: int, events_per_loan: int, rounds: int) -> None:
    """Measure both in each round, and print the times and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        loans_file, events_file = folder / "loans.csv", folder / "events.csv"
        write_sample(loans_file, events_file, loans, events_per_loan)
        postgres = EmbeddedPostgres(folder / "postgres")
        postgres.start()
        try:
            ratios = [_measure_round(postgres, number, loans_file, events_file) for number in range(rounds)]
        finally:
            postgres.stop()
    ratios.sort()
    click.echo(f"load / \\copy: median {ratios[len(ratios) // 2]:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


def _measure_round(postgres: EmbeddedPostgres, number: int, loans_file: Path, events_file: Path) -> float:
    database = f"bench{number}"
    create_database(postgres, database)
    settings = settings_of(postgres).replace(database=database)
    migrate(settings)
    with closing(connect(settings, "admin")) as connection:
        start = time.perf_counter()
        load(connection, loans_file, events_file)
        load_s = time.perf_counter() - start
        with connection, connection.cursor() as cursor:
            cursor.execute(_BASELINE)
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM loan_events")
            (events,) = cursor.fetchone() or (0,)
    start = time.perf_counter()
    subprocess.run(
        [
            str(find_binaries() / "psql"), "-q", "-v", "ON_ERROR_STOP=1", "-h", HOST, "-p", str(postgres.port),
            "-U", SUPERUSER, "-d", database,
            "-c", f"\\copy bench_events (loan_id, event_type, post_date, amt) from '{events_file}' with (format csv)",
        ],
        check=True,
        env={"PGPASSWORD": postgres.secret(SUPERUSER)},
    )  # fmt: skip
    copy_s = time.perf_counter() - start
    click.echo(f"{events} events: load {load_s:.1f} s, \\copy {copy_s:.1f} s, ratio {load_s / copy_s:.2f}")
    return load_s / copy_s


if __name__ == "__main__":
    main()
