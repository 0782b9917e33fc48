"""Compares balance requests over HTTP with a Flask route of fixed bytes and with a straightforward implementation.

Usage: `python -m tests.bench.http [--seconds 2] [--rounds 5] [--connections 16] [--workers 2]`. Requires wrk, memcached
and Linux. Each round measures all contenders in turn, so the ratios are valid even if the speed of the machine drifts.
All contenders have the same number of processes and threads and receive the same headers. The access log is written to
a file. Since wrk shares the processors with the servers, the processor time of each contender's processes is measured
as well; that of PostgreSQL and memcached is not part of it.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from secrets import token_urlsafe

import click
import orjson

from service.bulk_load.sample import SampleLoan
from service.settings import PROCESSORS
from tests.bench import bare, plain
from tests.bench.contender import Contender, RunningServer, fetch, running, serve_loans
from tests.bench.ledger import (
    END,
    EVENTS,
    LOANS,
    LONG,
    MIDDLE,
    SHORT,
    balance_path,
    build_sample,
    create_token,
    expected_reply,
    loaded_postgres,
)
from tests.bench.machine import cpu_s, describe_machine
from tests.bench.memory import measure_timelines
from tests.bench.targets import Target
from tests.bench.wrk import UnexpectedReply, require_wrk, wrk
from tests.bench.wrk_scripts import Guesses, InTurn, Requests
from tests.fakes.memcached import memcached

PAUSE_MS = 2
READERS, GUESSERS = 8, 20
LEAD_S = 1  # other work starts this much before a measurement, and ends this much after it

BARE, HOT, PLAIN = "bare route", "hot loan", "plain implementation"
BARE_ONE, HOT_ONE = "bare route, 1 worker", "hot loan, 1 worker"
FROM_MEMCACHED, FROM_POSTGRES = "loans from memcached", "loans from Postgres"
SHORT_LOAN, LONG_LOAN = f"hot loan of {SHORT} events", f"hot loan of {LONG} events"
FROM_FLASK, PAYOFF = "hot loan's balance from Flask", "hot loan's payoff"  # of a loan with terms and a schedule
SHARED = "hot loan beside other work"  # the server; its cache holds that loan and few others
BARE_PAUSED, HOT_PAUSED = f"{BARE}, {PAUSE_MS} ms pauses", f"{HOT}, {PAUSE_MS} ms pauses"
ALONE, BESIDE_READERS = "hot loan alone", f"hot loan beside {READERS} readers of uncached loans"
QUIET, BESIDE_GUESSERS = f"{ALONE}, {PAUSE_MS} ms pauses", f"hot loan beside {GUESSERS} guessers, {PAUSE_MS} ms pauses"

TARGETS = [
    Target("hot / bare, 1 worker", HOT_ONE, BARE_ONE, "per_s", 2.2, 3.5),
    Target("hot / bare", HOT, BARE, "per_s", 1.7, 2.5),
    Target("processor time per request, hot / bare", HOT, BARE, "cpu_us", 0.45, 0.3, less_is_better=True),
    Target("p99 at equal load, hot / bare", HOT_PAUSED, BARE_PAUSED, "p99_ms", 0.6, 0.4, less_is_better=True),
    Target("from memcached / bare", FROM_MEMCACHED, BARE, "per_s", 0.5, 0.8),
    Target("from Postgres / bare", FROM_POSTGRES, BARE, "per_s", 0.28, 0.35),
    Target("hot / plain implementation", HOT, PLAIN, "per_s", 35, 50),
    Target("from Postgres / plain implementation", FROM_POSTGRES, PLAIN, "per_s", 2.5),
    Target("payoff / balance from Flask", PAYOFF, FROM_FLASK, "per_s", 0.7),
    Target(f"{BESIDE_READERS} / alone", BESIDE_READERS, ALONE, "per_s", 0.15, 0.4),
    Target(f"p99 in ms, {BESIDE_READERS}", BESIDE_READERS, None, "p99_ms", 10, less_is_better=True),
    Target(f"p99, {BESIDE_GUESSERS} / without", BESIDE_GUESSERS, QUIET, "p99_ms", 3, less_is_better=True),
    Target(f"{LONG_LOAN} / {SHORT_LOAN}", LONG_LOAN, SHORT_LOAN, "per_s", 1 / 1.1),
]


@dataclass(frozen=True)
class Measurement:
    """One run against one contender.

    Args:
        per_s: Requests per second.
        p50_ms: Median latency.
        p99_ms: 99th percentile of the latency.
        cpu_us: Processor time of the contender's processes for each request.
    """

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


def build_contenders(loans: list[SampleLoan], memcached_servers: str) -> list[Contender]:
    """Return the servers to compare."""
    hot, short, long = loans[0], *loans[LOANS:]
    hot_path = balance_path(hot)
    all_paths = [balance_path(loan) for loan in loans[:LOANS]]
    serve_bare = partial(bare.serve, path=hot_path, body=expected_reply(hot))
    return [
        Contender(BARE, [hot_path], serve=serve_bare),
        Contender(HOT, [hot_path]),
        Contender(BARE_ONE, [hot_path], {"workers": 1}, serve_bare),
        Contender(HOT_ONE, [hot_path], {"workers": 1}),
        Contender(
            FROM_MEMCACHED,
            all_paths,
            {"cache_bytes": 0, "memcached_servers": memcached_servers, "cache_secret": token_urlsafe()},
        ),
        Contender(FROM_POSTGRES, all_paths, {"cache_bytes": 0}),
        Contender(PLAIN, all_paths, serve=plain.serve),
        Contender(SHORT_LOAN, [balance_path(short)]),
        Contender(LONG_LOAN, [balance_path(long)]),
        Contender(SHARED, all_paths, {"cache_bytes": 100_000, "secret": token_urlsafe()}),
    ]


@click.command()
@click.option("--seconds", default=2, help="Duration of each run.")
@click.option("--rounds", default=5, help="Number of rounds.")
@click.option("--connections", default=16, help="Concurrent connections.")
@click.option("--workers", default=min(PROCESSORS, 2), help="Worker processes of each server, unless stated otherwise.")
def main(seconds: int, rounds: int, connections: int, workers: int) -> None:
    """Measure all contenders, and print the targets and then the absolute figures."""
    require_wrk()
    loans = build_sample()
    agreed = replace(loans[0], loan_id=len(loans) + 1)
    with ExitStack() as stack:
        contenders = build_contenders(loans, stack.enter_context(memcached()).address)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        settings = stack.enter_context(loaded_postgres([*loans, agreed], folder, agreed))
        headers = {"Authorization": f"Bearer {create_token(folder)}"}
        settings |= {"keys_dir": str(folder), "workers": workers}
        servers = {
            contender.name: stack.enter_context(running(contender, settings, folder / f"{number}.log"))
            for number, contender in enumerate(contenders)
        }
        _check(contenders, servers, loans, headers)
        bench = _Bench(servers, agreed, headers, seconds, connections)
        for contender in contenders:
            bench.warm_up(contender)
        for _ in range(rounds):
            bench.run_round(contenders)
    click.echo(f"{describe_machine()}; {workers} workers, {connections} connections, {rounds} rounds of {seconds} s")
    for target in TARGETS:
        target.report(bench.measured)
    _report_figures(bench.measured)


class _Bench:
    """Measures servers.

    Args:
        servers: The servers by the names of the contenders.
        agreed: A loan with terms and a schedule.
        headers: Headers of each request.
        seconds: Duration of each run.
        connections: Concurrent connections.
    """

    def __init__(
        self,
        servers: dict[str, RunningServer],
        agreed: SampleLoan,
        headers: dict[str, str],
        seconds: int,
        connections: int,
    ) -> None:
        self._servers = servers
        self._agreed = agreed
        self._headers = headers
        self._seconds = seconds
        self._connections = connections
        self.measured: dict[str, list[Measurement]] = {}

    def warm_up(self, contender: Contender) -> None:
        """Open connections and fill caches."""
        wrk(self._servers[contender.name].origin, InTurn(contender.paths), self._headers, 1, self._connections)

    def run_round(self, contenders: list[Contender]) -> None:
        """Measure each contender, and then those that are measured in other ways as well."""
        by_name = {contender.name: contender for contender in contenders}
        for contender in contenders:
            if contender.name != SHARED:
                self._measure(contender.name, contender.name, contender.paths)
        for name, server in ((BARE_PAUSED, BARE), (HOT_PAUSED, HOT)):
            self._measure(name, server, by_name[server].paths, PAUSE_MS)
        # The front door leaves requests with a query to Flask.
        self._measure(FROM_FLASK, HOT, [f"{balance_path(self._agreed)}?min_version=0"])
        self._measure(PAYOFF, HOT, [f"/api/v1/loan/{self._agreed.loan_id}/payoff/{END}"])
        hot, *others = by_name[SHARED].paths
        self._measure(ALONE, SHARED, [hot])
        with self._beside(InTurn(others), READERS):
            self._measure(BESIDE_READERS, SHARED, [hot])
        self._measure(QUIET, SHARED, [hot], PAUSE_MS)
        with self._beside(Guesses(), GUESSERS, allow_errors=True):
            self._measure(BESIDE_GUESSERS, SHARED, [hot], PAUSE_MS)

    def _measure(self, name: str, server_name: str, paths: list[str], pause_ms: int = 0) -> None:
        server = self._servers[server_name]
        before_s = cpu_s(server.pid)
        run = wrk(server.origin, InTurn(paths), self._headers, self._seconds, self._connections, pause_ms=pause_ms)
        cpu_us = (cpu_s(server.pid) - before_s) / run.requests * 1e6
        self.measured.setdefault(name, []).append(Measurement(run.per_s, run.p50_ms, run.p99_ms, cpu_us))

    @contextmanager
    def _beside(self, requests: Requests, connections: int, allow_errors: bool = False) -> Iterator[None]:
        """Send other requests to the shared server during the block."""
        origin, seconds = self._servers[SHARED].origin, self._seconds + 2 * LEAD_S
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(wrk, origin, requests, self._headers, seconds, connections, allow_errors=allow_errors)
            time.sleep(LEAD_S)
            yield
            other.result()


def _check(
    contenders: list[Contender],
    servers: dict[str, RunningServer],
    loans: list[SampleLoan],
    headers: dict[str, str],
) -> None:
    """Raise UnexpectedReply if a contender returns a wrong balance."""
    by_path = {balance_path(loan): loan for loan in loans}
    for contender in contenders:
        for path_at_end in contender.paths[:10]:
            loan = by_path[path_at_end]
            expected = {path_at_end: expected_reply(loan)}
            if contender.serve is serve_loans or contender.name == PLAIN:
                expected[balance_path(loan, MIDDLE)] = expected_reply(loan, MIDDLE)
            for path, body in expected.items():
                actual = fetch(servers[contender.name].origin + path, headers)
                if actual != body and (contender.name != PLAIN or orjson.loads(actual) != orjson.loads(body)):
                    raise UnexpectedReply(f"{contender.name}: {path}: expected {body!r}, not {actual!r}")


def _report_figures(measured: dict[str, list[Measurement]]) -> None:
    for name, found in measured.items():
        per_s, p50_ms, p99_ms, cpu_us = (
            statistics.median(getattr(each, field.name) for each in found) for field in fields(Measurement)
        )
        click.echo(
            f"{name}: {per_s:.0f} requests/s, p50 {p50_ms:.2f} ms, p99 {p99_ms:.1f} ms, "
            f"{cpu_us:.0f} us of processor time per request"
        )
    click.echo(f"1000 timelines of {EVENTS} events: {measure_timelines(1000, EVENTS) / 1000:.0f} kB of memory")


if __name__ == "__main__":
    main()
