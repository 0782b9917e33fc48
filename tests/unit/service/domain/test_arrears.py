"""Buckets by days past due."""

import pytest

from service.domain.arrears import BUCKETS, bucket_of


@pytest.mark.parametrize(
    ("days", "bucket"),
    [(0, "current"), (1, "1-30"), (30, "1-30"), (31, "31-60"), (60, "31-60"), (61, "61-90"), (90, "61-90"),
     (91, "91-120"), (120, "91-120"), (121, "over 120"), (3_000_000, "over 120")],
)  # fmt: skip
def test_each_bucket_ends_with_its_last_day(days, bucket):
    assert bucket_of(days) == bucket
    assert bucket in BUCKETS
