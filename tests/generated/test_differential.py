"""Random questions about random ledgers: the service answers them over HTTP as a model with Decimals does."""

import os
import sys
import time
from collections import Counter
from contextlib import closing
from datetime import timedelta
from itertools import count
from random import Random

import pytest

from service.postgres.connect import connect
from tests.conftest import serving
from tests.models.ledger_generator import DAYS, FIRST, LedgerGenerator
from tests.models.ledger_poster import LedgerPoster
from tests.models.questions import Questions
from tests.support.application import build_app
from tests.support.settings import with_changes

ANSWERS = int(os.environ.get("LOANER_ANSWERS", "8000"))
SEED = int(os.environ.get("LOANER_SEED", "0")) or (
    Random().randrange(1, 10**9) if "LOANER_ANSWERS" in os.environ else 1
)
ANSWERS_PER_LEDGER = 10_000
LOANS, BATCHES = 40, 300
QUESTIONED_DAYS = range((FIRST - timedelta(days=10)).toordinal(), (FIRST + timedelta(days=DAYS + 40)).toordinal())


@pytest.mark.timeout(max(120, ANSWERS // 20))
def test_answers_agree_with_the_model(databases, keys_dir, make_token, report_measurement):
    answers, began = 0, time.monotonic()
    by_kind: Counter[str] = Counter()
    later_pages: Counter[str] = Counter()
    for seed in count(SEED):
        if answers >= ANSWERS:
            break
        rng = Random(seed)
        with databases.create() as settings, closing(connect(settings, "posting")) as connection:
            client = build_app(with_changes(serving(settings, keys_dir), secure_loans=False)).test_client()
            ledger = LedgerGenerator(LedgerPoster(client, connection, make_token, rng), rng).generate(LOANS, BATCHES)
            questions = Questions(client, ledger, rng, seed, QUESTIONED_DAYS)
            while questions.answers < min(ANSWERS - answers, ANSWERS_PER_LEDGER):
                questions.put()
            answers += questions.answers
            by_kind += questions.by_kind
            later_pages += questions.later_pages
            sys.stdout.write(f"seed {seed}: {answers} answers without a difference\n")
            sys.stdout.flush()
    report_measurement(
        f"differential test: {answers} answers without a difference, seeds {SEED} to {seed - 1}, "
        f"{time.monotonic() - began:.0f} s ({', '.join(f'{kind} {n}' for kind, n in by_kind.most_common())})"
    )
    assert len(by_kind) == 11
    assert min(by_kind.values()) >= ANSWERS / 500
    assert later_pages.keys() == {"statement", "event_list", "loans"}
    assert min(later_pages.values()) >= ANSWERS / 500
