"""Day counts of the core against QuantLib, for random pairs of dates."""

import warnings
from datetime import date
from random import Random

import pytest

from native import DAY_COUNTS, RATE_SCALE
from tests.models.payoff_timeline import to_number
from tests.support.core import load_core

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of the generated binding, on newer Pythons
    import QuantLib

FIRST, LAST = date(1901, 1, 1).toordinal(), date(2199, 12, 31).toordinal()  # the dates that QuantLib has
PAIRS_OF_A_DAY = 50
EXACT = {
    "ACT/365F": (QuantLib.Actual365Fixed(), 365),
    "ACT/360": (QuantLib.Actual360(), 360),
    # It is a difference of two numbers, one for each date, and therefore additive, as the definition here.
    "30E/360": (QuantLib.Thirty360(QuantLib.Thirty360.European), 360),
}
ACT_ACT = QuantLib.ActualActual(QuantLib.ActualActual.ISDA)


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


@pytest.mark.parametrize(("build", "pairs"), [("compiled", 100_000), ("interpreted", 10_000)])
@pytest.mark.parametrize("day_count", DAY_COUNTS)
def test_day_counts_are_those_of_quantlib(build, pairs, day_count):
    core, rng = load_core(build), Random(day_count)
    for _ in range(pairs // PAIRS_OF_A_DAY):
        first = random_day(rng)
        timeline = core.Timeline.build(
            loan_id=1, version=1, horizon=0, start_day=to_number(first), initial=1, currency="USD", exponent=2, days=(),
            kinds=(), amounts=(), tx_ids=(), versions=(), recorded_at=(), reverses=(),
            terms=[(to_number(first), RATE_SCALE, DAY_COUNTS.index(day_count), 0, 0)],
        )  # fmt: skip
        begin = to_quantlib(first)
        for _ in range(PAIRS_OF_A_DAY):
            last = max(first, random_day(rng, first.toordinal() if rng.random() < 0.7 else None))
            numerator, denominator = core.uncharged_at(timeline, to_number(last))
            if day_count == "ACT/ACT":
                # A multiple of 1 / (365 * 366): the nearest one to the float is exact.
                expected = round(ACT_ACT.yearFraction(begin, to_quantlib(last)) * 365 * 366)
                assert numerator * 365 * 366 == expected * denominator, (first, last)
            else:
                counter, basis = EXACT[day_count]
                assert numerator * basis == counter.dayCount(begin, to_quantlib(last)) * denominator, (first, last)
