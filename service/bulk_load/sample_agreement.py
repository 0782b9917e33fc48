"""Generates terms and schedules of sample loans; the same seed gives the same ones."""

import random
from dataclasses import dataclass
from datetime import date, timedelta

from native import DAY_COUNTS, RATE_SCALE, day_number
from service.bulk_load.terms_fields import ALLOCATIONS
from service.domain.money import to_decimal_string
from service.domain.schedule import ScheduleMethod, make_installments

_CENTS = 2
_BASIS_POINT = RATE_SCALE // 10_000
_INSTALLMENTS = 12  # monthly, so that they end within the year of the events


@dataclass(frozen=True)
class SampleAgreement:
    """The terms of a loan from its start date, and its schedule, whose amounts are cents."""

    loan_id: int
    start_date: date
    basis_points: int
    day_count: str
    allocation: str
    grace_days: int
    installments: tuple[tuple[date, int], ...]

    def terms_fields(self) -> str:
        """Return the end of the row of LOANS.csv: rate, day_count, allocation, grace_days."""
        rate = to_decimal_string(self.basis_points, 4)
        return f",{rate},{self.day_count},{self.allocation},{self.grace_days}\n"

    def schedule_rows(self) -> str:
        """Return the rows of SCHEDULES.csv: loan_id, effective_date, due_date, amt."""
        return "".join(
            f"{self.loan_id},{self.start_date},{due_date},{to_decimal_string(cents, _CENTS)}\n"
            for due_date, cents in self.installments
        )


def make_agreement(loan_id: int, start_date: date, initial_cents: int, seed: int) -> SampleAgreement:
    """Return terms of 4 to 12 percent and an annuity of twelve months for a loan.

    Args:
        loan_id: The loan.
        start_date: From when on the terms and the schedule apply.
        initial_cents: The principal.
        seed: The same seed gives the same agreement.
    """
    generator = random.Random(f"{seed} {loan_id}")
    basis_points = 25 * generator.randrange(16, 49)
    day_count = generator.randrange(len(DAY_COUNTS))
    allocation = generator.choices(range(len(ALLOCATIONS)), (10, 1, 1, 1, 1, 1))[0]
    grace_days = generator.choice((0, 5, 10, 15))
    terms = [(day_number(start_date), basis_points * _BASIS_POINT, day_count, allocation, grace_days)]
    first_due_date = start_date + timedelta(days=30)
    method = ScheduleMethod("annuity", _INSTALLMENTS, first_due_date, every_months=1)
    installments = make_installments(method, initial_cents, start_date, terms)
    return SampleAgreement(
        loan_id, start_date, basis_points, DAY_COUNTS[day_count], ALLOCATIONS[allocation], grace_days,
        tuple(installments),
    )  # fmt: skip
