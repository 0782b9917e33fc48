"""Random loans: payoff and arrears of the core are those of a model in exact fractions."""

import os
import pickle
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from random import Random

import pytest

from tests.models.payoff_book import compare_book
from tests.models.payoff_comparison import Difference, compare_loans
from tests.support.core import load_core

LOANS = int(os.environ.get("LOANER_LOANS", "4000"))
SEED = int(os.environ.get("LOANER_SEED", "0")) or (Random().randrange(1, 10**9) if "LOANER_LOANS" in os.environ else 1)
PROCESSES = 2
CHUNK = 1000
LOANS_OF_A_BOOK = 100
INTERPRETED_CHUNKS = 4  # of so many chunks one runs on the interpreted core, too, which takes most of the time


def compare_chunk(seed: int, first: int) -> int:
    """Compare the answers about a chunk of loans, and about a book of other loans; return the number of answers."""
    builds = ["compiled"] if first // CHUNK % INTERPRETED_CHUNKS else ["compiled", "interpreted"]
    cores = {build: load_core(build) for build in builds}
    return compare_loans(cores, seed, first, CHUNK) + compare_book(cores, seed, first, LOANS_OF_A_BOOK)


@pytest.mark.timeout(max(120, LOANS // 20))
def test_payoff_and_arrears_agree_with_the_model(report_measurement):
    began, answers = time.monotonic(), 0
    chunks = range(0, LOANS, CHUNK)
    load_core("compiled")  # or the test is skipped
    pool = ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn"))
    try:
        for first, found in zip(chunks, pool.map(partial(compare_chunk, SEED), chunks), strict=True):
            answers += found
            sys.stdout.write(f"{first + CHUNK} loans, {answers} answers without a difference\n")
            sys.stdout.flush()
    finally:
        pool.shutdown(cancel_futures=True)
    report_measurement(
        f"payoff differential test: {LOANS} loans, {answers} answers without a difference, seed {SEED}, "
        f"{time.monotonic() - began:.0f} s"
    )


def test_a_wrong_answer_is_found_and_its_loan_named():
    core = load_core("interpreted")
    right = core.arrears_at
    core.arrears_at = lambda timeline, day: right(timeline, day)._replace(days=right(timeline, day).days % 120)
    with pytest.raises(Difference, match=r"^loan [0-9]+ of seed 1 at version .*\ninterpreted arrears_at on ") as raised:
        compare_loans({"interpreted": core}, 1, 0, CHUNK)
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)
