"""The chart of the demonstration, at the ends of the calendar."""

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
def test_a_chart_is_drawn_at_any_date(start, day):
    timeline = Timeline.build(
        loan_id=1, version=0, horizon=0, start_day=day_number(date.fromisoformat(start)), initial=100_00,
        currency="USD", exponent=2, days=[], kinds=[], amounts=[], tx_ids=[], versions=[], recorded_at=[], reverses=[],
    )  # fmt: skip
    drawn = chart(timeline, date.fromisoformat(day))
    assert len(drawn.splitlines()) == CHART_HEIGHT
    assert "Loan 1, balance in USD" in drawn
