"""What a loan owed on a day, and why."""

from typing import Literal

from flask import Response
from flask_openapi3 import APIBlueprint
from pydantic import BaseModel
from pydantic.json_schema import SkipJsonSchema

from native import day_number
from service.ledger.timeline_lookup import TimelineLookup
from service.web.explanation import explain
from service.web.schemas.common import only_if
from service.web.schemas.event import EventReply
from service.web.schemas.loan_query import REFUSALS, LoanPath, LoanQuery, get_snapshot
from service.web.schemas.query_fields import Currency, Day, Explain, LoanId, Money, PartsFlag, Version
from service.web.schemas.replies import LedgerReply, ledger_reply
from service.web.serializers import balance_members, parts_members


class LoanDayPath(LoanPath):
    """One loan on one day."""

    date: Day


class BalanceQuery(LoanQuery):
    """And what to tell beside the balance."""

    explain: Explain = False
    parts: PartsFlag = False


class Parts(BaseModel):
    """What is left of each part; they sum to the balance. A principal below zero is what was paid beyond all three."""

    fees: Money
    interest: Money
    principal: Money


class BalanceReply(LedgerReply):
    """What a loan owed at the end of a day."""

    loan_id: LoanId
    date: Day
    balance: Money
    currency: Currency
    version: Version
    start_date: Day | SkipJsonSchema[None] = only_if("explain", "when the loan starts: before, nothing is owed")
    initial_amt: Money | SkipJsonSchema[None] = only_if("explain", "the principal")
    events: list[EventReply] | SkipJsonSchema[None] = only_if("explain", "what is behind the balance, in order")
    digest: str | SkipJsonSchema[None] = only_if(
        "explain", "SHA-256 of what is behind the balance; see docs/reference/api.md"
    )
    parts: Parts | SkipJsonSchema[None] = only_if("parts", "what the balance is made of")
    allocation: list[Literal["fees", "interest", "principal"]] | SkipJsonSchema[None] = only_if(
        "parts", "the order in which payments are allocated"
    )


def add_balance(routes: APIBlueprint, lookup: TimelineLookup) -> None:
    """Add the route and its short form to a blueprint."""

    @routes.get(
        "/api/v1/loan/<loan_id>/<date>",
        summary="The balance on a day",
        responses={200: BalanceReply, **REFUSALS},
    )
    def balance(path: LoanDayPath, query: BalanceQuery) -> Response:
        """What the loan owed at the end of the day: principal, fees and interest posted by then, less payments.
        Before the loan starts, nothing."""
        snapshot = get_snapshot(lookup, path, query)
        members = balance_members(snapshot.timeline, path.date)
        if query.explain:
            members |= explain(members, snapshot.timeline, day_number(path.date))
        if query.parts:
            members |= parts_members(snapshot.timeline, day_number(path.date))
        return ledger_reply(lookup, snapshot, members)

    @routes.get(
        "/<loan_id>/<date>",
        summary="The balance on a day, by the short path",
        responses={200: BalanceReply, **REFUSALS},
    )
    def balance_short(path: LoanDayPath, query: BalanceQuery) -> Response:
        """The same as `/api/v1/loan/{loan_id}/{date}`."""
        return balance(path, query)  # type: ignore[no-any-return]
