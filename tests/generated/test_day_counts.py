"""Day counts of the core against QuantLib, for random pairs of dates."""

from datetime import date
from random import Random

import pytest
import QuantLib

from native import DAY_COUNTS, RATE_SCALE
from tests.models.payoff_timeline import to_number
from tests.support.core import load_core

FIRST, LAST = date(1901, 1, 1).toordinal(), date(2198, 12, 31).toordinal()  # the years that QuantLib has, less its last
PAIRS_OF_A_DAY = 50
ACT_ACT = QuantLib.ActualActual(QuantLib.ActualActual.ISDA)
# 30E/360 is a difference of two numbers, one for each date, and therefore additive, as the definition here.
COUNTERS = {
    "ACT/365F": (QuantLib.Actual365Fixed(), 365),
    "ACT/360": (QuantLib.Actual360(), 360),
    "30E/360": (QuantLib.Thirty360(QuantLib.Thirty360.European), 360),
}


def random_day(rng: Random, near: int | None = None) -> date:
    """Return a day, often at the end of a month or of a year."""
    ordinal = rng.randint(FIRST + 40, LAST) if near is None else min(near + rng.randrange(1, 5000), LAST)
    day = date.fromordinal(ordinal)
    match rng.randrange(4):
        case 0:
            return date.fromordinal(day.replace(day=1).toordinal() - rng.randrange(3))
        case 1:
            return date(day.year, *rng.choice(((2, 28), (3, 1), (12, 31), (1, 1), (1, 31), (1, 30))))
    return day


def to_quantlib(day: date) -> QuantLib.Date:
    return QuantLib.Date(day.day, day.month, day.year)


def expected_fraction(day_count: str, first: QuantLib.Date, last: QuantLib.Date) -> tuple[int, int]:
    """Return the fraction of a year as a numerator and a denominator."""
    if day_count == "ACT/ACT":
        # A multiple of 1 / (365 * 366): the one nearest to the float is exact.
        return round(ACT_ACT.yearFraction(first, last) * 365 * 366), 365 * 366
    counter, basis = COUNTERS[day_count]
    return counter.dayCount(first, last), basis


@pytest.mark.parametrize(("build", "pairs"), [("compiled", 100_000), ("interpreted", 10_000)])
def test_day_counts_are_those_of_quantlib(build, pairs):
    core, rng = load_core(build), Random(1)
    for _ in range(pairs // PAIRS_OF_A_DAY):
        first = random_day(rng)
        begin, start_day = to_quantlib(first), to_number(first)
        timelines = {
            day_count: core.Timeline.build(
                loan_id=1, version=1, horizon=0, start_day=start_day, initial=1, currency="USD", exponent=2, days=(),
                kinds=(), amounts=(), tx_ids=(), versions=(), recorded_at=(), reverses=(),
                terms=[(start_day, RATE_SCALE, code, 0, 0)],
            )
            for code, day_count in enumerate(DAY_COUNTS)
        }  # fmt: skip
        for _ in range(PAIRS_OF_A_DAY):
            last = max(first, random_day(rng, first.toordinal() if rng.random() < 0.7 else None))
            end, number = to_quantlib(last), to_number(last)
            for day_count, timeline in timelines.items():
                numerator, denominator = core.uncharged_at(timeline, number)
                days, basis = expected_fraction(day_count, begin, end)
                assert numerator * basis == days * denominator, (day_count, first, last)
