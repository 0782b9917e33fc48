"""A balance over HTTP, against a Flask route of fixed bytes and against an implementation without second thoughts.

`python -m tests.bench.http [--seconds 2] [--rounds 5] [--connections 16] [--workers 2]`; needs wrk. Whatever is
compared is timed in turn within each round, so the ratios hold on a machine whose speed drifts. Everybody has the same
processes and threads, and is sent the same headers; the access log is on, into a file.
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
from tests.bench.contender import Contender, ask, running
from tests.bench.ledger import EVENTS, LOANS, LONG, MIDDLE, SHORT, loaded, path_of, reply_of, sample
from tests.bench.memory import bytes_of_timelines
from tests.bench.wrk import Run, WrongReply, wrk
from tests.fakes.memcached import memcached

BARE, HOT, PLAIN = "bare route", "hot loan", "plain implementation"
FROM_MEMCACHED, FROM_POSTGRES = "loans from memcached", "loans from Postgres"
SHORT_LOAN, LONG_LOAN = f"hot loan of {SHORT} events", f"hot loan of {LONG} events"
# of requests per second: the first, the second, what the ratio is to be at least
TARGETS = [
    (HOT, BARE, 0.80), (FROM_MEMCACHED, BARE, 0.45), (FROM_POSTGRES, BARE, 0.25), (HOT, PLAIN, 8.0),
    (FROM_POSTGRES, PLAIN, 2.5), (LONG_LOAN, SHORT_LOAN, 1 / 1.1),
]  # fmt: skip


def contenders(loans: list[SampleLoan], memcached_servers: str) -> list[Contender]:
    """Who is compared."""
    hot, short, long = loans[0], *loans[LOANS:]
    many = [path_of(loan) for loan in loans[:LOANS]]
    return [
        Contender(BARE, [path_of(hot)], serve=partial(bare.serve, path=path_of(hot), body=reply_of(hot))),
        Contender(HOT, [path_of(hot)]),
        Contender(
            FROM_MEMCACHED,
            many,
            {"cache_bytes": 0, "memcached_servers": memcached_servers, "cache_secret": token_urlsafe()},
        ),
        Contender(FROM_POSTGRES, many, {"cache_bytes": 0}),
        Contender(PLAIN, many, serve=plain.serve),
        Contender(SHORT_LOAN, [path_of(short)]),
        Contender(LONG_LOAN, [path_of(long)]),
    ]


@click.command()
@click.option("--seconds", default=2, help="of each run")
@click.option("--rounds", default=5)
@click.option("--connections", default=16)
@click.option("--workers", default=min(PROCESSORS, 2), help="processes of each server")
def main(seconds: int, rounds: int, connections: int, workers: int) -> None:
    """Print the ratios with their spread, then the figures behind them."""
    if shutil.which("wrk") is None:
        sys.exit("wrk is not there: apt install wrk, or brew install wrk")
    loans = sample()
    with ExitStack() as stack:
        compared = contenders(loans, stack.enter_context(memcached()).address)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        reach = stack.enter_context(loaded(loans, folder))
        headers = {"Authorization": f"Bearer {token_of(folder)}"}
        reach |= {"keys_dir": str(folder), "workers": workers}
        asked = {
            each.name: (stack.enter_context(running(each, reach, folder / f"{number}.log")), each.urls)
            for number, each in enumerate(compared)
        }
        _check(compared, asked, loans, headers)
        for origin, urls in asked.values():
            wrk(origin, urls, headers, 1, connections)  # connections are opened, caches filled
        found: dict[str, list[Run]] = {name: [] for name in asked}
        for _ in range(rounds):
            for name, (origin, urls) in asked.items():
                found[name].append(wrk(origin, urls, headers, seconds, connections))
    _report(found)


def token_of(folder: Path) -> str:
    """A token that may read; its keys are made in the folder."""
    for name in ("loaner", "platform"):
        write_key_pair(folder, name)
    now = int(time.time())
    claims = {"iat": now, "exp": now + 86_400, "userId": "u1", "username": "ann@example.com", "scopes": "api:read"}
    return jwt.encode(claims, (folder / "platform").read_bytes(), algorithm="RS256")


def _check(
    compared: list[Contender], asked: dict[str, tuple[str, list[str]]], loans: list[SampleLoan], headers: dict[str, str]
) -> None:
    """Raises: WrongReply when somebody is fast because it is wrong."""
    by_path = {path_of(loan): loan for loan in loans}
    for contender in compared:
        origin, urls = asked[contender.name]
        for url in urls[:10]:
            loan = by_path[url]
            right = {url: reply_of(loan)}
            if contender.name != BARE:
                right[path_of(loan, MIDDLE)] = reply_of(loan, MIDDLE)
            for path, body in right.items():
                got = ask(origin + path, headers)
                if got != body and (contender.name != PLAIN or orjson.loads(got) != orjson.loads(body)):
                    raise WrongReply(f"{contender.name}: {path}: expected {body!r}, not {got!r}")


def _report(found: dict[str, list[Run]]) -> None:
    for one, other, target in TARGETS:
        ratios = sorted(a.per_s / b.per_s for a, b in zip(found[one], found[other], strict=True))
        click.echo(
            f"{one} / {other}: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}; "
            f"at least {target:.2f} is aimed at)"
        )
    for name, runs in found.items():
        per_s, p50_ms, p99_ms = (
            statistics.median(getattr(run, member) for run in runs) for member in ("per_s", "p50_ms", "p99_ms")
        )
        click.echo(f"{name}: {per_s:.0f} requests/s, p50 {p50_ms:.1f} ms, p99 {p99_ms:.1f} ms")
    click.echo(f"1000 timelines of {EVENTS} events: {bytes_of_timelines(1000, EVENTS) / 1000:.0f} kB of memory")


if __name__ == "__main__":
    main()
