"""The view of the whole book: totals by currency, their history, and the largest loans."""

import time
from decimal import Decimal
from functools import partial
from typing import Annotated, NamedTuple

from flask import Blueprint, Response
from pydantic import BeforeValidator

from native import day_number
from security.context import SecurityContext
from service.domain.calendar import Calendar
from service.domain.parsing import parse_bool
from service.portfolio.book import MAX_MONTHS, Book, BookSize, CurrencyHistory
from service.portfolio.rows import Details, Total
from service.portfolio.sql import SqlPortfolio
from service.web.page.amounts import show
from service.web.page.context import page_context
from service.web.page.paths import PAGE
from service.web.page.query import PageQuery, parses_query
from service.web.page.rendering import render
from service.web.page.step_chart import Column, StepChart, step_chart
from service.web.schemas.query_fields import CurrencyCode, StateDay

MAX_EVENTS_UNPROMPTED = 1_000_000
"""The most events that are read without a person's confirmation."""
MAX_EVENTS_WITH_DETAILS = 100_000
"""The most events for which parts and arrears are computed: that takes far longer than sums by the database."""
LARGEST = 10


class BucketRow(NamedTuple):
    """The loans of a currency in a bucket, or in all if its name is empty. Amounts are in minor units.

    Attributes:
        errors: Loans whose payoff or arrears do not fit 64 bits. The sums of these leave them out.
    """

    currency: str
    digits: int
    bucket: str
    loans: int
    balance: int
    payoff: int
    past_due: int
    errors: int


class BookQuery(PageQuery):
    """Query parameters of the view."""

    date: StateDay = None
    currency: CurrencyCode = None
    compute: Annotated[bool, BeforeValidator(parse_bool)] = False


def add_book_routes(
    routes: Blueprint, security: SecurityContext, calendar: Calendar, portfolio: SqlPortfolio, book: Book
) -> None:
    """Add the route to the page's blueprint."""

    @routes.get(f"{PAGE}/book")
    @parses_query
    def whole_book(query: BookQuery) -> Response:
        page = page_context(security)
        today = calendar.today()
        day = query.date or today
        size = book.size()
        if size.events > MAX_EVENTS_UNPROMPTED and not query.compute:
            return render(
                "book.html", page, day=day, today=today, size=size, totals=None, requested=query.currency
            )  # fmt: skip
        begun = time.perf_counter()
        totals = book.months(day, MAX_MONTHS)
        chosen = _choose(totals, query.currency)
        is_small = size.events <= MAX_EVENTS_WITH_DETAILS
        details = portfolio.totals(day, details=_details(size)) if is_small else []
        return render(
            "book.html", page, day=day, today=today, size=size, totals=totals, chosen=chosen,
            parts=_to_parts(details, totals), buckets=_to_buckets(details, totals) if size.agreements else [],
            largest=book.largest(day, chosen.currency, LARGEST) if chosen else [],
            chart=_draw(chosen) if chosen else None,
            requested=query.currency, confirmed=query.compute, show=partial(show, tag=page.locale),
            seconds=time.perf_counter() - begun,
        )  # fmt: skip


def _choose(totals: list[CurrencyHistory], currency: str | None) -> CurrencyHistory | None:
    """Return the requested currency, by default the one with the most loans; None if no loan has it."""
    if currency is not None:
        return next((total for total in totals if total.currency == currency), None)
    return max(totals, key=lambda total: total.latest.loans, default=None)


def _details(size: BookSize) -> Details:
    return Details(parts=True, payoff=size.agreements > 0, arrears=size.agreements > 0)


def _to_parts(details: list[Total], totals: list[CurrencyHistory]) -> dict[str, list[int]]:
    """Return the parts of each currency's total, in minor units."""
    digits = {total.currency: total.digits for total in totals}
    return {
        total.currency: [_to_minor(part, digits[total.currency]) for part in total.parts]
        for total in details
        if total.currency in digits  # another one may have been added in between
    }


def _to_buckets(details: list[Total], totals: list[CurrencyHistory]) -> list[BucketRow]:
    """Return the loans of each currency in each bucket that has any, and all together."""
    digits = {total.currency: total.digits for total in totals}
    return [
        _to_row(one, digits[total.currency])
        for total in details
        if total.currency in digits
        for one in (*total.buckets, total)
        if one.loans
    ]


def _to_row(total: Total, digits: int) -> BucketRow:
    balance, payoff, past_due = (_to_minor(text, digits) for text in (total.balance, total.payoff[1], total.arrears[0]))
    return BucketRow(total.currency, digits, total.bucket, total.loans, balance, payoff, past_due, total.errors)


def _to_minor(text: str, digits: int) -> int:
    return int(Decimal(text).scaleb(digits))


def _draw(total: CurrencyHistory) -> StepChart:
    days = [day_number(month.day) for month in total.months]
    balances = [month.balance for month in total.months]
    return step_chart(days, balances, [Column("balance", balances)], days[-1])
