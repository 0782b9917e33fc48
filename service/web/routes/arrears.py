"""Route: how late a loan is on a date."""

from itertools import chain
from typing import Any

from flask import Response
from flask_openapi3 import APIBlueprint
from pydantic import BaseModel, Field

from native import arrears_at, day_number, installments_at, to_date
from service.domain.arrears import Bucket, bucket_of
from service.domain.money import to_decimal_string
from service.ledger.timeline_lookup import TimelineLookup
from service.web.payoff_members import shown_amounts
from service.web.routes.balance import LoanDayPath
from service.web.schemas.content_negotiation import json_or_csv
from service.web.schemas.headers import LOAN_HEADERS
from service.web.schemas.loan_query import COMMON_RESPONSES, LoanQuery, get_snapshot
from service.web.schemas.problem import problems
from service.web.schemas.query_fields import Currency, Day, DaysPastDue, Format, LoanId, Money, Version
from service.web.schemas.replies import LoanLedgerReply
from service.web.schemas.table_reply import LOAN_DAY_COLUMNS, Table, json_or_csv_reply, loan_day

COLUMNS = (*LOAN_DAY_COLUMNS, "due_date", "amt", "satisfied", "due", "past_due", "days", "bucket", "oldest_due_date")
_CSV_EXAMPLE = (
    f"{','.join(COLUMNS)}\r\n"
    "1,2020-07-01,USD,10,2020-06-01,500.00,120.00,,,,,\r\n"
    "1,2020-07-01,USD,10,,,,380.00,380.00,30,1-30,2020-06-01\r\n"
)


class ArrearsQuery(LoanQuery):
    """Query parameters: state of the loan, and format."""

    format: Format = None


class UnsatisfiedInstallment(BaseModel):
    """An installment that is not satisfied."""

    due_date: Day
    amt: Money
    satisfied: Money = Field(description="What payments have satisfied of it.", json_schema_extra={"example": "0.00"})


class ArrearsReply(LoanLedgerReply):
    """How late a loan is on a date."""

    model_config = json_or_csv(_CSV_EXAMPLE, LOAN_HEADERS)

    loan_id: LoanId
    date: Day
    currency: Currency
    version: Version
    due: Money = Field(description="What is not satisfied of the installments due by the date.")
    past_due: Money = Field(
        description="What is not satisfied of the installments due before the date, at most the payoff; 0 within the "
        "grace days."
    )
    days: DaysPastDue = Field(
        description="The number of days since the oldest unsatisfied due date; 0 within the grace days."
    )
    bucket: Bucket
    oldest_due_date: Day | None = Field(
        description="The oldest due date, by the date, of an installment that is not satisfied, or null."
    )
    installments: list[UnsatisfiedInstallment] = Field(
        description="Each installment that is not satisfied, by due date."
    )


def add_arrears_route(routes: APIBlueprint, lookup: TimelineLookup) -> None:
    """Add the route to a blueprint."""

    @routes.get(
        "/api/v1/loan/<loan_id>/arrears/<date>",
        summary="Get the arrears of a loan on a date",
        responses={200: ArrearsReply, **COMMON_RESPONSES, **problems(422)},
    )
    def arrears(path: LoanDayPath, query: ArrearsQuery) -> Response:
        """Return what is due and past due at the end of the day, and for how many days.

        An installment is due on its date and past due from the next day. What payments leave after fees satisfies
        installments in the order of their due dates. A loan without a schedule is current.

        `text/csv`, selected by `Accept` or `format`, has a row for each installment that is not satisfied. The last
        row has what is due and past due, without a `due_date`.
        """
        snapshot = get_snapshot(lookup, path, query)
        timeline, day = snapshot.timeline, day_number(path.date)
        with shown_amounts(path.loan_id):
            found = arrears_at(timeline, day)
            installments = installments_at(timeline, day)
        members = {
            "loan_id": timeline.loan_id,
            "date": path.date.isoformat(),
            "currency": timeline.currency,
            "version": timeline.version,
            "due": to_decimal_string(found.due, timeline.exponent),
            "past_due": to_decimal_string(found.past_due, timeline.exponent),
            "days": found.days,
            "bucket": bucket_of(found.days),
            "oldest_due_date": None if found.oldest_due_day is None else to_date(found.oldest_due_day).isoformat(),
            "installments": [
                {
                    "due_date": to_date(due_day).isoformat(),
                    "amt": to_decimal_string(amount, timeline.exponent),
                    "satisfied": to_decimal_string(satisfied, timeline.exponent),
                }
                for due_day, amount, satisfied in installments
                if satisfied < amount
            ],
        }
        return json_or_csv_reply(query.format, members, _to_table(members), lookup.as_of(snapshot), timeline.version)


def _to_table(members: dict[str, Any]) -> Table:
    loan = loan_day(members)
    rows = (loan | installment for installment in members["installments"])
    return Table(f"loan-{members['loan_id']}-arrears-{members['date']}", COLUMNS, chain(rows, [members]))
