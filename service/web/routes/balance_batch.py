"""Route: many balances in one request."""

from datetime import date
from typing import Any, Literal

from flask import Response
from flask_openapi3 import APIBlueprint
from pydantic import BaseModel
from pydantic.json_schema import SkipJsonSchema

from native import day_number
from service.errors import AmountTooLarge
from service.ledger.timeline_lookup import LoanSnapshot, TimelineLookup
from service.web.payoff_members import settlement_members
from service.web.schemas.balance_batch import BalanceBatchBody
from service.web.schemas.common import only_if
from service.web.schemas.parts import Parts
from service.web.schemas.problem import problems
from service.web.schemas.query_fields import Currency, Day, LoanId, Money, Version
from service.web.schemas.replies import LedgerReply
from service.web.schemas.settlement import Settlement
from service.web.serializers import balance_members, parts_of, to_json


class BalanceItem(Settlement):
    """The balance of a loan at the end of a day."""

    loan_id: LoanId
    date: Day
    balance: Money
    currency: Currency
    version: Version
    parts: Parts | SkipJsonSchema[None] = only_if("parts", "The parts of the balance.")


class FailedItem(BaseModel):
    """A loan that does not exist, or one of whose amounts does not fit 64 bits of minor units."""

    loan_id: LoanId
    date: Day
    error: Literal["unknown-loan", "amount-too-large"]


class BalanceBatchReply(LedgerReply):
    """The balances, in the order of the request."""

    balances: list[BalanceItem | FailedItem]


def add_balance_batch_route(routes: APIBlueprint, lookup: TimelineLookup) -> None:
    """Add the route to a blueprint."""

    @routes.post(
        "/api/v1/balances",
        summary="Get many balances",
        responses={200: BalanceBatchReply, **problems(400, 412, 413, 415, 503)},
    )
    def balances(body: BalanceBatchBody) -> Response:
        """Return up to 10,000 balances: of `pairs`, or of each of `loan_ids` on each of `dates`.

        Each balance has its loan's version. Unknown loans, and amounts that do not fit 64 bits of minor
        units, have an `error` instead. `As-Of` is that of the oldest
        balance. With `known_at`, all balances are those that were known at that time.
        """
        pairs = body.requested_pairs()
        loan_ids = list(dict(pairs))  # without duplicates
        if body.known_at is not None:
            found = lookup.get_many_known_at(loan_ids, body.known_at)
        else:
            found = lookup.get_consistent(loan_ids) if body.snapshot else lookup.get_many(loan_ids)
        items = [_to_item(found.get(loan_id), loan_id, day, body) for loan_id, day in pairs]
        body_bytes, headers = to_json({"balances": items}, lookup.as_of(*found.values()))
        return Response(body_bytes, headers=headers)


def _to_item(snapshot: LoanSnapshot | None, loan_id: int, day: date, body: BalanceBatchBody) -> dict[str, Any]:
    if snapshot is None:
        return {"loan_id": loan_id, "date": day, "error": "unknown-loan"}
    members = balance_members(snapshot.timeline, day)
    number = day_number(day)
    if body.parts:
        members["parts"] = parts_of(snapshot.timeline, number)
    try:
        return members | settlement_members(snapshot.timeline, number, body)
    except AmountTooLarge:
        return {"loan_id": loan_id, "date": day, "error": "amount-too-large"}
