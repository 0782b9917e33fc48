"""Route: the balances of all loans on a date."""

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
from service.web.schemas.query_fields import BalanceDay, Currency, Day, Format, Money
from service.web.schemas.replies import conditional
from service.web.serializers import as_of_header, to_json

log = logging.getLogger(__name__)

_CSV_EXAMPLE = f"{HEAD}2020-07-01,1,9636.65,USD,10\r\n2020-07-01,,9636.65,USD,\r\n"


class DayPath(BaseModel):
    """Path parameters: a date."""

    date: BalanceDay


class PortfolioQuery(Query):
    """Query parameters: format."""

    format: Format = None


class TotalReply(BaseModel):
    """The total of the loans in one currency."""

    currency: Currency = Field(description="The currency.")
    loans: int = Field(description="The number of loans that had started by the end of the day.")
    balance: Money


class PortfolioReply(BaseModel):
    """The totals of all loans at the end of a day."""

    # CSV has no ETag, because it is streamed.
    model_config = json_or_csv(_CSV_EXAMPLE, {**LEDGER_HEADERS, **optional_headers(ETAG)})

    date: Day
    totals: list[TotalReply] = Field(description="One total for each currency.")


def add_portfolio_route(routes: APIBlueprint, portfolio: SqlPortfolio) -> None:
    """Add the route to a blueprint."""

    @routes.get(
        "/api/v1/portfolio/<date>",
        summary="Get the totals of all loans on a date",
        responses={200: PortfolioReply, **not_modified(LEDGER_HEADERS), **problems(400, 503)},
    )
    def totals(path: DayPath, query: PortfolioQuery) -> Response:
        """Return, for each currency, the number of loans that had started by the end of the day, and their total.

        `text/csv`, selected by `Accept` or `format`, has one row for each of these loans. It ends with one row of
        totals for each currency, without a `loan_id`; a CSV without these rows is incomplete.

        The database computes either in one snapshot.
        """
        as_of = datetime.now(UTC)
        if wants_csv(query.format):
            headers = [
                ("Content-Type", CSV_TYPE),
                ("Content-Disposition", f'attachment; filename="portfolio-{path.date}.csv"'),
                as_of_header(as_of),
                ("Cache-Control", "private, no-cache"),
            ]
            response = Response(_start_csv(path.date, portfolio.loans(path.date)), headers=headers)
        else:
            found = [total._asdict() for total in portfolio.totals(path.date)]
            body, headers = to_json({"date": path.date, "totals": found}, as_of)
            response = conditional(Response(body, headers=headers))
        response.vary.add("Accept")
        return response


def _start_csv(day: date, chunks: Iterator[list[LoanBalance]]) -> Iterator[bytes]:
    """Return the CSV as a stream whose first rows are already read, so that an error is still a 503."""
    rows = portfolio_csv(day, chunks)
    first = HEAD + next(rows)

    def stream() -> Iterator[bytes]:
        yield first.encode("ascii")
        try:
            yield from (chunk.encode("ascii") for chunk in rows)
        except DatabaseUnavailable as err:
            log.warning("portfolio of %s: CSV ended early, without totals: %s", day, err)

    return stream()
