"""Histograms that are written in batches."""

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Histogram

from service.observability import batched_histogram
from service.observability.batched_histogram import BatchedHistogram

BOUNDS = (0.001, 0.5, 1, 10)
AMOUNTS = st.one_of(st.sampled_from(BOUNDS), st.floats(0, 1e6))


def series(histogram: Histogram) -> dict[tuple[str, ...], float]:
    samples = [sample for family in histogram.collect() for sample in family.samples]
    return {
        (s.name.rpartition("_")[2], *s.labels.values()): s.value for s in samples if not s.name.endswith("_created")
    }


def build() -> BatchedHistogram:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batched_histogram, "Histogram", partial(Histogram, registry=None))
        return BatchedHistogram("waits", "For this test.", ("route", "status"), BOUNDS)


@given(st.lists(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from((200, 404)), AMOUNTS))))
def test_batches_count_the_same_as_single_observations(batches):
    single = Histogram("waits", "For this test.", ("route", "status"), buckets=BOUNDS, registry=None)
    batched = build()
    for batch in batches:
        for route, status, amount in batch:
            single.labels(route, status).observe(amount)
            batched.add((route, status), [amount])
        batched.flush()
    expected, found = series(single), series(batched._histogram)
    assert found == pytest.approx(expected, rel=1e-12)


def test_a_new_series_that_cannot_be_stored_keeps_its_observations_and_stops_no_other(monkeypatch):
    batched = build()
    batched.add(("a", 200), [0.2])
    batched.flush()
    labels = batched._histogram.labels

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(batched._histogram, "labels", fail)
    for _ in range(2):
        batched.add(("b", 200), [0.5, 0.7])
        batched.add(("a", 200), [2])
        with pytest.raises(OSError, match="disk full"):
            batched.flush()
    assert series(batched._histogram)["count", "a", "200"] == 3
    monkeypatch.setattr(batched._histogram, "labels", labels)
    batched.flush()
    found = series(batched._histogram)
    assert (found["count", "b", "200"], found["sum", "b", "200"]) == (4, pytest.approx(2.4))
    assert (found["bucket", "b", "200", "0.5"], found["bucket", "b", "200", "1.0"]) == (2, 4)
