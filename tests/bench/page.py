"""Compares views of the page with the requests to the API that they stand for, for a loan of 10,000 events.

Usage: `python -m tests.bench.page [--rounds 5]`. Requires Linux. Each round sends every request some times, one after
the other, so the ratios are valid even if the speed of the machine drifts. The loan is in the worker's cache. The
processor time is that of the service, without PostgreSQL's.
"""

import statistics
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import click
import requests

from service.bulk_load.sample import sample_loans
from tests.bench.contender import Contender, RunningServer, running
from tests.bench.ledger import END, LONG, create_token, loaded_postgres
from tests.bench.machine import cpu_s, describe_machine
from tests.bench.wrk import UnexpectedReply

API = "/api/v1/loan/1"
REPEATED = 20
CALLS = {
    "terms": API,
    "balance with its parts": f"{API}/{END}?parts=true",
    "history": f"{API}/history?to={END}",
    "statement of 50 events": f"{API}/statement?limit=50&provenance=true",
    "explanation": f"{API}/{END}?explain=true&provenance=true",
}
# Each view, and the calls that give what it shows.
VIEWS = {
    "loan": (f"/app/loan/1?date={END}", ("terms", "balance with its parts", "history", "statement of 50 events")),
    "loan, without a date": ("/app/loan/1", ("terms", "balance with its parts", "history", "statement of 50 events")),
    "why": (f"/app/loan/1/why?date={END}", ("explanation",)),
}


@click.command()
@click.option("--rounds", default=5, help="Number of rounds.")
def main(rounds: int) -> None:
    """Print the median time of each view and call, and the median ratio of a view to its calls."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        loans = list(sample_loans(1, LONG))
        settings = stack.enter_context(loaded_postgres(loans, folder)) | {"keys_dir": str(folder), "workers": 1}
        token = create_token(folder)
        server = stack.enter_context(running(Contender("page", []), settings, folder / "log"))
        session = stack.enter_context(requests.Session())
        api, page = {"Authorization": f"Bearer {token}"}, {"Cookie": f"loaner={token}"}
        sent: dict[str, tuple[str, Mapping[str, str]]] = {name: (path, api) for name, path in CALLS.items()}
        sent |= {name: (path, page) for name, (path, _) in VIEWS.items()}
        runs = [
            {name: _measure(session, server, *request) for name, request in sent.items()} for _ in range(rounds + 1)
        ]
    del runs[0]  # it filled the cache
    click.echo(describe_machine())
    for name in sent:
        elapsed, used = (statistics.median(run[name][part] for run in runs) for part in (0, 1))
        click.echo(f"{name}: {elapsed:.1f} ms, of which the processor {used:.1f} ms")
    for name, (_, calls) in VIEWS.items():
        elapsed, used = (
            statistics.median(run[name][part] / sum(run[call][part] for call in calls) for run in runs)
            for part in (0, 1)
        )
        click.echo(f"{name} / {' + '.join(calls)}: {elapsed:.2f}; processor time {used:.2f}")


def _measure(
    session: requests.Session, server: RunningServer, path: str, headers: Mapping[str, str]
) -> tuple[float, float]:
    """Return the time and the processor time of a request, in milliseconds."""
    begun, used = time.perf_counter(), cpu_s(server.pid)
    for _ in range(REPEATED):
        reply = session.get(server.origin + path, headers=headers, timeout=30, allow_redirects=False)
        if reply.status_code != 200:
            raise UnexpectedReply(f"{path}: {reply.status_code}: {reply.text[:500]}")
    return (time.perf_counter() - begun) * 1000 / REPEATED, (cpu_s(server.pid) - used) * 1000 / REPEATED


if __name__ == "__main__":
    main()
