"""The chart of the demonstration, up to the limits of the calendar."""

from datetime import date

import pytest

from native import Timeline, day_number
from service.cli.demo import CHART_HEIGHT, chart


@pytest.mark.parametrize(
    ("start", "day"),
    [
        ("9999-12-31", "9999-12-31"),
        ("0001-01-01", "9999-12-31"),
        ("2020-01-01", "2020-01-01"),
        ("2020-01-01", "2019-01-01"),
    ],
)
def test_a_chart_can_be_drawn_for_any_date(start, day):
    timeline = Timeline.build(
        loan_id=1, version=0, horizon=0, start_day=day_number(date.fromisoformat(start)), initial=100_00,
        currency="USD", exponent=2, days=[], kinds=[], amounts=[], tx_ids=[], versions=[], recorded_at=[], reverses=[],
    )  # fmt: skip
    text = chart(timeline, date.fromisoformat(day))
    assert len(text.splitlines()) == CHART_HEIGHT
    assert "Loan 1, balance in USD" in text
