"""Compares one and two instances of the service, with and without a read replica and a ring of two memcached servers.

Usage: `python -m tests.bench.scale [--seconds 2] [--rounds 5] [--connections 16]`. Requires wrk and memcached.
Each round measures all deployments in turn, over the same rows. An instance is one worker without a local cache, so
each request goes to memcached or Postgres. Two instances are measured at the same time, with half of the connections
each. All processes share the processors of one machine, which are the bottleneck: the ratios show how much processor
time each component costs or saves.
"""

import shutil
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from secrets import token_urlsafe

import click

from service.bulk_load.loader import load
from service.bulk_load.sample import sample_loans
from service.postgres.connect import connect
from service.settings import PostgresSettings, Settings, given_settings
from tests.bench.contender import Contender, running
from tests.bench.ledger import EVENTS, LOANS, balance_path, create_token
from tests.bench.wrk import require_wrk, wrk
from tests.bench.wrk_scripts import InTurn
from tests.fakes.memcached import memcached
from tests.fakes.replica import Server, primary_of_its_own, reaching, replica_of

INSTANCES = 2
POSTERS = (1, 8)
ALONE, REPLICA, RING, BOTH = "primary", "primary, replica", "primary, ring", "primary, replica, ring"


@click.command()
@click.option("--seconds", default=2, help="Duration of each run.")
@click.option("--rounds", default=5, help="Number of rounds.")
@click.option("--connections", default=16, help="Concurrent connections in total.")
def main(seconds: int, rounds: int, connections: int) -> None:
    """Measure each deployment, and print its rate and its ratios to one instance and to the primary alone."""
    require_wrk()
    if shutil.which("memcached") is None:
        sys.exit("memcached is not installed. Run `apt install memcached` or `brew install memcached`.")
    with ExitStack() as stack, ThreadPoolExecutor(INSTANCES) as callers:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        headers = {"Authorization": f"Bearer {create_token(folder)}"}
        primary = stack.enter_context(primary_of_its_own())
        origins = _start_instances(stack, primary, folder)
        paths = [balance_path(loan) for loan in sample_loans(LOANS, EVENTS)]

        def measure(instances: list[str], seconds: int) -> float:
            """Return the total requests per second of the instances."""
            share = connections // len(instances)
            runs = [callers.submit(wrk, origin, InTurn(paths), headers, seconds, share) for origin in instances]
            return sum(run.result().per_s for run in runs)

        rates: dict[tuple[str, int], list[float]] = {}
        for round_ in range(rounds + 1):
            for deployment, instances in origins.items():
                for number in range(1, INSTANCES + 1):
                    per_s = measure(instances[:number], seconds)
                    if round_:  # round 0 opens connections and fills caches
                        rates.setdefault((deployment, number), []).append(per_s)
        _report(rates)
        for posters in POSTERS:
            with ThreadPoolExecutor(posters) as posting:
                posted = sum(posting.map(partial(_post_events, reaching(primary), seconds), range(posters)))
            click.echo(
                f"{posters} connection(s), one event per transaction, without fsync: {posted / seconds:.0f} events/s"
            )


def _post_events(settings: PostgresSettings, seconds: float, number: int) -> int:
    """Post single events in separate transactions, to loans of this connection only, and return their number."""
    with closing(connect(settings, "posting")) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        deadline, posted = time.monotonic() + seconds, 0
        while time.monotonic() < deadline:
            loan = 1 + number + posted * max(POSTERS) % (LOANS - max(POSTERS))
            cursor.execute("SELECT post_events(%s, '{fee}', '{2020-05-01}', '{1}')", ([loan],))
            posted += 1
    return posted


def _start_instances(stack: ExitStack, primary: Server, folder: Path) -> dict[str, list[str]]:
    """Start the instances of each deployment, and return their origins."""
    files = folder / "loans.csv", folder / "events.csv"
    loans = list(sample_loans(LOANS, EVENTS))
    files[0].write_text("".join(loan.loan_row() for loan in loans))
    files[1].write_text("".join(loan.event_rows() for loan in loans))
    with closing(connect(reaching(primary), "posting")) as connection:
        load(connection, *files)
    primary.ask("VACUUM ANALYZE")  # so that autovacuum does not run during a round
    replica = stack.enter_context(replica_of(primary))
    ring = ", ".join(stack.enter_context(memcached()).address for _ in range(2))
    caches: dict[str, object] = {"memcached_servers": ring, "cache_secret": token_urlsafe()}
    deployments = {
        ALONE: ((primary,), {}), REPLICA: ((primary, replica), {}),
        RING: ((primary,), caches), BOTH: ((primary, replica), caches),
    }  # fmt: skip
    origins: dict[str, list[str]] = {}
    for name, (servers, overrides) in deployments.items():
        shared = given_settings(Settings(postgres=reaching(*servers)))
        shared |= {"keys_dir": str(folder), "workers": 1, "cache_bytes": 0}
        for number in range(INSTANCES):
            contender = Contender(f"{name} {number}", [], overrides)
            log = folder / f"{contender.name}.log"
            origins.setdefault(name, []).append(stack.enter_context(running(contender, shared, log)).origin)
    return origins


def _report(rates: dict[tuple[str, int], list[float]]) -> None:
    for (deployment, number), measured in rates.items():
        to_one, to_alone = (_format_ratios(measured, rates[key]) for key in ((deployment, 1), (ALONE, number)))
        click.echo(
            f"{number} x ({deployment}): {statistics.median(measured):.0f} requests/s; "
            f"{to_one} times one instance; {to_alone} times the primary alone"
        )


def _format_ratios(rates: list[float], references: list[float]) -> str:
    ratios = sorted(rate / reference for rate, reference in zip(rates, references, strict=True))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


if __name__ == "__main__":
    main()
