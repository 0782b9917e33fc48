"""Random loans: payoff and arrears of the core, in both builds, are those of a model in exact fractions."""

import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from random import Random

import pytest

from tests.models.payoff_comparison import compare_loans
from tests.support.core import load_core

LOANS = int(os.environ.get("LOANER_LOANS", "3000"))
SEED = int(os.environ.get("LOANER_SEED", "0")) or (Random().randrange(1, 10**9) if "LOANER_LOANS" in os.environ else 1)
PROCESSES = 2
CHUNK = 1000


def compare_chunk(first: int) -> int:
    cores = {build: load_core(build) for build in ("compiled", "interpreted")}
    return compare_loans(cores, SEED, first, min(CHUNK, LOANS - first))


@pytest.mark.timeout(max(120, LOANS // 20))
def test_payoff_and_arrears_agree_with_the_model(report_measurement):
    began, answers = time.monotonic(), 0
    chunks = range(0, LOANS, CHUNK)
    with ProcessPoolExecutor(PROCESSES) as pool:
        for first, found in zip(chunks, pool.map(compare_chunk, chunks), strict=True):
            answers += found
            sys.stdout.write(f"{first + CHUNK} loans, {answers} answers without a difference\n")
            sys.stdout.flush()
    report_measurement(
        f"payoff differential test: {LOANS} loans, {answers} answers of each build without a difference, "
        f"seed {SEED}, {time.monotonic() - began:.0f} s"
    )
