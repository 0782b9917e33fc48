"""Compares batch requests with single requests: balances per second over HTTP, with a warm cache.

Usage: `python -m tests.bench.bulk [--seconds 2] [--rounds 5] [--connections 4] [--workers 2]`. Requires wrk.
Each round measures all request types in turn, against the same server.
"""

import statistics
import tempfile
from contextlib import ExitStack
from itertools import product
from pathlib import Path

import click
import orjson

from service.bulk_load.sample import SampleLoan
from service.settings import PROCESSORS
from service.web.schemas.balance_batch import MAX_BALANCES
from tests.bench.contender import Contender, fetch, running
from tests.bench.ledger import END, MIDDLE, balance_path, build_sample, create_token, expected_reply, loaded_postgres
from tests.bench.wrk import UnexpectedReply, require_wrk, wrk
from tests.bench.wrk_scripts import InTurn

PATH = "/api/v1/balances"
TARGET_PER_S = 200_000  # balances per second
SINGLE = "single requests"
LOANS, DAYS = 1000, MAX_BALANCES // 1000


@click.command()
@click.option("--seconds", default=2, help="Duration of each run.")
@click.option("--rounds", default=5, help="Number of rounds.")
@click.option("--connections", default=4, help="Concurrent connections for batch requests.")
@click.option("--workers", default=min(PROCESSORS, 2), help="Worker processes of the server.")
def main(seconds: int, rounds: int, connections: int, workers: int) -> None:
    """Measure balances per second of batch and single requests."""
    require_wrk()
    loans = build_sample()[:LOANS]
    days = [MIDDLE.replace(day=day) for day in range(1, DAYS)] + [END]
    ids = [loan.loan_id for loan in loans]
    bodies = {
        "loans x days": {"loan_ids": ids, "dates": days},
        "pairs": {"pairs": [{"loan_id": loan_id, "date": day} for loan_id, day in product(ids, days)]},
    }
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        settings = stack.enter_context(loaded_postgres(loans, folder)) | {"keys_dir": str(folder), "workers": workers}
        headers = {"Authorization": f"Bearer {create_token(folder)}"}
        paths = [balance_path(loan) for loan in loans]
        origin = stack.enter_context(running(Contender("bulk", paths), settings, folder / "log")).origin
        batch_headers = headers | {"Content-Type": "application/json"}
        for body in bodies.values():
            _check(fetch(origin + PATH, batch_headers, orjson.dumps(body)), loans, days)
        rates: dict[str, list[float]] = {name: [] for name in (SINGLE, *bodies)}
        for round_ in range(rounds + 1):
            runs = {SINGLE: wrk(origin, InTurn(paths), headers, seconds, 16).per_s}
            for name, body in bodies.items():
                run = wrk(origin, InTurn([PATH], orjson.dumps(body)), batch_headers, seconds, connections)
                runs[name] = run.per_s * MAX_BALANCES
            for name, per_s in runs.items():
                rates[name] += [per_s] if round_ else []  # round 0 fills the caches of all workers
    for name, per_s in rates.items():
        ratio = statistics.median(a / b for a, b in zip(per_s, rates[SINGLE], strict=True))
        click.echo(
            f"{name}: {statistics.median(per_s):.0f} balances/s ({min(per_s):.0f} to {max(per_s):.0f}"
            + (f"; target: at least {TARGET_PER_S}), {ratio:.0f} times {SINGLE}" if name in bodies else ")")
        )


def _check(reply: bytes, loans: list[SampleLoan], days: list[object]) -> None:
    """Raise UnexpectedReply unless the batch reply contains the expected balances."""
    actual = orjson.loads(reply)["balances"]
    expected = [orjson.loads(expected_reply(loan, day)) for loan, day in product(loans, days)]  # type: ignore[arg-type]
    if actual != expected:
        raise UnexpectedReply(f"{PATH}: the balances differ from the sample data")


if __name__ == "__main__":
    main()
