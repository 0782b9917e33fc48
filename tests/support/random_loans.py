"""Stores loans of the payoff model in the ledger's tables, with the versions and times that the model gives them."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from psycopg2.extensions import connection as Connection
from psycopg2.extras import execute_values

from tests.models.payoff_generator import CURRENCIES
from tests.models.payoff_model import Event, Loan, Schedule, Terms

# When loans were recorded. Each further version of a loan is recorded a second later.
RECORDED = datetime(2026, 1, 1, tzinfo=UTC)
_LOANS = """
    INSERT INTO loans (loan_id, start_date, initial_amt, currency, exponent, version, turnover, agreements, recorded_at)
    VALUES %s
"""
_EVENTS = """
    INSERT INTO loan_events (loan_id, version, recorded_at, tx_id, event_type, post_date, amt, reverses)
    OVERRIDING SYSTEM VALUE VALUES %s
"""
_TERMS = """
    INSERT INTO loan_terms
        (loan_id, version, recorded_at, posted_by, effective_date, rate, day_count, allocation, grace_days, reverses)
    VALUES %s
"""
_SCHEDULES = """
    INSERT INTO loan_schedules
        (loan_id, version, recorded_at, posted_by, effective_date, due_dates, amts, reverses)
    VALUES %s
"""


def moment_of(version: int) -> datetime:
    """Return the time at which every loan has at most this version."""
    return RECORDED + timedelta(seconds=version)


def store(connection: Connection, loans: Sequence[Loan]) -> None:
    """Insert loans whose ids count from 1, in one transaction.

    The model dates some reversals before their event, as releases before 1.0.0 allowed; functions refuse these.

    Args:
        connection: A connection of the owner of the tables, which may insert.
        loans: The loans.
    """
    with connection, connection.cursor() as cursor:
        for query, rows in (
            (_LOANS, [_loan_row(*numbered) for numbered in enumerate(loans, 1)]),
            (_EVENTS, [row for numbered in enumerate(loans, 1) for row in _event_rows(*numbered)]),
            (_TERMS, [row for numbered in enumerate(loans, 1) for row in _term_rows(*numbered)]),
            (_SCHEDULES, [row for numbered in enumerate(loans, 1) for row in _schedule_rows(*numbered)]),
        ):
            if rows:
                execute_values(cursor, query, rows)


def to_decimal(amount: int, loan: Loan) -> Decimal:
    """Return minor units as an amount in a loan's currency."""
    return Decimal(amount).scaleb(-CURRENCIES[loan.currency])


def _loan_row(loan_id: int, loan: Loan) -> tuple[object, ...]:
    turnover = to_decimal(sum(event.amt for event in loan.events), loan)
    agreements = len(loan.terms) + len(loan.schedules)
    money = loan.currency, CURRENCIES[loan.currency]
    return loan_id, loan.start, to_decimal(loan.initial, loan), *money, loan.version, turnover, agreements, RECORDED


def _event_rows(loan_id: int, loan: Loan) -> Iterable[tuple[object, ...]]:
    tx_ids = {event.version: event.tx_id for event in loan.events}
    for event in loan.events:
        reverses = None if event.reverses is None else tx_ids[event.reverses]
        content = event.tx_id, event.kind, event.day, to_decimal(event.amt, loan), reverses
        yield *_head(loan_id, event), *content


def _term_rows(loan_id: int, loan: Loan) -> Iterable[tuple[object, ...]]:
    for terms in loan.terms:
        rate = Decimal(terms.rate.numerator) / terms.rate.denominator
        content = terms.effective, rate, terms.day_count, list(terms.allocation), terms.grace_days, terms.reverses
        yield *_head(loan_id, terms), "ann", *content


def _schedule_rows(loan_id: int, loan: Loan) -> Iterable[tuple[object, ...]]:
    for schedule in loan.schedules:
        due_dates, amounts = zip(*schedule.installments, strict=True)
        amts = [to_decimal(amount, loan) for amount in amounts]
        yield *_head(loan_id, schedule), "ann", schedule.effective, list(due_dates), amts, schedule.reverses


def _head(loan_id: int, record: Event | Terms | Schedule) -> tuple[object, ...]:
    return loan_id, record.version, moment_of(record.version)
