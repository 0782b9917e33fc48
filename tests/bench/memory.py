"""Memory use of timelines."""

import tracemalloc

import native

DAY = 18_262  # 2020-01-01


def measure_timelines(count: int = 1000, events: int = 20) -> int:
    """Return the bytes that a number of timelines occupy, including the objects that they refer to."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        kept = [build_timeline(loan_id, events) for loan_id in range(1, count + 1)]
        after, _ = tracemalloc.get_traced_memory()
        assert len(kept) == count
        return after - before
    finally:
        tracemalloc.stop()


def build_timeline(loan_id: int, events: int) -> native.Timeline:  # type: ignore[valid-type]
    """Return the timeline of a loan with one event a day."""
    return native.Timeline.build(
        loan_id=loan_id, version=events, horizon=1, start_day=DAY, initial=10**6, currency="USD", exponent=2,
        days=range(DAY, DAY + events), kinds=[native.FEE] * events, amounts=[100] * events, tx_ids=range(events),
        versions=range(1, events + 1), recorded_at=[0] * events, reverses=[0] * events,
    )  # fmt: skip
