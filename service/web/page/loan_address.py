"""The address of a loan's views: which loan, date, range of days and state to show.

Everything that a view shows follows from its address, so that it can be sent.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator

from service.domain.parsing import MAX_LOAN_ID, parse_loan_id, parse_time
from service.errors import InvalidRequest
from service.ledger.posting import to_rfc3339
from service.ledger.timeline_lookup import LoanSnapshot, TimelineLookup
from service.web.page.query import PageQuery
from service.web.schemas.query_fields import AsOfVersion, FirstDay, GoodThrough, LastDay, StateDay

# What a person types, or a browser's picker writes. Without a time zone it is UTC, as the page labels it.
_LOCAL_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2})(:[0-9]{2}(?:\.[0-9]+)?)?(?:Z| UTC)?")


def parse_known_at(text: str) -> datetime:
    """Parse a time as the API does, or as people write it, in UTC."""
    if match := _LOCAL_TIME.fullmatch(text):
        day, minute, second = match.groups()
        text = f"{day}T{minute}{second or ':00'}Z"
    return parse_time(text)


def parse_page(text: str) -> int:
    """Parse the number of a page.

    Raises:
        ValueError: If the text is no such number.
    """
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:20]) <= MAX_LOAN_ID:
        raise ValueError("expected a whole number from 1 on")
    return int(text)


class LoanViewQuery(PageQuery):
    """Query parameters of a view of a loan."""

    date: StateDay = None
    first: FirstDay = None
    last: LastDay = None
    known_at: Annotated[datetime | None, BeforeValidator(parse_known_at)] = None
    as_of_version: AsOfVersion = None
    page: Annotated[int, BeforeValidator(parse_page)] = 1
    good_through: GoodThrough = None


@dataclass(frozen=True)
class LoanAddress:
    """What a view of a loan shows.

    Attributes:
        loan_id: The loan.
        day: The date of the balance; None for today.
        first: The first day of the chart and the statement; None for the loan's start.
        last: Their last day; None for today or the last event.
        known_at: Show what had been recorded by this time.
        as_of_version: Show the loan's first records, as many as this.
        page: The page of the statement, from 1.
        good_through: The last day for which the payoff has a total; None for the date alone.
    """

    loan_id: int
    day: date | None = None
    first: date | None = None
    last: date | None = None
    known_at: datetime | None = None
    as_of_version: int | None = None
    page: int = 1
    good_through: date | None = None

    @classmethod
    def parse(cls, loan_id: str, query: LoanViewQuery) -> "LoanAddress":
        """Return the address of the current view.

        Raises:
            InvalidRequest: If the path has no loan's id, or the query selects two states.
        """
        try:
            number = parse_loan_id(loan_id)
        except ValueError as err:
            raise InvalidRequest([("loan", str(err))]) from None
        if query.known_at is not None and query.as_of_version is not None:
            raise InvalidRequest([("known_at", "cannot be combined with `as_of_version`")])
        return cls(
            number, query.date, query.first, query.last, query.known_at, query.as_of_version, query.page,
            query.good_through,
        )  # fmt: skip

    @property
    def is_past(self) -> bool:
        """Whether the view leaves out what was recorded later."""
        return self.known_at is not None or self.as_of_version is not None

    @property
    def state(self) -> dict[str, Any]:
        """The parameters that select the loan's state, as the API has them."""
        return {
            "known_at": None if self.known_at is None else to_rfc3339(self.known_at),
            "as_of_version": self.as_of_version,
        }

    @property
    def days(self) -> dict[str, Any]:
        """The parameters that select the range of days, as the API has them."""
        return {"from": self.first, "to": self.last}

    @property
    def query(self) -> dict[str, Any]:
        """The parameters of this view, but for the page and the days of the payoff, which depend on its date."""
        return {"date": self.day, **self.days, **self.state}

    def read(self, lookup: TimelineLookup) -> LoanSnapshot:
        """Return the loan in the selected state.

        Raises:
            UnknownLoan: If the loan does not exist, or did not exist at `known_at`.
            VersionNotReached: If the loan has not reached the version.
            TimeNotReached: If `known_at` is too recent.
            DatabaseUnavailable: If the ledger cannot be read.
        """
        if self.known_at is not None:
            return lookup.get_known_at(self.loan_id, self.known_at)
        if self.as_of_version is not None:
            return lookup.get_at_version(self.loan_id, self.as_of_version)
        return lookup.get(self.loan_id)
