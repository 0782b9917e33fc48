"""Timelines for the tests of caches."""

import pytest

from native import FEE, Timeline


@pytest.fixture
def make():
    """Return a function that builds a timeline with a number of events."""

    def build(loan_id=1, version=3, horizon=7, events=3):
        return Timeline.build(
            loan_id=loan_id, version=version, horizon=horizon, start_day=18_000, initial=100_000, currency="USD",
            days=[18_000 + number for number in range(events)], kinds=[FEE] * events,
            amounts=[100 + number for number in range(events)], tx_ids=range(1, events + 1),
        )  # fmt: skip

    return build
