"""Route: the balances of all loans on a date."""

import logging
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

from flask import Response
from flask_openapi3 import APIBlueprint
from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema

from native import PARTS
from service.domain.arrears import Bucket
from service.errors import DatabaseUnavailable
from service.portfolio.csv import PAYOFF_FIELDS, csv_head, portfolio_csv
from service.portfolio.rows import Details, LoanBalance, Total
from service.portfolio.sql import SqlPortfolio
from service.web.schemas.common import only_if, optional_member
from service.web.schemas.content_negotiation import CSV_TYPE, attachment, json_or_csv, wants_csv
from service.web.schemas.headers import ETAG, LEDGER_HEADERS, not_modified, optional_headers
from service.web.schemas.parts import Parts
from service.web.schemas.problem import problems
from service.web.schemas.query_fields import BalanceDay, Currency, Day, Format, Money, PartsFlag, ReportKnownAt
from service.web.schemas.replies import conditional
from service.web.schemas.settlement import SettlementQuery
from service.web.serializers import as_of_header, to_json

log = logging.getLogger(__name__)

_CSV_EXAMPLE = f"{csv_head()}2020-07-01,1,9636.65,USD,10\r\n2020-07-01,,9636.65,USD,\r\n"


class DayPath(BaseModel):
    """Path parameters: a date."""

    date: BalanceDay


class PortfolioQuery(SettlementQuery):
    """Query parameters: format, time of knowledge, parts, payoff and arrears."""

    format: Format = None
    known_at: ReportKnownAt = None
    parts: PartsFlag = False

    @property
    def details(self) -> Details:
        """What to add to the balances."""
        return Details(self.parts, self.payoff, self.arrears)


class SumReply(BaseModel):
    """Sums of loans in one currency."""

    loans: int = Field(description="The number of loans that had started by the end of the day.")
    balance: Money
    parts: Parts | SkipJsonSchema[None] = only_if("parts", "The totals of the parts.")
    interest_uncharged: Money | SkipJsonSchema[None] = only_if(
        "payoff", "The total interest that has accrued and was not charged yet."
    )
    payoff: Money | SkipJsonSchema[None] = only_if("payoff", "The total of the amounts that settle the loans.")
    past_due: Money | SkipJsonSchema[None] = only_if("arrears", "The total amount that is past due.")


class BucketReply(SumReply):
    """The sums of the loans in one bucket. It leaves out loans that are counted as errors."""

    bucket: Bucket


class TotalReply(SumReply):
    """The total of the loans in one currency."""

    currency: Currency = Field(description="The currency.")
    errors: int | SkipJsonSchema[None] = optional_member(
        "The number of loans whose payoff or arrears do not fit 64 bits of minor units. The sums of these leave them "
        "out. Only with `payoff=true` or `arrears=true`."
    )
    buckets: list[BucketReply] | SkipJsonSchema[None] = only_if("arrears", "The sums by days past due.")


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
        responses={200: PortfolioReply, **not_modified(LEDGER_HEADERS), **problems(400, 412, 503)},
    )
    def totals(path: DayPath, query: PortfolioQuery) -> Response:
        """Return, for each currency, the number of loans that had started by the end of the day, and their total.

        `text/csv`, selected by `Accept` or `format`, has one row for each of these loans. It ends with one row of
        totals for each currency, without a `loan_id`; a CSV without these rows is incomplete.

        A loan whose payoff or arrears do not fit 64 bits is counted in `errors`, its cells are empty, and sums leave
        these amounts out.

        The ledger is read in one snapshot for either. With `known_at`, the reply is reproduced from what had been
        recorded by that time.
        """
        as_of = datetime.now(UTC) if query.known_at is None else None
        if wants_csv(query.format):
            headers = [
                ("Content-Type", CSV_TYPE),
                attachment(f"portfolio-{path.date}.csv"),
                *([as_of_header(as_of)] if as_of else []),
                ("Cache-Control", "private, no-cache"),
            ]
            loans = portfolio.loans(path.date, query.known_at, query.details)
            response = Response(_start_csv(path.date, query.details, loans), headers=headers)
        else:
            totals = portfolio.totals(path.date, query.known_at, query.details)
            found = [_total_members(total, query.details) for total in totals]
            body, headers = to_json({"date": path.date, "totals": found}, as_of)
            response = conditional(Response(body, headers=headers))
        response.vary.add("Accept")
        return response


def _total_members(total: Total, details: Details) -> dict[str, Any]:
    return {
        "currency": total.currency,
        **_sum_members(total),
        **({"errors": total.errors} if details.can_fail else {}),
        **({"buckets": [{"bucket": of.bucket, **_sum_members(of)} for of in total.buckets]} if details.arrears else {}),
    }


def _sum_members(total: Total) -> dict[str, Any]:
    return {
        "loans": total.loans,
        "balance": total.balance,
        **({"parts": dict(zip(PARTS, total.parts, strict=True))} if total.parts else {}),
        **(dict(zip(PAYOFF_FIELDS, total.payoff, strict=True)) if total.payoff else {}),
        **({"past_due": total.arrears[0]} if total.arrears else {}),
    }


def _start_csv(day: date, details: Details, chunks: Iterator[list[LoanBalance]]) -> Iterator[bytes]:
    """Return the CSV as a stream whose first rows are already read, so that an error is still a 503."""
    rows = portfolio_csv(day, chunks, details)
    first = csv_head(details) + next(rows)

    def stream() -> Iterator[bytes]:
        yield first.encode("ascii")
        try:
            yield from (chunk.encode("ascii") for chunk in rows)
        except DatabaseUnavailable as err:
            log.warning("portfolio of %s: CSV ended early, without totals: %s", day, err)
            raise  # so that the reply does not end like a whole one

    return stream()
