"""The terms and schedules of a loan as they were recorded, the latest first."""

from datetime import date
from decimal import Decimal
from typing import NamedTuple

from native import RATE_SCALE, Timeline
from service.domain.terms import to_percent
from service.ledger.agreement_log import AgreementLog, Record, Schedule, Terms
from service.plural import counted

MAX_RECORDS = 100
"""The most terms, and the most schedules, that are shown."""


class AgreementRow(NamedTuple):
    """Terms or a schedule: what they say, and whether they count in the loan's version.

    Attributes:
        record: When, by whom and why it was recorded.
        title: What it is.
        content: What it says, in a few words.
        total: The sum of a schedule's installments, in minor units; None for terms.
        standing: Whether it counts, in a few words.
    """

    record: Record
    title: str
    content: str
    total: int | None
    standing: str


def agreement_rows(timeline: Timeline, agreement_log: AgreementLog) -> tuple[list[AgreementRow], bool]:
    """Return the records of a loan's state, and whether there are more of them.

    Raises:
        DatabaseUnavailable: If they cannot be read.
    """
    if timeline.version == len(timeline):  # all its records are events
        return [], False
    selected = timeline.loan_id, timeline.version, 0, MAX_RECORDS + 1
    terms, schedules = agreement_log.terms(*selected), agreement_log.schedules(*selected)
    rows = [
        *(AgreementRow(each.record, "Terms", _describe_terms(each), None, _standing(each.record))
          for each in terms[:MAX_RECORDS]),
        *(AgreementRow(each.record, "Schedule", _describe_schedule(each),
                       int(sum(each.amounts, Decimal()).scaleb(timeline.exponent)), _standing(each.record))
          for each in schedules[:MAX_RECORDS]),
    ]  # fmt: skip
    rows.sort(key=lambda row: row.record.version, reverse=True)
    return rows, max(len(terms), len(schedules)) > MAX_RECORDS


def _describe_terms(terms: Terms) -> str:
    rate, order = to_percent(int(Decimal(terms.rate) * RATE_SCALE)), ", ".join(terms.allocation)
    return f"{rate}% a year, {terms.day_count}; {order}; {counted(terms.grace_days, 'grace day')}"


def _describe_schedule(schedule: Schedule) -> str:
    name = "" if schedule.method is None else f", {schedule.method['name'].replace('_', ' ')}"
    return f"{counted(len(schedule.due_dates), 'installment')}{name}; {_span(schedule.due_dates)}"


def _span(due_dates: list[date]) -> str:
    return f"{due_dates[0]}" if len(due_dates) == 1 else f"{due_dates[0]} to {due_dates[-1]}"


def _standing(record: Record) -> str:
    if record.reverses is not None:
        return f"reverses version {record.reverses}"
    if record.reversed_by is not None:
        return f"reversed by version {record.reversed_by}"
    return "applies" if record.applies else "replaced"
