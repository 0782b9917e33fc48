"""Route: how late a loan is on a date."""

from flask import Response
from flask_openapi3 import APIBlueprint
from pydantic import BaseModel, Field

from native import arrears_at, day_number, installments_at, to_date
from service.domain.arrears import Bucket, bucket_of
from service.domain.money import to_decimal_string
from service.ledger.timeline_lookup import TimelineLookup
from service.web.payoff_members import shown_amounts
from service.web.routes.balance import LoanDayPath
from service.web.schemas.loan_query import COMMON_RESPONSES, LoanQuery, get_snapshot
from service.web.schemas.problem import problems
from service.web.schemas.query_fields import Currency, Day, DaysPastDue, LoanId, Money, Version
from service.web.schemas.replies import LoanLedgerReply, ledger_reply


class UnsatisfiedInstallment(BaseModel):
    """An installment that is not satisfied."""

    due_date: Day
    amt: Money
    satisfied: Money = Field(description="What payments have satisfied of it.", json_schema_extra={"example": "0.00"})


class ArrearsReply(LoanLedgerReply):
    """How late a loan is on a date."""

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
    def arrears(path: LoanDayPath, query: LoanQuery) -> Response:
        """Return what is due and past due at the end of the day, and for how many days.

        An installment is due on its date and past due from the next day. What payments leave after fees satisfies
        installments in the order of their due dates. A loan without a schedule is current.
        """
        snapshot = get_snapshot(lookup, path, query)
        timeline, day = snapshot.timeline, day_number(path.date)
        with shown_amounts(path.loan_id):
            found = arrears_at(timeline, day)
            installments = installments_at(timeline, day)
        return ledger_reply(
            lookup,
            snapshot,
            {
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
            },
        )
