"""What all loans together owed."""

import logging
from collections.abc import Iterator
from datetime import UTC, date, datetime

from flask import Response
from flask_openapi3 import APIBlueprint
from pydantic import BaseModel, Field

from service.errors import DatabaseUnavailable
from service.portfolio.csv import HEAD, portfolio_csv
from service.portfolio.rows import LoanBalance
from service.portfolio.sql import SqlPortfolio
from service.web.schemas.common import Query
from service.web.schemas.content_negotiation import CSV_TYPE, json_or_csv, wants_csv
from service.web.schemas.headers import ETAG, LEDGER_HEADERS, not_modified, optional_headers
from service.web.schemas.problem import problems
from service.web.schemas.query_fields import Currency, Day, Format, Money
from service.web.schemas.replies import conditional
from service.web.serializers import as_of_header, to_json

log = logging.getLogger(__name__)

_CSV_EXAMPLE = f"{HEAD}2020-07-01,1,9636.65,USD,10\r\n2020-07-01,,9636.65,USD,\r\n"


class DayPath(BaseModel):
    """A day."""

    date: Day


class PortfolioQuery(Query):
    """And how it is to be told."""

    format: Format = None


class TotalReply(BaseModel):
    """Loans in one currency."""

    currency: Currency
    loans: int = Field(description="how many had started by then")
    balance: Money


class PortfolioReply(BaseModel):
    """What all loans together owed at the end of a day."""

    model_config = json_or_csv(
        _CSV_EXAMPLE, {**LEDGER_HEADERS, **optional_headers(ETAG)}
    )  # none of CSV, which is not held together

    date: Day
    totals: list[TotalReply] = Field(description="one for each currency")


def add_portfolio(routes: APIBlueprint, portfolio: SqlPortfolio) -> None:
    """Add the route to a blueprint."""

    @routes.get(
        "/api/v1/portfolio/<date>",
        summary="What all loans together owed",
        responses={200: PortfolioReply, **not_modified(LEDGER_HEADERS), **problems(400, 503)},
    )
    def totals(path: DayPath, query: PortfolioQuery) -> Response:
        """How many loans had started by the end of the day and what they owed then, by currency, added up by the
        database in one snapshot. As `text/csv`, by `Accept` or `format`, a row for each of these loans, also of one
        snapshot, and at the end one without a loan for each currency, with the sum."""
        as_of = datetime.now(UTC)
        if wants_csv(query.format):
            headers = [
                ("Content-Type", CSV_TYPE),
                ("Content-Disposition", f'attachment; filename="portfolio-{path.date}.csv"'),
                as_of_header(as_of),
                ("Cache-Control", "private, no-cache"),
            ]
            response = Response(_csv(path.date, portfolio.loans(path.date)), headers=headers)
        else:
            found = [total._asdict() for total in portfolio.totals(path.date)]
            body, headers = to_json({"date": path.date, "totals": found}, as_of)
            response = conditional(Response(body, headers=headers))
        response.vary.add("Accept")
        return response


def _csv(day: date, pieces: Iterator[list[LoanBalance]]) -> Iterator[bytes]:
    """The CSV, with its first piece made now, while an error can still be told."""
    rows = portfolio_csv(day, pieces)
    begin = HEAD + next(rows)

    def stream() -> Iterator[bytes]:
        yield begin.encode("ascii")
        try:
            yield from (piece.encode("ascii") for piece in rows)
        except DatabaseUnavailable as err:
            log.warning("the portfolio of %s broke off: %s", day, err)  # the sums are missing

    return stream()
