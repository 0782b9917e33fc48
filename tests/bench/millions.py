"""Compares many connections with one, over a ledger of millions of events: all of its loans, and a tenth of them.

Usage: `python -m tests.bench.millions [--loans 1000000] [--events-per-loan 20] [--connections 1500] [--seconds 10]
[--rounds 3] [--workers 2] [--cache-bytes N]`. Requires wrk and Linux. Each round measures all cases in turn, with
loans drawn at random. wrk, the service and PostgreSQL share the processors of one machine; the report states the share
of each. PostgreSQL runs without fsync, and otherwise with its default settings.
"""

import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click

from service.postgres.connect import connect
from service.postgres.migrate import migrate
from service.settings import PROCESSORS, CacheSettings, PostgresSettings, Settings, given_settings
from service.standalone.embedded_postgres import EmbeddedPostgres
from service.standalone.environment import create_database, create_users, settings_of
from tests.bench.contender import Contender, RunningServer, running
from tests.bench.ledger import create_token
from tests.bench.machine import cpu_s, describe_machine
from tests.bench.wrk import Run, require_wrk, wrk
from tests.bench.wrk_scripts import RandomLoans
from tests.support.clusters import QUICK
from tests.support.filled_ledger import LAST_DAY, fill

LOANS_PER_TRANSACTION = 20_000
HOT_SHARE = 10  # one loan in so many is hot
WARM_UP_S = 3
IDLE_CHECK_S = 0.5


@dataclass(frozen=True)
class Measurement:
    """A run, and the processor time that its processes used.

    Args:
        run: The run.
        service_cpu_s: The processor time of the service.
        postgres_cpu_s: The processor time of PostgreSQL.
    """

    run: Run
    service_cpu_s: float
    postgres_cpu_s: float


@click.command()
@click.option("--loans", default=1_000_000, help="Number of loans.")
@click.option("--events-per-loan", default=20, help="Events of each loan.")
@click.option("--connections", default=1_500, help="Concurrent connections, compared with one.")
@click.option("--seconds", default=10, help="Duration of each run.")
@click.option("--rounds", default=3, help="Number of rounds.")
@click.option("--workers", default=min(PROCESSORS, 2), help="Worker processes of the service.")
@click.option("--cache-bytes", default=CacheSettings().size_bytes, help="CACHE_BYTES of the service.")
def main(
    loans: int, events_per_loan: int, connections: int, seconds: int, rounds: int, workers: int, cache_bytes: int
) -> None:
    """Fill a ledger, measure each case, and print rates and latencies."""
    require_wrk()
    click.echo(describe_machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        headers = {"Authorization": f"Bearer {create_token(folder)}"}
        postgres = EmbeddedPostgres(folder / "postgres", QUICK)
        postgres.start()
        try:
            reach = _fill(postgres, loans, events_per_loan)
            # The queue holds a request of each connection, so that none is refused with 503.
            overrides = {"workers": workers, "cache_bytes": cache_bytes, "queue_size": connections}
            contender = Contender("service", [], overrides)
            shared = given_settings(Settings(postgres=reach)) | {"keys_dir": str(folder)}
            with running(contender, shared, folder / "log") as server:
                measured = _measure(server, postgres, headers, loans, (1, connections), seconds, rounds)
        finally:
            postgres.stop()
    click.echo(
        f"{workers} workers, each with {cache_bytes / 1e6:.0f} MB of cache and a queue of {connections}; "
        f"{rounds} rounds of {seconds} s"
    )
    _report(measured, loans)


def _fill(postgres: EmbeddedPostgres, loans: int, events_per_loan: int) -> PostgresSettings:
    """Create the ledger, and return settings that reach it."""
    create_database(postgres, "loaner")
    settings = settings_of(postgres)
    migrate(settings)
    create_users(settings, postgres)
    begun = time.monotonic()

    def fill_part(first: int) -> None:
        with closing(connect(settings, "admin")) as connection:
            fill(connection, first, min(first + LOANS_PER_TRANSACTION - 1, loans), events_per_loan)

    with ThreadPoolExecutor(PROCESSORS) as pool:
        list(pool.map(fill_part, range(1, loans + 1, LOANS_PER_TRANSACTION)))
    with closing(connect(settings, "admin")) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("SET statement_timeout = 0")
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("SELECT count(*), pg_database_size(current_database()) FROM loan_events")
        ((events, size),) = cursor.fetchall()
    took_s = time.monotonic() - begun
    click.echo(f"{events} events of {loans} loans, {size / 1e9:.1f} GB with indexes, written in {took_s:.0f} s")
    return settings


def _measure(
    server: RunningServer,
    postgres: EmbeddedPostgres,
    headers: dict[str, str],
    loans: int,
    numbers: tuple[int, ...],
    seconds: int,
    rounds: int,
) -> dict[tuple[int, int], list[Measurement]]:
    """Return the measurements by the number of loans and of connections."""
    postmaster = int((postgres.data / "postmaster.pid").read_text().split()[0])
    measured: dict[tuple[int, int], list[Measurement]] = {}
    for _ in range(rounds):
        for drawn in (loans, loans // HOT_SHARE):
            requests = RandomLoans(drawn, LAST_DAY)
            for connections in numbers:
                threads = min(2, connections)
                wrk(server.origin, requests, headers, WARM_UP_S, connections, threads=threads)
                _wait_until_idle(server)
                before = cpu_s(server.pid), cpu_s(postmaster)
                run = wrk(server.origin, requests, headers, seconds, connections, threads=threads)
                after = cpu_s(server.pid), cpu_s(postmaster)
                _wait_until_idle(server)
                measured.setdefault((drawn, connections), []).append(
                    Measurement(run, after[0] - before[0], after[1] - before[1])
                )
    return measured


def _wait_until_idle(server: RunningServer) -> None:
    """Wait until the requests that were under way when wrk ended are handled."""
    while True:
        before_s = cpu_s(server.pid)
        time.sleep(IDLE_CHECK_S)
        if cpu_s(server.pid) - before_s < IDLE_CHECK_S / 10:
            return


def _report(measured: dict[tuple[int, int], list[Measurement]], loans: int) -> None:
    for (drawn, connections), found in measured.items():
        per_s, p50_ms, p99_ms = (
            statistics.median(getattr(each.run, field) for each in found) for field in ("per_s", "p50_ms", "p99_ms")
        )
        of = "all loans" if drawn == loans else f"a hot tenth ({drawn} loans)"
        shares = ", ".join(
            f"{name} {statistics.median(share):.0%}"
            for name, share in (
                ("wrk", [_share(each, each.run.wrk_cpu_s) for each in found]),
                ("service", [_share(each, each.service_cpu_s) for each in found]),
                ("PostgreSQL", [_share(each, each.postgres_cpu_s) for each in found]),
            )
        )
        click.echo(
            f"{of}, {connections} connection(s): {per_s:.0f} requests/s, p50 {p50_ms:.2f} ms, p99 {p99_ms:.1f} ms; "
            f"processors: {shares}"
        )


def _share(measurement: Measurement, used_s: float) -> float:
    """Return the share of the time of all processors."""
    return used_s / (measurement.run.seconds * (os.cpu_count() or 1))


if __name__ == "__main__":
    main()
