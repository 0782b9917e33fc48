"""What a loan owed on a day, and why."""

from typing import Literal

from flask import Response
from flask_openapi3 import APIBlueprint
from pydantic import BaseModel
from pydantic.json_schema import SkipJsonSchema

from native import day_number
from service.ledger.reader import BalanceReader
from service.web.explanation import explained
from service.web.schemas.event import LineReply
from service.web.schemas.ledger_reply import LedgerReply, ledger_reply
from service.web.schemas.loan_query import REFUSALS, LoanPath, Wishes, ledger_of
from service.web.schemas.query_fields import Currency, Day, Explain, LoanId, Money, PartsWish, Version, only_with
from service.web.serializers import balance_members, parts_members


class LoanDayPath(LoanPath):
    """One loan on one day."""

    date: Day


class BalanceWishes(Wishes):
    """And what to tell beside the balance."""

    explain: Explain = False
    parts: PartsWish = False


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
    start_date: Day | SkipJsonSchema[None] = only_with("explain", "when the loan starts: before, nothing is owed")
    initial_amt: Money | SkipJsonSchema[None] = only_with("explain", "the principal")
    events: list[LineReply] | SkipJsonSchema[None] = only_with("explain", "what is behind the balance, in order")
    digest: str | SkipJsonSchema[None] = only_with(
        "explain", "SHA-256 of what is behind the balance; see docs/reference/api.md"
    )
    parts: Parts | SkipJsonSchema[None] = only_with("parts", "what the balance is made of")
    allocation: list[Literal["fees", "interest", "principal"]] | SkipJsonSchema[None] = only_with(
        "parts", "the order in which payments are allocated"
    )


def add_balance(routes: APIBlueprint, reader: BalanceReader) -> None:
    """Add the route and its short form to a blueprint."""

    @routes.get(
        "/api/v1/loan/<loan_id>/<date>",
        summary="The balance on a day",
        responses={200: BalanceReply, **REFUSALS},
    )
    def balance(path: LoanDayPath, query: BalanceWishes) -> Response:
        """What the loan owed at the end of the day: principal, fees and interest posted by then, less payments.
        Before the loan starts, nothing."""
        known = ledger_of(reader, path, query)
        members = balance_members(known.timeline, path.date)
        if query.explain:
            members |= explained(members, known.timeline, day_number(path.date))
        if query.parts:
            members |= parts_members(known.timeline, day_number(path.date))
        return ledger_reply(reader, known, members)

    @routes.get(
        "/<loan_id>/<date>",
        summary="The balance on a day, by the short path",
        responses={200: BalanceReply, **REFUSALS},
    )
    def balance_short(path: LoanDayPath, query: BalanceWishes) -> Response:
        """The same as `/api/v1/loan/{loan_id}/{date}`."""
        return balance(path, query)  # type: ignore[no-any-return]
