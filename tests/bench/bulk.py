"""Many balances in one call, against one by one: balances per second over HTTP, from a hot cache.

`python -m tests.bench.bulk [--seconds 2] [--rounds 5] [--connections 4] [--workers 2]`; needs wrk. What is compared is
timed in turn within each round, against one and the same server.
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
from tests.bench.contender import Contender, ask, running
from tests.bench.http import token_of
from tests.bench.ledger import END, MIDDLE, loaded, path_of, reply_of, sample
from tests.bench.wrk import WrongReply, wrk

PATH = "/api/v1/balances"
AIMED_AT = 200_000  # balances per second
LOANS, DAYS = 1000, MAX_BALANCES // 1000


@click.command()
@click.option("--seconds", default=2, help="of each run")
@click.option("--rounds", default=5)
@click.option("--connections", default=4)
@click.option("--workers", default=min(PROCESSORS, 2), help="processes of the server")
def main(seconds: int, rounds: int, connections: int, workers: int) -> None:
    """Print balances per second with their spread."""
    loans = sample()[:LOANS]
    days = [MIDDLE.replace(day=day) for day in range(1, DAYS)] + [END]
    ids = [loan.loan_id for loan in loans]
    bodies = {
        "loans x days": {"loan_ids": ids, "dates": days},
        "pairs": {"pairs": [{"loan_id": loan_id, "date": day} for loan_id, day in product(ids, days)]},
    }
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        reach = stack.enter_context(loaded(loans, folder)) | {"keys_dir": str(folder), "workers": workers}
        headers = {"Authorization": f"Bearer {token_of(folder)}"}
        paths = [path_of(loan) for loan in loans]
        origin = stack.enter_context(running(Contender("bulk", paths), reach, folder / "log"))
        sending = headers | {"Content-Type": "application/json"}
        for body in bodies.values():
            _check(ask(origin + PATH, sending, orjson.dumps(body)), loans, days)
        found: dict[str, list[float]] = {name: [] for name in ("one by one", *bodies)}
        for round_ in range(rounds + 1):  # the first one fills the caches of all workers
            runs = {"one by one": wrk(origin, paths, headers, seconds, 16).per_s}
            for name, body in bodies.items():
                run = wrk(origin, [PATH], sending, seconds, connections, orjson.dumps(body))
                runs[name] = run.per_s * MAX_BALANCES
            for name, per_s in runs.items():
                found[name] += [per_s] if round_ else []
    for name, per_s in found.items():
        ratio = statistics.median(a / b for a, b in zip(per_s, found["one by one"], strict=True))
        click.echo(
            f"{name}: {statistics.median(per_s):.0f} balances/s ({min(per_s):.0f} to {max(per_s):.0f}"
            + (f"; at least {AIMED_AT} is aimed at), {ratio:.0f} times one by one" if name in bodies else ")")
        )


def _check(reply: bytes, loans: list[SampleLoan], days: list[object]) -> None:
    """Raises: WrongReply for a balance that is not what it should be."""
    told = orjson.loads(reply)["balances"]
    right = [orjson.loads(reply_of(loan, day)) for loan, day in product(loans, days)]  # type: ignore[arg-type]
    if told != right:
        raise WrongReply("bulk: not what the sample says")


if __name__ == "__main__":
    main()
