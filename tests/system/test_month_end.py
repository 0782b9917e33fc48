"""The command `accrue` as a process that is killed at random moments: the next run charges what is missing, once."""

import os
import random
import subprocess
import sys
import time
from contextlib import closing
from datetime import date, timedelta

import pytest

from service.ledger.accrual_run import BATCH_LOANS, AccrualRun
from service.ledger.repository import PostgresLedger
from service.postgres.connect import connect
from service.postgres.pool import ConnectionPool
from tests.conftest import ROOT, sql
from tests.support.agreements import post_terms
from tests.support.processes import environment, reach

KILLS = int(os.environ.get("LOANER_KILLS", "5"))
BATCHES = 4
LOANS = range(1, BATCH_LOANS * BATCHES + 1)
STATE = "SELECT l.loan_id, l.version, balance_on(l.loan_id, %s)::text FROM loans AS l ORDER BY l.loan_id"
POSTED = "SELECT count(*), count(DISTINCT loan_id) FROM loan_events WHERE post_date = %s"


def fill(settings):
    """Create loans of different amounts, rates and day counts."""
    with closing(connect(settings, "posting")) as posting:
        columns = list(LOANS), [f"{1000 + 7 * n}.{n % 100:02d}" for n in LOANS]
        sql(posting, "SELECT create_loans(%s, array_fill(DATE '2020-01-01', ARRAY[cardinality(%s)]), %s::numeric[], "
                     "array_fill('USD'::text, ARRAY[cardinality(%s)]), NULL)",
            columns[0], columns[0], columns[1], columns[0])  # fmt: skip
        for offset, day_count in enumerate(("ACT/365F", "ACT/360", "ACT/ACT", "30E/360")):
            post_terms(posting, *((n, "2020-01-01", f"0.{n % 97 + 1:02d}") for n in LOANS[offset::4]),
                       day_count=day_count)  # fmt: skip


def run_to_the_end(settings, day):
    database = ConnectionPool(settings, role="posting")
    return [each for batch in AccrualRun(database, PostgresLedger(database), day).all_loans() for each in batch]


def month_ends(count):
    day = date(2020, 1, 31)
    for _ in range(count):
        yield day
        day = (day + timedelta(days=32)).replace(day=1) - timedelta(days=1)


def kill_at_random(settings, posting, day, rng):
    """Start the command, and kill it with SIGKILL at a random moment. Return how many charges were posted by then.

    Most of its run is its start, so it is killed after a random number of batches, or during its start.
    """
    command = [sys.executable, str(ROOT / "service.py"), "accrue", "--date", str(day)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(**reach(settings)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        batches = rng.randrange(BATCHES)
        if batches == 0:
            time.sleep(rng.uniform(0, 1.5))
        else:
            deadline = time.monotonic() + 60
            while sql(posting, POSTED, day)[0][0] < batches * BATCH_LOANS and process.poll() is None:
                assert time.monotonic() < deadline
            time.sleep(rng.uniform(0, 0.1))
    finally:
        process.kill()
        process.wait()
    return sql(posting, POSTED, day)[0][0]


@pytest.mark.timeout(120 + 20 * KILLS)
def test_a_job_that_is_killed_at_random_moments_charges_once(databases, settings, posting, admin, report_measurement):
    rng = random.Random(20261031)
    fill(settings)
    found = []
    with databases.create() as undisturbed, closing(connect(undisturbed, "admin")) as other:
        fill(undisturbed)
        for day in month_ends(KILLS):
            found.append(kill_at_random(settings, posting, day, rng))
            run_to_the_end(settings, day)
            run_to_the_end(undisturbed, day)
            assert sql(posting, POSTED, day) == [(len(LOANS), len(LOANS))]
            assert sql(admin, STATE, day) == sql(other, STATE, day)
            assert not any(accrued.charge or accrued.skipped for accrued in run_to_the_end(settings, day))
    halfway = sum(0 < posted < len(LOANS) for posted in found)
    report_measurement(f"month-end job killed {len(found)} times, {halfway} of them with some loans charged")
    assert halfway > 0, found
