"""Route: what settles a loan on a date."""

from itertools import chain
from typing import Any

from flask import Response
from flask_openapi3 import APIBlueprint
from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema

from native import Timeline, day_number, payoff_totals, to_date
from service.domain.money import to_decimal_string
from service.ledger.timeline_lookup import TimelineLookup
from service.web.payoff_explanation import explain_payoff
from service.web.payoff_members import days_through, itemized_payoff, shown_amounts
from service.web.routes.balance import LoanDayPath
from service.web.schemas.common import only_if, optional_member
from service.web.schemas.content_negotiation import json_or_csv, refuse_explanation_as_csv
from service.web.schemas.headers import LOAN_HEADERS
from service.web.schemas.loan_query import COMMON_RESPONSES, LoanQuery, get_snapshot
from service.web.schemas.problem import problems
from service.web.schemas.query_fields import Currency, Day, Explain, Format, GoodThrough, LoanId, Money, Version
from service.web.schemas.replies import LoanLedgerReply
from service.web.schemas.table_reply import LOAN_DAY_COLUMNS, Table, json_or_csv_reply, loan_day

COLUMNS = (*LOAN_DAY_COLUMNS, "principal", "interest_charged", "interest_uncharged", "fees", "total", "per_diem")
_CSV_EXAMPLE = (
    f"{','.join(COLUMNS)}\r\n"
    "1,2020-07-01,USD,10,9636.65,0.00,42.10,0.00,9678.75,2.64\r\n"
    "1,2020-07-02,USD,10,,,,,9681.39,\r\n"
)


class PayoffQuery(LoanQuery):
    """Query parameters: state of the loan, further days, explanation and format."""

    good_through: GoodThrough = None
    explain: Explain = Field(
        default=False,
        description="Adds the segments over which interest has accrued (at most 10,000) and a digest of them.",
    )
    format: Format = None


class DayTotal(BaseModel):
    """What settles the loan on a later day if nothing is posted until then."""

    date: Day
    total: Money


class SegmentReply(BaseModel):
    """Days over which interest accrues on one principal at one rate."""

    first: Day = Field(alias="from", description="The first day whose interest counts.")
    last: Day = Field(alias="to", description="The day after the last one: interest accrues from `from` to `to`.")
    principal: Money = Field(description="The principal at the end of each day; 0 if it is negative.")
    rate: str = Field(description="The annual nominal rate.", json_schema_extra={"example": "0.1"})
    day_count: str = Field(json_schema_extra={"example": "ACT/365F"})
    days: int = Field(description="The number of days by the day count.", json_schema_extra={"example": 61})
    interest: str = Field(
        description="The interest in minor units, as an exact fraction in lowest terms.",
        json_schema_extra={"example": "61000/1"},
    )


class PayoffReply(LoanLedgerReply):
    """What settles a loan on a date. The parts sum to the total."""

    model_config = json_or_csv(_CSV_EXAMPLE, LOAN_HEADERS)

    loan_id: LoanId
    date: Day
    currency: Currency
    version: Version
    principal: Money
    interest_charged: Money = Field(description="The interest that was charged and is not paid.")
    interest_uncharged: Money = Field(
        description="The interest that has accrued and was not charged yet; negative if too much was charged."
    )
    fees: Money
    total: Money = Field(description="The amount that settles the loan; negative after an overpayment.")
    per_diem: Money = Field(description="The interest of the date's day, rounded; the totals of later days are exact.")
    totals: list[DayTotal] | SkipJsonSchema[None] = optional_member(
        "The total for each further day. Only with `good_through`."
    )
    start_date: Day | SkipJsonSchema[None] = only_if("explain", "The date on which the loan starts.")
    initial_amt: Money | SkipJsonSchema[None] = only_if("explain", "The principal at the start.")
    segments: list[SegmentReply] | SkipJsonSchema[None] = only_if("explain", "How the interest accrued, in order.")
    accrued: str | SkipJsonSchema[None] = only_if(
        "explain", "The sum of the segments' interest: an exact fraction of minor units."
    )
    charged: Money | SkipJsonSchema[None] = only_if(
        "explain", "The interest charged since accrual began, less interest credits and reversals."
    )
    digest: str | SkipJsonSchema[None] = only_if(
        "explain", "The SHA-256 of the explanation; see docs/reference/api.md."
    )


def add_payoff_route(routes: APIBlueprint, lookup: TimelineLookup) -> None:
    """Add the route to a blueprint."""

    @routes.get(
        "/api/v1/loan/<loan_id>/payoff/<date>",
        summary="Get the payoff of a loan on a date",
        responses={200: PayoffReply, **COMMON_RESPONSES, **problems(422)},
    )
    def payoff(path: LoanDayPath, query: PayoffQuery) -> Response:
        """Return what settles the loan at the end of the day, with its parts.

        The total is the balance plus the interest that has accrued since the loan's first terms and was not charged
        yet. It is rounded once, half to even. A loan without terms accrues no interest.

        `text/csv`, selected by `Accept` or `format`, has a row for the date, and one with the total for each later
        day through `good_through`. An explanation is JSON only.
        """
        refuse_explanation_as_csv(query.format, query.explain)
        day = day_number(path.date)
        later = days_through(path.date, query.good_through)
        snapshot = get_snapshot(lookup, path, query)
        timeline = snapshot.timeline
        with shown_amounts(path.loan_id):
            members = itemized_payoff(timeline, day)
            if query.good_through is not None:
                members["totals"] = _totals(timeline, later)
            if query.explain:
                members |= explain_payoff(members, timeline, day)
        chosen = "json" if query.explain else query.format
        return json_or_csv_reply(chosen, members, _to_table(members), lookup.as_of(snapshot), timeline.version)


def _totals(timeline: Timeline, days: range) -> list[dict[str, str]]:
    totals = payoff_totals(timeline, days)
    return [
        {"date": to_date(day).isoformat(), "total": to_decimal_string(total, timeline.exponent)}
        for day, total in zip(days, totals, strict=True)
    ]


def _to_table(members: dict[str, Any]) -> Table:
    loan = loan_day(members)
    later = (loan | total for total in members.get("totals", ()))
    return Table(f"loan-{members['loan_id']}-payoff-{members['date']}", COLUMNS, chain([members], later))
