"""Random loans with terms and schedules: payoff, arrears and accrual over HTTP are those of a model in exact fractions.

Loans, their records and what accrues are posted over HTTP, from files and by the command `accrue`, between questions.
"""

import os
import signal
import sys
import time
from collections import Counter
from contextlib import closing
from datetime import date
from functools import partial
from itertools import count
from random import Random

import pytest
from click.testing import CliRunner, Result

from service.cli.main import main
from service.postgres.connect import connect
from tests.conftest import serving
from tests.models.accrual_questions import METHODS, AccrualQuestions
from tests.models.accruing_generator import AccruingGenerator
from tests.models.ledger_poster import LedgerPoster
from tests.models.payoff_generator import ANCHORS
from tests.support.application import build_app
from tests.support.processes import reach
from tests.support.settings import with_changes

ANSWERS = int(os.environ.get("LOANER_ANSWERS", "2400"))
SEED = int(os.environ.get("LOANER_SEED", "0")) or (
    Random().randrange(1, 10**9) if "LOANER_ANSWERS" in os.environ else 1
)
ANSWERS_PER_ROUND, ROUNDS = 600, 4
LOANS_PER_ROUND, POSTINGS_PER_ROUND = 10, 60


SMALL_BATCHES = {
    "service.bulk_load.agreement_posting.BATCH_SCHEDULES": 3, "service.bulk_load.agreement_posting.BATCH_TERMS": 3,
    "service.bulk_load.event_posting.BATCH_EVENTS": 7, "service.ledger.accrual_run.BATCH_LOANS": 7,
    "service.ledger.accrual_run.BATCH_RECORDS": 60, "service.portfolio.sql.LOANS_PER_BATCH": 7,
    "service.web.statement_csv.ROWS_PER_CHUNK": 3,
}  # fmt: skip


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """Let a small ledger have many batches."""
    for name, size in SMALL_BATCHES.items():
        monkeypatch.setattr(name, size)


@pytest.fixture
def question(databases, keys_dir, make_token, tmp_path):
    """Posts the ledger of a seed and puts questions in between. Returns these."""

    def question(seed):
        rng, anchor, folder = Random(seed), ANCHORS[seed % len(ANCHORS)], tmp_path / str(seed)
        folder.mkdir()
        with databases.create() as settings, closing(connect(settings, "posting")) as connection:
            # No date is too far ahead: some loans are of the future.
            served = with_changes(serving(settings, keys_dir), secure_loans=False, max_future_days=0)
            client = build_app(served).test_client()
            poster = LedgerPoster(client, connection, make_token, rng)
            generator = AccruingGenerator(poster, rng, anchor, folder)
            run = partial(run_command, {**reach(settings), "COLUMNS": "200"})
            questions = AccrualQuestions(client, poster, run, rng, seed, days_near(anchor), folder)
            for number in range(ROUNDS):
                generator.start(range(1 + number * LOANS_PER_ROUND, 1 + (number + 1) * LOANS_PER_ROUND))
                generator.post(POSTINGS_PER_ROUND)
                while questions.answers < (number + 1) * ANSWERS_PER_ROUND:
                    questions.put()
        return questions

    return question


def days_near(anchor: date) -> range:
    return range(anchor.toordinal() - 60, anchor.toordinal() + 600)


def run_command(environment: dict[str, str], *arguments: str) -> Result:
    handler = signal.getsignal(signal.SIGTERM)  # which a command may change
    done = CliRunner().invoke(main, arguments, env=environment)
    signal.signal(signal.SIGTERM, handler)
    return done


@pytest.mark.timeout(max(120, ANSWERS // 10))
def test_payoff_arrears_and_accrual_agree_with_the_model(question, report_measurement):
    answers, too_large, began = 0, 0, time.monotonic()
    by_kind: Counter[str] = Counter()
    outcomes: Counter[tuple[str, str]] = Counter()
    for seed in count(SEED):
        if answers >= ANSWERS:
            break
        questions = question(seed)
        answers += questions.answers
        too_large += questions.too_large
        by_kind += questions.by_kind
        outcomes += questions.outcomes
        sys.stdout.write(f"seed {seed}: {answers} answers without a difference\n")
        sys.stdout.flush()
    report_measurement(
        f"payoff over HTTP: {answers} answers without a difference, seeds {SEED} to {seed - 1}, "
        f"{time.monotonic() - began:.0f} s ({', '.join(f'{kind} {n}' for kind, n in by_kind.most_common())})"
    )
    assert too_large > 0
    assert {kind for kind in AccrualQuestions.kinds if not by_kind[kind]} == {"reverse"}  # which asks nothing
    expected = {
        "accrue": ("interest", "interest_credit", "nothing", "refused"),
        "pay": ("with interest", "alone", "refused"),
        "make_schedule": (*METHODS, "refused"),
        "accrue_all": ("charged", "nothing", "skipped"),
    }
    assert [(kind, each) for kind, names in expected.items() for each in names if not outcomes[kind, each]] == []


def test_a_wrong_reply_is_found_and_its_question_named(question, monkeypatch):
    monkeypatch.setattr("service.web.routes.arrears.bucket_of", lambda days: "1-30" if days else "current")
    late = r"^seed 1: GET /api/v1/loan/[0-9]+/arrears/.*\nexpected: .*'bucket': '(31-60|61-90|91-120|over 120)'"
    with pytest.raises(pytest.fail.Exception, match=late):
        question(1)
