"""A service behind a real PgBouncer whose mode an operator changes.

The test reports what /ready, the log and the metrics said in each mode.
"""

from contextlib import closing
from decimal import Decimal
from itertools import count

import pytest
import requests

from service.postgres.connect import connect
from tests.conftest import sql
from tests.fakes.kong.fake_kong import FakeKong
from tests.fakes.kong.fake_kong import running as running_kong
from tests.fakes.pgbouncer import needs_pgbouncer, pgbouncer
from tests.support.ports import free_port
from tests.support.processes import reach, run, serving
from tests.support.waiting import wait_until

pytestmark = [needs_pgbouncer, pytest.mark.timeout(180)]

POST = "SELECT * FROM post_events('{1}'::bigint[], '{fee}', '{2020-02-02}'::date[], '{1.00}'::numeric[])"
NOTICED_S = 20  # sooner than a cached answer expires
PROBES = 20


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_start_behind_a_pooler_that_does_not_keep_sessions_ends_with_the_reason(served, keys_dir, mode):
    with pgbouncer(served.postgres, mode) as pooler, running_kong(FakeKong()) as kong:
        done = run(
            **reach(pooler.settings), KEYS_DIR=str(keys_dir), API_GATEWAY_URL=kong.url, LISTEN_HOST="127.0.0.1",
            PORT=str(free_port()),
        )  # fmt: skip
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"Error: 127.0.0.1:{pooler.port} is a pooler in transaction or statement mode: ")
    assert last.endswith("Connect to PostgreSQL directly, or set the pooler to session mode")
    assert "Traceback" not in done.stderr


def test_no_answer_is_stale_while_the_mode_of_a_pooler_changes(served, keys_dir, bearer, report_measurement):
    with (
        pgbouncer(served.postgres, "session") as pooler,
        serving(pooler.settings, keys_dir, MAX_STALENESS_S="30", PSQL_POOL_SIZE="2") as (url, read_log),
        closing(connect(served.postgres, "posting")) as posting,
    ):

        def balance():
            reply = requests.get(f"{url}/api/v1/loan/1/2020-12-31", headers=bearer, timeout=20)
            return reply.json()["balance"] if reply.status_code == 200 else reply.status_code

        def ready():
            """Return the replies of both workers."""
            replies = [requests.get(f"{url}/ready", timeout=20) for _ in range(PROBES)]
            return {(reply.status_code, reply.json().get("message", reply.json().get("listener"))) for reply in replies}

        def report(phase):
            lines = requests.get(f"{url}/metrics", timeout=20).text.splitlines()
            failures = [line for line in lines if line.startswith("loaner_listener_failures_total{")]
            said = [line for line in read_log().splitlines() if "nothing cached is used" in line]
            report_measurement(f"{phase}: /ready {ready()}; metrics {failures}; log {said[-1:]}")

        def post():
            """Post a fee of 1.00 directly to Postgres, past the pooler, and return the balance since then."""
            sql(posting, POST)
            return f"{first + next(posted):.2f}"

        def check_fresh():
            for _ in range(10):
                expected = post()
                wait_until(lambda: balance() == expected, NOTICED_S)  # noqa: B023

        wait_until(lambda: ready() == {(200, "ok")}, NOTICED_S)
        first, posted = Decimal(balance()), count(1)
        for _ in range(PROBES):
            balance()  # both workers cache it
        check_fresh()
        report("session mode")

        pooler.change_mode("transaction")
        wait_until(lambda: {status for status, _ in ready()} == {503}, NOTICED_S)
        sentence = f"127.0.0.1:{pooler.port} is a pooler in transaction or statement mode"
        assert all(sentence in message for _, message in ready())
        for _ in range(10):
            expected = post()
            assert {balance() for _ in range(PROBES)} == {expected}  # immediately, in both workers
        report("transaction mode")

        pooler.change_mode("session")
        wait_until(lambda: ready() == {(200, "ok")}, NOTICED_S)
        check_fresh()
        report("session mode again")
        log = read_log()
    assert "nothing cached is used" in log
    assert "Traceback" not in log
