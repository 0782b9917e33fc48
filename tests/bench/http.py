"""Compares balance requests over HTTP with a Flask route of fixed bytes and with a straightforward implementation.

Usage: `python -m tests.bench.http [--seconds 2] [--rounds 5] [--connections 16] [--workers 2]`. Requires wrk.
Each round measures all contenders in turn, so the ratios are valid even if the speed of the machine drifts. All
contenders have the same number of processes and threads and receive the same headers. The access log is written to a
file.
"""

import shutil
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from secrets import token_urlsafe

import click
import jwt
import orjson

from security.keys.generation import write_key_pair
from service.bulk_load.sample import SampleLoan
from service.settings import PROCESSORS
from tests.bench import bare, plain
from tests.bench.contender import Contender, fetch, running
from tests.bench.ledger import (
    EVENTS,
    LOANS,
    LONG,
    MIDDLE,
    SHORT,
    balance_path,
    build_sample,
    expected_reply,
    loaded_postgres,
)
from tests.bench.memory import measure_timelines
from tests.bench.wrk import Run, UnexpectedReply, wrk
from tests.fakes.memcached import memcached

BARE, HOT, PLAIN = "bare route", "hot loan", "plain implementation"
FROM_MEMCACHED, FROM_POSTGRES = "loans from memcached", "loans from Postgres"
SHORT_LOAN, LONG_LOAN = f"hot loan of {SHORT} events", f"hot loan of {LONG} events"
# (contender, reference, minimum ratio of their requests per second)
TARGETS = [
    (HOT, BARE, 0.80), (FROM_MEMCACHED, BARE, 0.45), (FROM_POSTGRES, BARE, 0.25), (HOT, PLAIN, 8.0),
    (FROM_POSTGRES, PLAIN, 2.5), (LONG_LOAN, SHORT_LOAN, 1 / 1.1),
]  # fmt: skip


def build_contenders(loans: list[SampleLoan], memcached_servers: str) -> list[Contender]:
    """Return the servers to compare."""
    hot, short, long = loans[0], *loans[LOANS:]
    all_paths = [balance_path(loan) for loan in loans[:LOANS]]
    return [
        Contender(
            BARE, [balance_path(hot)], serve=partial(bare.serve, path=balance_path(hot), body=expected_reply(hot))
        ),
        Contender(HOT, [balance_path(hot)]),
        Contender(
            FROM_MEMCACHED,
            all_paths,
            {"cache_bytes": 0, "memcached_servers": memcached_servers, "cache_secret": token_urlsafe()},
        ),
        Contender(FROM_POSTGRES, all_paths, {"cache_bytes": 0}),
        Contender(PLAIN, all_paths, serve=plain.serve),
        Contender(SHORT_LOAN, [balance_path(short)]),
        Contender(LONG_LOAN, [balance_path(long)]),
    ]


@click.command()
@click.option("--seconds", default=2, help="Duration of each run.")
@click.option("--rounds", default=5, help="Number of rounds.")
@click.option("--connections", default=16, help="Concurrent connections.")
@click.option("--workers", default=min(PROCESSORS, 2), help="Worker processes of each server.")
def main(seconds: int, rounds: int, connections: int, workers: int) -> None:
    """Measure all contenders, and print the ratios and then the absolute figures."""
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed. Run `apt install wrk` or `brew install wrk`.")
    loans = build_sample()
    with ExitStack() as stack:
        contenders = build_contenders(loans, stack.enter_context(memcached()).address)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        settings = stack.enter_context(loaded_postgres(loans, folder))
        headers = {"Authorization": f"Bearer {create_token(folder)}"}
        settings |= {"keys_dir": str(folder), "workers": workers}
        origins = {
            contender.name: stack.enter_context(running(contender, settings, folder / f"{number}.log"))
            for number, contender in enumerate(contenders)
        }
        _check(contenders, origins, loans, headers)
        for contender in contenders:
            wrk(origins[contender.name], contender.paths, headers, 1, connections)  # opens connections, fills caches
        runs: dict[str, list[Run]] = {contender.name: [] for contender in contenders}
        for _ in range(rounds):
            for contender in contenders:
                run = wrk(origins[contender.name], contender.paths, headers, seconds, connections)
                runs[contender.name].append(run)
    _report(runs)


def create_token(folder: Path) -> str:
    """Create key pairs in a directory, and return an access token that may read loans."""
    for name in ("loaner", "platform"):
        write_key_pair(folder, name)
    now = int(time.time())
    claims = {"iat": now, "exp": now + 86_400, "userId": "u1", "username": "ann@example.com", "scopes": "api:read"}
    return jwt.encode(claims, (folder / "platform").read_bytes(), algorithm="RS256")


def _check(
    contenders: list[Contender], origins: dict[str, str], loans: list[SampleLoan], headers: dict[str, str]
) -> None:
    """Raise UnexpectedReply if a contender returns a wrong balance."""
    by_path = {balance_path(loan): loan for loan in loans}
    for contender in contenders:
        for path_at_end in contender.paths[:10]:
            loan = by_path[path_at_end]
            expected = {path_at_end: expected_reply(loan)}
            if contender.name != BARE:
                expected[balance_path(loan, MIDDLE)] = expected_reply(loan, MIDDLE)
            for path, body in expected.items():
                actual = fetch(origins[contender.name] + path, headers)
                if actual != body and (contender.name != PLAIN or orjson.loads(actual) != orjson.loads(body)):
                    raise UnexpectedReply(f"{contender.name}: {path}: expected {body!r}, not {actual!r}")


def _report(runs: dict[str, list[Run]]) -> None:
    for name, reference, target in TARGETS:
        ratios = sorted(a.per_s / b.per_s for a, b in zip(runs[name], runs[reference], strict=True))
        click.echo(
            f"{name} / {reference}: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}; "
            f"target: at least {target:.2f})"
        )
    for name, measured in runs.items():
        per_s, p50_ms, p99_ms = (
            statistics.median(getattr(run, field) for run in measured) for field in ("per_s", "p50_ms", "p99_ms")
        )
        click.echo(f"{name}: {per_s:.0f} requests/s, p50 {p50_ms:.1f} ms, p99 {p99_ms:.1f} ms")
    click.echo(f"1000 timelines of {EVENTS} events: {measure_timelines(1000, EVENTS) / 1000:.0f} kB of memory")


if __name__ == "__main__":
    main()
