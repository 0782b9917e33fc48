"""Timelines for the tests of caches."""

import pytest

from native import FEE, Timeline


@pytest.fixture
def make():
    """Return a function that builds a timeline with a number of events."""

    def build(loan_id=1, version=3, horizon=7, events=3):
        version = max(version, events)
        return Timeline.build(
            loan_id=loan_id, version=version, horizon=horizon, start_day=18_000, initial=100_000, currency="USD",
            exponent=2,
            days=[18_000 + number for number in range(events)], kinds=[FEE] * events,
            amounts=[100 + number for number in range(events)], tx_ids=range(1, events + 1),
            versions=range(1, events + 1), recorded_at=[0] * events, reverses=[0] * events,
        )  # fmt: skip

    return build
