"""Many balances in one call."""

from datetime import date
from typing import Any, Literal

from flask import Response
from flask_openapi3 import APIBlueprint
from pydantic import BaseModel

from service.ledger.timeline_lookup import LoanSnapshot, TimelineLookup
from service.web.schemas.balance_batch import BalanceBatchBody
from service.web.schemas.problem import problems
from service.web.schemas.query_fields import Currency, Day, LoanId, Money, Version
from service.web.schemas.replies import LedgerReply
from service.web.serializers import balance_members, to_json


class BalanceItem(BaseModel):
    """What a loan owed at the end of a day."""

    loan_id: LoanId
    date: Day
    balance: Money
    currency: Currency
    version: Version


class UnknownItem(BaseModel):
    """There is no such loan."""

    loan_id: LoanId
    date: Day
    error: Literal["unknown-loan"]


class BalanceBatchReply(LedgerReply):
    """An answer to each question, in their order."""

    balances: list[BalanceItem | UnknownItem]


def add_balance_batch(routes: APIBlueprint, lookup: TimelineLookup) -> None:
    """Add the route to a blueprint."""

    @routes.post(
        "/api/v1/balances",
        summary="Many balances in one call",
        responses={200: BalanceBatchReply, **problems(400, 413, 415, 503)},
    )
    def balances(body: BalanceBatchBody) -> Response:
        """What up to 10,000 loans owed on days: `pairs`, or each of `loan_ids` on each of `dates`. Each balance comes
        with its loan's version; a loan that there is not has an `error` instead. `As-Of` is that of the oldest one."""
        asked = body.asked()
        found = (lookup.get_consistent if body.snapshot else lookup.get_many)(list(dict(asked)))
        items = [_item(found.get(loan_id), loan_id, day) for loan_id, day in asked]
        body_bytes, headers = to_json({"balances": items}, lookup.as_of(*found.values()))
        return Response(body_bytes, headers=headers)


def _item(snapshot: LoanSnapshot | None, loan_id: int, day: date) -> dict[str, Any]:
    if snapshot is None:
        return {"loan_id": loan_id, "date": day, "error": "unknown-loan"}
    return balance_members(snapshot.timeline, day)
