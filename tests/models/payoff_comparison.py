"""Puts the same questions about random loans to the core and to the model of payoff and arrears."""

from collections.abc import Iterator
from datetime import date
from fractions import Fraction
from random import Random
from typing import Any

from tests.models.payoff_generator import LoanGenerator
from tests.models.payoff_model import FEES, INTEREST, PRINCIPAL, Loan, Walk, total_interest
from tests.models.payoff_timeline import build_timeline, to_day, to_number

MAX64 = 2**63 - 1
DAYS_NOW, DAYS_THEN = 2, 1


class Difference(Exception):
    """An answer of the core that differs from the model's. The message has all that is needed to repeat it."""


def difference(question: str, expected: object, actual: object) -> Difference:
    return Difference(f"{question}\nexpected: {expected}\nactual:   {actual}")


def compare_loans(cores: dict[str, Any], seed: int, first: int, count: int) -> int:
    """Compare the answers about loans `first` to `first + count` of a seed, and return how many answers there were.

    Each loan is questioned with all its records, and as it was known at a random version.

    Args:
        cores: The builds of the core by their names.
        seed: Determines the loans, each by itself.
        first: The number of the first loan.
        count: How many loans.

    Raises:
        Difference: If an answer differs.
    """
    answers = 0
    for number in range(first, first + count):
        rng = Random(f"{seed}/{number}")
        generator = LoanGenerator(rng)
        loan = generator.generate()
        for version, days in ((loan.version, DAYS_NOW), (rng.randint(0, loan.version), DAYS_THEN)):
            known = loan.known(version)
            try:
                answers += sum(_compare(cores, known, generator.days(loan, days)))
            except Difference as err:
                where = f"loan {number} of seed {seed} at version {version}: {known!r}"
                raise Difference(f"{where}\n{err}") from None
    return answers


def _compare(cores: dict[str, Any], loan: Loan, days: list[date]) -> Iterator[int]:
    """Yield numbers of answers that agree."""
    timelines = {build: build_timeline(core, loan) for build, core in cores.items()}
    totals: list[int] = []
    for day in days:
        expected, total, walk = _expected_answers(loan, day)
        totals.append(total)
        number = to_number(day)
        for build, core in cores.items():
            for function, right in expected.items():
                actual = _answer(getattr(core, function), timelines[build], number)
                if function == "uncharged_at":
                    actual = Fraction(*actual)
                if actual != right:
                    raise difference(f"{build} {function} on {day}", right, actual)
            if day == days[0]:
                _check_segments(core.accrual_segments(timelines[build], number), walk, f"{build} on {day}")
        yield len(expected) + (day == days[0])
    begin = loan.first_accrual_day()
    expected = {
        "payoff_totals": totals if all(-MAX64 <= total <= MAX64 for total in totals) else OverflowError,
        "first_accrual_day": None if begin is None else to_number(begin),
    }
    for build, core in cores.items():
        actual = {
            "payoff_totals": _answer(core.payoff_totals, timelines[build], [to_number(day) for day in days]),
            "first_accrual_day": core.first_accrual_day(timelines[build]),
        }
        if actual != expected:
            raise difference(f"{build} on {days}", expected, actual)
    yield len(expected)


def _expected_answers(loan: Loan, day: date) -> tuple[dict[str, object], int, Walk]:
    """Return the model's answers by the core's functions, the payoff, and the walk."""
    payoff, arrears, installments, walk = loan.answers(day)
    oldest = None if arrears.oldest_due_date is None else to_number(arrears.oldest_due_date)
    fits = all(-MAX64 <= value <= MAX64 for value in (*payoff, arrears.due))
    expected = {
        "balance_parts": tuple(walk.parts[part] for part in (FEES, INTEREST, PRINCIPAL)),
        "uncharged_at": walk.accrued - walk.charged,
        "payoff_at": tuple(payoff) if fits else OverflowError,
        "arrears_at": (arrears.due, arrears.past_due, arrears.days, oldest) if fits else OverflowError,
        "installments_at": [(to_number(due), amt, satisfied) for due, amt, satisfied in installments],
    }
    return expected, payoff.total, walk


def _answer(function: Any, *arguments: object) -> object:
    try:
        actual = function(*arguments)
    except OverflowError:
        return OverflowError
    return tuple(actual) if isinstance(actual, tuple) else list(actual)


def _check_segments(segments: list[Any], walk: Walk, where: str) -> None:
    """Check that the segments follow one another, and have the interest of their days in the model."""
    accruals = {accrual.day: accrual for accrual in walk.accruals}
    end = 0
    for position, segment in enumerate(segments):
        days = [to_day(number) for number in range(segment.first_day, segment.last_day)]
        covered = [accruals.pop(day, None) for day in days]
        if not covered or None in covered or (position and segment.first_day < end):
            raise difference(f"{where}: {segment}", "days on which interest accrues, in order", days)
        end = segment.last_day
        expected = (
            {(accrual.principal, accrual.terms.version) for accrual in covered},
            covered[0].terms.rate,
            covered[0].terms.day_count,
            sum(accrual.weight for accrual in covered),
            total_interest(covered),
        )
        actual = (
            {(segment.principal, covered[0].terms.version)},
            Fraction(segment.rate, 10**8),
            segment.day_count,
            segment.days,
            Fraction(segment.numerator, segment.denominator),
        )
        if actual != expected:
            raise difference(f"{where}: {segment}", expected, actual)
    if total_interest(accruals.values()) != 0:
        raise difference(where, "a segment for each day with interest", accruals)
