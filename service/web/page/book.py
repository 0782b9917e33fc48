"""The view of the whole book: totals by currency, their history, and the largest loans."""

import time
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Annotated

from flask import Blueprint, Response
from pydantic import BeforeValidator

from native import day_number
from security.context import SecurityContext
from service.domain.calendar import Calendar
from service.domain.parsing import parse_bool
from service.portfolio.book import MAX_MONTHS, Book, CurrencyHistory
from service.portfolio.rows import Details
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
MAX_EVENTS_WITH_PARTS = 100_000
"""The most events whose parts are computed: that takes far longer than sums, which the database computes."""
LARGEST = 10


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
        return render(
            "book.html", page, day=day, today=today, size=size, totals=totals, chosen=chosen,
            parts=_read_parts(portfolio, day, totals) if size.events <= MAX_EVENTS_WITH_PARTS else {},
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


def _read_parts(portfolio: SqlPortfolio, day: date, totals: list[CurrencyHistory]) -> dict[str, list[int]]:
    """Return the parts of each currency's total, in minor units."""
    digits = {total.currency: total.digits for total in totals}
    return {
        total.currency: [int(Decimal(part).scaleb(digits[total.currency])) for part in total.parts]
        for total in portfolio.totals(day, details=Details(parts=True))
        if total.currency in digits  # another one may have been added in between
    }


def _draw(total: CurrencyHistory) -> StepChart:
    days = [day_number(month.day) for month in total.months]
    balances = [month.balance for month in total.months]
    return step_chart(days, balances, [Column("balance", balances)], days[-1])
