"""One instance of the service and two, with and without a replica to read from and a ring of two memcacheds.

`python -m tests.bench.scale [--seconds 2] [--rounds 5] [--connections 16]`; needs wrk and memcached. Everything is
timed in turn within each round, over the same rows. An instance is one worker, which keeps nothing itself, so that each
question goes to memcached or Postgres; two are asked at once, with half of the connections each. All of them share the
processors of one machine: that is what limits, and the ratios tell what each part costs or saves of it.
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
from tests.bench.http import token_of
from tests.bench.ledger import EVENTS, LOANS, path_of
from tests.bench.wrk import wrk
from tests.fakes.memcached import memcached
from tests.fakes.replica import Server, primary_of_its_own, reaching, replica_of

INSTANCES = 2
POSTERS = (1, 8)
ALONE, REPLICA, RING, BOTH = "primary", "primary, replica", "primary, ring", "primary, replica, ring"


@click.command()
@click.option("--seconds", default=2, help="of each run")
@click.option("--rounds", default=5)
@click.option("--connections", default=16)
def main(seconds: int, rounds: int, connections: int) -> None:
    """Print the rates, and the ratios of two instances to one and of each place to the primary alone."""
    for program in ("wrk", "memcached"):
        if shutil.which(program) is None:
            sys.exit(f"{program} is not there: apt install {program}, or brew install {program}")
    with ExitStack() as stack, ThreadPoolExecutor(INSTANCES) as callers:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        headers = {"Authorization": f"Bearer {token_of(folder)}"}
        primary = stack.enter_context(primary_of_its_own())
        origins = _started(stack, primary, folder)
        paths = [path_of(loan) for loan in sample_loans(LOANS, EVENTS)]

        def rate(asked: list[str], seconds: int) -> float:
            """Requests per second of these together."""
            share = connections // len(asked)
            runs = [callers.submit(wrk, origin, paths, headers, seconds, share) for origin in asked]
            return sum(run.result().per_s for run in runs)

        found: dict[tuple[str, int], list[float]] = {}
        for turn in range(rounds + 1):
            for place, instances in origins.items():
                for number in range(1, INSTANCES + 1):
                    per_s = rate(instances[:number], seconds)
                    if turn:  # the first one opens connections and fills caches
                        found.setdefault((place, number), []).append(per_s)
        _report(found)
        for posters in POSTERS:
            with ThreadPoolExecutor(posters) as posting:
                posted = sum(posting.map(partial(_posted, reaching(primary), seconds), range(posters)))
            click.echo(
                f"{posters} connection(s) that post one event at a time, without a disk: {posted / seconds:.0f}/s"
            )


def _posted(settings: PostgresSettings, seconds: float, number: int) -> int:
    """How many events one connection posts, each in a transaction of its own, to loans that nobody else posts to."""
    with closing(connect(settings, "posting")) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        until, posted = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            loan = 1 + number + posted * max(POSTERS) % (LOANS - max(POSTERS))
            cursor.execute("SELECT post_events(%s, '{fee}', '{2020-05-01}', '{1}')", ([loan],))
            posted += 1
    return posted


def _started(stack: ExitStack, primary: Server, folder: Path) -> dict[str, list[str]]:
    """Where the instances listen, by what they have behind them."""
    files = folder / "loans.csv", folder / "events.csv"
    loans = list(sample_loans(LOANS, EVENTS))
    files[0].write_text("".join(loan.loan_row() for loan in loans))
    files[1].write_text("".join(loan.event_rows() for loan in loans))
    with closing(connect(reaching(primary), "posting")) as connection:
        load(connection, *files)
    primary.ask("VACUUM ANALYZE")  # now, and not in the middle of a round
    replica = stack.enter_context(replica_of(primary))
    ring = ", ".join(stack.enter_context(memcached()).address for _ in range(2))
    caches: dict[str, object] = {"memcached_servers": ring, "cache_secret": token_urlsafe()}
    places = {
        ALONE: ((primary,), {}), REPLICA: ((primary, replica), {}),
        RING: ((primary,), caches), BOTH: ((primary, replica), caches),
    }  # fmt: skip
    origins: dict[str, list[str]] = {}
    for name, (servers, overrides) in places.items():
        reach = given_settings(Settings(postgres=reaching(*servers)))
        reach |= {"keys_dir": str(folder), "workers": 1, "cache_bytes": 0}
        for number in range(INSTANCES):
            contender = Contender(f"{name} {number}", [], overrides)
            log = folder / f"{contender.name}.log"
            origins.setdefault(name, []).append(stack.enter_context(running(contender, reach, log)))
    return origins


def _report(found: dict[tuple[str, int], list[float]]) -> None:
    for (place, number), rates in found.items():
        to_one, to_alone = (_ratios(rates, found[key]) for key in ((place, 1), (ALONE, number)))
        click.echo(
            f"{number} x ({place}): {statistics.median(rates):.0f} requests/s; to one instance {to_one}; "
            f"to the primary alone {to_alone}"
        )


def _ratios(rates: list[float], others: list[float]) -> str:
    ratios = sorted(one / other for one, other in zip(rates, others, strict=True))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


if __name__ == "__main__":
    main()
