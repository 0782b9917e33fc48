"""What loans owe."""

from typing import Any

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from native import day_of
from service.money import to_decimal_string
from service.reader import BalanceReader
from service.representation import balance_members, represent
from service.routes.fields import Currency, Day, LoanId, MinVersion, Money, Query, Version, problems
from service.timelines import Known

_REFUSALS = problems(400, 401, 403, 404, 412, 503)


class LoanPath(BaseModel):
    """One loan."""

    loan_id: LoanId


class LoanDayPath(LoanPath):
    """One loan on one day."""

    date: Day


class Wishes(Query):
    """What else a caller may say."""

    min_version: MinVersion = 0


class BalanceReply(BaseModel):
    """What a loan owed at the end of a day."""

    loan_id: LoanId
    date: Day
    balance: Money
    currency: Currency
    version: Version


class LoanReply(BaseModel):
    """A loan's terms, and what it owes today."""

    loan_id: LoanId
    start_date: Day
    initial_amt: Money
    currency: Currency
    date: Day = Field(description="today, in the service's time zone")
    balance: Money
    version: Version


def _reply(reader: BalanceReader, known: Known, members: dict[str, Any]) -> Response:
    body, headers = represent(members, reader.as_of(known))
    response = Response(body, headers=headers)
    if "If-None-Match" in request.headers:
        response.make_conditional(request)
    return response


def loan_routes(reader: BalanceReader) -> APIBlueprint:
    """The blueprint `loan`, answered by `reader`."""
    routes = APIBlueprint("loan", __name__, abp_tags=[Tag(name="loans", description="What loans owe, on any day")])
    secured: list[dict[str, list[str]]] = [{"bearer": []}]

    @routes.get(
        "/api/v1/loan/<loan_id>/<date>",
        summary="The balance on a day",
        responses={200: BalanceReply, **_REFUSALS},
        security=secured,
    )
    def balance(path: LoanDayPath, query: Wishes) -> Response:
        """What the loan owed at the end of the day: principal, fees and interest posted by then, less payments.
        Before the loan starts, nothing."""
        known = reader.loan(path.loan_id, query.min_version)
        return _reply(reader, known, balance_members(reader.balance_of(known, path.date)))

    @routes.get(
        "/<loan_id>/<date>",
        summary="The balance on a day, by the short path",
        responses={200: BalanceReply, **_REFUSALS},
        security=secured,
    )
    def balance_short(path: LoanDayPath, query: Wishes) -> Response:
        """The same as `/api/v1/loan/{loan_id}/{date}`."""
        known = reader.loan(path.loan_id, query.min_version)
        return _reply(reader, known, balance_members(reader.balance_of(known, path.date)))

    @routes.get(
        "/api/v1/loan/<loan_id>",
        summary="A loan's terms and today's balance",
        responses={200: LoanReply, **_REFUSALS},
        security=secured,
    )
    def loan(path: LoanPath, query: Wishes) -> Response:
        """What was agreed, and what is owed today."""
        known = reader.loan(path.loan_id, query.min_version)
        terms = {
            "start_date": day_of(known.timeline.start_day).isoformat(),
            "initial_amt": to_decimal_string(known.timeline.initial),
        }
        return _reply(reader, known, terms | balance_members(reader.balance_of(known, reader.today())))

    return routes
