"""What the view of a loan shows, computed from one timeline."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from native import PARTS, Timeline, balance_parts, day_number, to_date
from service.domain.calendar import Calendar
from service.domain.composition import Composition, compose
from service.domain.date_range import DateRange
from service.domain.statement import Statement
from service.web.page.loan_address import LoanAddress
from service.web.page.loan_chart import LoanChart, loan_chart
from service.web.page.settlement import Settlement, TermsInEffect, settle, terms_on
from service.web.serializers import allocation_on


@dataclass(frozen=True)
class LoanView:
    """A loan in one state, and its balance on a day. Amounts are in minor units.

    Attributes:
        address: What was requested.
        timeline: The loan.
        start: Its start date.
        today: The current date, or that of `known_at`.
        day: The date of the balance.
        balance: The balance at the end of the day.
        parts: Pairs of a part's name and its amount, in the order in which payments pay them.
        composition: What the balance consists of.
        as_of: Everything that was recorded before this time is included; None if nothing can be added to the view.
    """

    address: LoanAddress
    timeline: Timeline
    start: date
    today: date
    day: date
    balance: int
    parts: list[tuple[str, int]]
    composition: Composition
    as_of: datetime | None

    def date_range(self) -> DateRange:
        """Return the days of the chart and of the statement: by default all up to today or the last event.

        Raises:
            InvalidRequest: If the first day is after the last.
        """
        count = len(self.timeline)
        last_event = to_date(self.timeline.events(count - 1, count)[0][0]) if count else self.start
        latest = max(self.today, last_event)
        return DateRange.resolve(self.address.first, self.address.last, self.start, latest)

    def year(self) -> DateRange:
        """Return the year up to the date of the balance, from the loan's start on."""
        first = date.min + timedelta(days=max(0, (self.day - date.min).days - 364))
        return DateRange(max(first, min(self.start, self.day)), self.day)

    def statement(self) -> Statement:
        """Return the statement over the range of days."""
        return Statement(self.timeline, self.date_range())

    def chart(self) -> LoanChart:
        """Return the chart over the range of days."""
        return loan_chart(self.timeline, self.date_range())

    @property
    def is_agreed(self) -> bool:
        """Whether the loan has terms or a schedule."""
        return bool(self.timeline.terms or self.timeline.schedules)

    def allocation(self) -> tuple[str, str, str]:
        """Return what a payment on the day pays first."""
        return allocation_on(self.timeline, day_number(self.day))

    def terms(self) -> TermsInEffect | None:
        """Return the terms in effect on the day."""
        return terms_on(self.timeline, self.day)

    def settlement(self) -> Settlement | None:
        """Return what settles the loan and how late it is; None if an amount does not fit 64 bits.

        Raises:
            InvalidRequest: If the chosen days cannot be shown.
        """
        try:
            return settle(self.timeline, self.day, self.address.good_through)
        except OverflowError:
            return None


def loan_view(address: LoanAddress, timeline: Timeline, calendar: Calendar, as_of: datetime | None) -> LoanView:
    """Return the view of a loan.

    Args:
        address: What was requested.
        timeline: The loan in the requested state.
        calendar: Knows the current date.
        as_of: As for `LoanView`.
    """
    today = calendar.today(address.known_at)
    day = address.day or today
    number = day_number(day)
    parts = list(zip(PARTS, balance_parts(timeline, number), strict=True))
    return LoanView(
        address,
        timeline,
        to_date(timeline.start_day),
        today,
        day,
        timeline.balance_at(number),
        parts,
        compose(timeline, number),
        as_of,
    )
