"""Generates sample ledgers; the same seed gives the same ledger."""

import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from service.bulk_load.progress import OnProgress, Progress, ignore_progress
from service.bulk_load.sample_agreement import make_agreement
from service.domain.money import to_decimal_string

CENTS = 2  # decimals of every amount
FIRST_DAY = date(2020, 1, 1)
_LOANS_PER_REPORT = 100
DAYS = 366  # all events are in 2020


@dataclass(frozen=True)
class SampleLoan:
    """A loan with its events, each a tuple of type, day and cents."""

    loan_id: int
    start_date: date
    initial_cents: int
    events: tuple[tuple[str, date, int], ...]

    def loan_row(self) -> str:
        """Return the row of LOANS.csv: loan_id, start_date, initial_amt."""
        return f"{self.loan_id},{self.start_date},{to_decimal_string(self.initial_cents, CENTS)}\n"

    def event_rows(self) -> str:
        """Return the rows of EVENTS.csv: loan_id, event_type, post_date, amt."""
        return "".join(
            f"{self.loan_id},{kind},{day},{to_decimal_string(cents, CENTS)}\n" for kind, day, cents in self.events
        )


def sample_loans(loans: int = 10, events_per_loan: int = 10, seed: int = 1, first_id: int = 1) -> Iterator[SampleLoan]:
    """Yield loans of December 2019 with events in 2020, sorted by date.

    Half of the events are payments, two fifths are interest of about one percent of the principal, the rest are fees.
    """
    generator = random.Random(seed)
    days = [FIRST_DAY + timedelta(days=number) for number in range(DAYS)]
    for loan_id in range(first_id, first_id + loans):
        principal = generator.randrange(1_000, 50_001) * 100
        payment = max(100, 2 * principal // max(events_per_loan, 1) // 3)
        dates = sorted(generator.choices(range(DAYS), k=events_per_loan))
        events = []
        for number in dates:
            kind = generator.choices(("payment", "interest", "fee"), (5, 4, 1))[0]
            if kind == "payment":
                cents = generator.randrange(payment // 2, payment + 1)
            elif kind == "interest":
                cents = max(1, principal * generator.randrange(80, 121) // 10_000)
            else:
                cents = generator.randrange(500, 5_001)
            events.append((kind, days[number], cents))
        start = date(2019, 12, generator.randrange(1, 32))
        yield SampleLoan(loan_id, start, principal, tuple(events))


def write_sample(
    loans_file: Path,
    events_file: Path,
    loans: int = 10,
    events_per_loan: int = 10,
    seed: int = 1,
    first_id: int = 1,
    on_progress: OnProgress = ignore_progress,
    schedules_file: Path | None = None,
) -> None:
    """Write sample files for `load`. Events are sorted by loan.

    With a file of schedules, the file of loans has terms. Loans and events are the same as without.
    """
    with ExitStack() as files:
        loan_rows = files.enter_context(loans_file.open("w"))
        event_rows = files.enter_context(events_file.open("w"))
        schedule_rows = files.enter_context(schedules_file.open("w")) if schedules_file is not None else None
        if schedule_rows is not None:
            loan_rows.write("loan_id,start_date,initial_amt,rate,day_count,allocation,grace_days\n")
        for number, loan in enumerate(sample_loans(loans, events_per_loan, seed, first_id), start=1):
            event_rows.write(loan.event_rows())
            if schedule_rows is None:
                loan_rows.write(loan.loan_row())
            else:
                agreement = make_agreement(loan.loan_id, loan.start_date, loan.initial_cents, seed)
                loan_rows.write(loan.loan_row().rstrip("\n") + agreement.terms_fields())
                schedule_rows.write(agreement.schedule_rows())
            if number % _LOANS_PER_REPORT == 0 or number == loans:
                on_progress(Progress("writing", number * (events_per_loan + 1), number, loans))
