"""Converts a loan of the payoff model to the core's timeline."""

from datetime import date, timedelta

from tests.models.payoff_generator import ALLOCATIONS, CURRENCIES
from tests.models.payoff_model import DAY_COUNTS, Loan, Schedule, Terms

EPOCH = date(1970, 1, 1)
KINDS = {"fee": 1, "interest": 2, "payment": 3, "interest_credit": 4}
TermsRow = tuple[int, int, int, int, int]


def to_number(day: date) -> int:
    return (day - EPOCH).days


def to_day(number: int) -> date:
    return EPOCH + timedelta(days=number)


def terms_row(terms: Terms) -> TermsRow:
    rate = terms.rate * 10**8
    assert rate.denominator == 1
    return (
        to_number(terms.effective),
        rate.numerator,
        DAY_COUNTS.index(terms.day_count),
        ALLOCATIONS.index(terms.allocation),
        terms.grace_days,
    )


def schedule_row(schedule: Schedule) -> tuple[int, list[tuple[int, int]]]:
    return to_number(schedule.effective), [(to_number(due), amt) for due, amt in schedule.installments]


def build_timeline(core, loan: Loan):
    """Build the timeline of a loan with one build of the core."""
    events = sorted(loan.events, key=lambda event: (event.day, event.tx_id))
    tx_ids = {event.version: event.tx_id for event in events}
    return core.Timeline.build(
        loan_id=7,
        version=loan.version,
        horizon=1,
        start_day=to_number(loan.start),
        initial=loan.initial,
        currency=loan.currency,
        exponent=CURRENCIES[loan.currency],
        days=[to_number(event.day) for event in events],
        kinds=[KINDS[event.kind] | (0 if event.reverses is None else 0x80) for event in events],
        amounts=[event.amt for event in events],
        tx_ids=[event.tx_id for event in events],
        versions=[event.version for event in events],
        recorded_at=[0 for _ in events],
        reverses=[0 if event.reverses is None else tx_ids[event.reverses] for event in events],
        terms=[terms_row(terms) for terms in loan.effective_terms],
        schedules=[schedule_row(schedule) for schedule in loan.effective_schedules],
    )
