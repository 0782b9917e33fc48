"""Finds loans by their terms and their state on a day, in pages in the order of their ids.

All pages of a search show the loans that existed when its first page was read, each exactly once:

- Loans are never deleted, and a page continues after the last id of the one before. No loan is missed or repeated.
- A loan that was created later is left out. The first page notes a snapshot, after a time before which nothing will be
  recorded any more. What was recorded before that time is in the snapshot. For all other loans, the number of the
  transaction that created them shows whether the snapshot contains them, even if that transaction was open when the
  first page was read. Numbers of transactions are not compared for loans that were recorded before that time, so
  that loans which were restored from a dump of another cluster are found.
- After a failover, the new primary may assign a transaction's number again. A search does not continue there.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from hashlib import blake2b
from typing import NamedTuple

from service.domain.parsing import MAX_LOAN_ID
from service.errors import InvalidRequest
from service.postgres.known_until import read_known_until
from service.postgres.pool import Database
from service.postgres.sql_fragments import MINOR_UNITS, SIGNED_AMT

MAX_EXAMINED = 10_000
"""The most loans that a page examines."""
MAX_DAYS_BY_INDEX = 366
"""The most days of a range of start dates that are looked up one by one."""
STATES = ("not_started", "open", "closed")
_MIN_BATCH, _MAX_BATCH = 100, 1000

_SNAPSHOT = "SELECT pg_current_snapshot()::text, current_setting('loaner.cluster')"


class Snapshot(NamedTuple):
    """The loans that existed at a moment.

    Attributes:
        known_until: Loans that were recorded before this time existed.
        xmin: Transactions below this number had ended.
        xmax: Transactions from this number on had not begun.
        open: The transactions between both that had not ended, in ascending order.
        cluster: Identifies the cluster that assigns these numbers.
    """

    known_until: datetime
    xmin: int
    xmax: int
    open: tuple[int, ...]
    cluster: str

    def __str__(self) -> str:
        return f"{self.xmin}:{self.xmax}:{','.join(map(str, self.open))}"


@dataclass(frozen=True)
class LoanFilter:
    """The loans to find. None leaves a bound open.

    Attributes:
        first_id: The lowest id.
        last_id: The highest id.
        currency: The currency.
        start_from: The earliest start date.
        start_to: The latest start date.
        state: One of STATES, on `day`.
        day: The date of the balances and of the state.
        source_id: The caller's own id of one of the loan's events.
        balance_from: The lowest balance on `day`, in units of the loan's currency.
        balance_to: The highest balance on `day`, likewise.
    """

    day: date
    first_id: int = 1
    last_id: int = MAX_LOAN_ID
    currency: str | None = None
    start_from: date | None = None
    start_to: date | None = None
    state: str | None = None
    source_id: str | None = None
    balance_from: Decimal | None = None
    balance_to: Decimal | None = None

    def matches(self, loan: "FoundLoan") -> bool:
        """Return whether a loan has the state and the balance. The other conditions are part of the query."""
        if self.state not in (None, loan.state):
            return False
        if self.balance_from is None and self.balance_to is None:
            return True
        balance = Decimal(loan.balance).scaleb(-loan.exponent)
        return (self.balance_from is None or self.balance_from <= balance) and (
            self.balance_to is None or balance <= self.balance_to
        )


@dataclass(frozen=True)
class FoundLoan:
    """A loan and its state on a day. Amounts are in minor units."""

    loan_id: int
    start_date: date
    currency: str
    exponent: int
    initial: int
    version: int
    balance: int
    state: str


@dataclass(frozen=True)
class SearchPosition:
    """Where a page begins.

    Attributes:
        filter: The loans to find.
        after: The id after which the page begins.
        snapshot: The loans that existed at the first page.
    """

    filter: LoanFilter
    after: int
    snapshot: Snapshot


class LoanSearch:
    """Finds loans in the ledger's tables.

    Args:
        database: The primary.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, chosen: LoanFilter) -> SearchPosition:
        """Begin a search with the loans that exist now.

        Raises:
            DatabaseUnavailable: If the database cannot be read.
        """
        known_until = read_known_until(self._database)
        # The snapshot comes second, so that it has everything that was recorded before that time.
        [(snapshot, cluster)] = self._database.rows(_SNAPSHOT)
        xmin, xmax, still_open = snapshot.split(":")
        numbers = tuple(map(int, still_open.split(","))) if still_open else ()
        noted = Snapshot(known_until, int(xmin), int(xmax), numbers, _cluster_digest(cluster))
        return SearchPosition(chosen, chosen.first_id - 1, noted)

    def page(self, position: SearchPosition, limit: int) -> tuple[list[FoundLoan], SearchPosition | None]:
        """Return the loans of a page, and where the next one begins.

        The page is shorter than `limit`, even if another follows, after MAX_EXAMINED loans that were not found.

        Raises:
            InvalidRequest: If the search began in another cluster.
            DatabaseUnavailable: If the database cannot be read.
        """
        found: list[FoundLoan] = []
        examined, size = 0, max(limit + 1, _MIN_BATCH)
        while examined < MAX_EXAMINED:
            size = min(size, MAX_EXAMINED - examined)
            batch = list(self._read(position, size))
            for loan_id, loan in batch:
                if len(found) == limit:
                    return found, position
                position = replace(position, after=loan_id)
                if loan is not None and position.filter.matches(loan):
                    found.append(loan)
            if len(batch) < size:
                return found, None
            examined += size
            size = min(2 * size, _MAX_BATCH)
        return found, position

    def _read(self, position: SearchPosition, size: int) -> Iterator[tuple[int, FoundLoan | None]]:
        """Generate the next ids, each with its loan, or with None if that was created after the first page."""
        query, parameters = build_query(position, size)
        for cluster, loan_id, existed, *columns in self._database.rows(query, parameters):
            if _cluster_digest(cluster) != position.snapshot.cluster:
                expected = "expected a cursor of this database server: begin again with the first page"
                raise InvalidRequest([("cursor", expected)])
            if loan_id is not None:
                yield loan_id, _to_loan(position.filter.day, loan_id, *columns) if existed else None


def build_query(position: SearchPosition, size: int) -> tuple[str, dict[str, object]]:
    """Return the query for the next loans after a position, in the order of their ids, and its parameters.

    A `source_id` is read as one range of an index, and a short range of start dates as one range for each day.
    Otherwise the ids are read in their order, and those of other start dates are skipped.
    """
    chosen = position.filter
    conditions = ["loan_id > %(after)s", "loan_id <= %(last_id)s"]
    if chosen.currency is not None:
        conditions.append("currency = %(currency)s")
    by_day = chosen.start_from is not None and chosen.start_to is not None
    days = (chosen.start_to - chosen.start_from).days if chosen.start_from and chosen.start_to else 0
    if by_day and days < MAX_DAYS_BY_INDEX and chosen.source_id is None:
        conditions.append("start_date = %(start_from)s::date + days.number")
        of_one_day = f"SELECT loan_id FROM loans WHERE {' AND '.join(conditions)} ORDER BY loan_id LIMIT %(size)s"  # noqa: S608
        days_of_range = "generate_series(0, %(days)s) AS days (number)"
        ids = f"SELECT l.loan_id FROM {days_of_range} CROSS JOIN LATERAL ({of_one_day}) AS l"  # noqa: S608
    else:
        conditions += ["start_date >= %(start_from)s"] if chosen.start_from is not None else []
        conditions += ["start_date <= %(start_to)s"] if chosen.start_to is not None else []
        source = "loans"
        if chosen.source_id is not None:
            source = "loan_events JOIN loans USING (loan_id)"
            conditions.append("source_id = %(source_id)s")
        ids = f"SELECT loan_id FROM {source} WHERE {' AND '.join(conditions)}"  # noqa: S608
    parameters: dict[str, object] = {
        "after": position.after,
        "last_id": chosen.last_id,
        "currency": chosen.currency,
        "start_from": chosen.start_from,
        "start_to": chosen.start_to,
        "days": days,
        "source_id": chosen.source_id,
        "day": chosen.day,
        "size": size,
        "known_until": position.snapshot.known_until,
        "snapshot": str(position.snapshot),
    }
    return _PAGE.format(ids=ids), parameters


# One row without a loan if none is left: the cluster is known in every case.
_PAGE = f"""
    SELECT current_setting('loaner.cluster'), page.*
    FROM (SELECT) AS session
    LEFT JOIN (
        SELECT l.loan_id,
               l.recorded_at IS NULL OR l.created_in IS NULL OR l.recorded_at < %(known_until)s
                   OR pg_visible_in_snapshot(l.created_in, %(snapshot)s::pg_snapshot) AS existed,
               l.start_date, l.currency, l.exponent, (l.initial_amt * {MINOR_UNITS})::bigint, l.version,
               ((l.initial_amt + coalesce(events.change, 0)) * {MINOR_UNITS})::bigint
        FROM ({{ids}} ORDER BY loan_id LIMIT %(size)s) AS found
        -- LIMIT makes the planner look up each loan by its key.
        CROSS JOIN LATERAL (SELECT * FROM loans WHERE loan_id = found.loan_id LIMIT 1) AS l
        CROSS JOIN LATERAL (
            SELECT sum({SIGNED_AMT}) AS change FROM loan_events
            WHERE loan_id = l.loan_id AND post_date <= %(day)s
        ) AS events
        ORDER BY l.loan_id
    ) AS page ON true
"""  # noqa: S608  (built from constants, not from input)


def _to_loan(
    day: date,
    loan_id: int,
    start_date: date,
    currency: str,
    exponent: int,
    initial: int,
    version: int,
    balance: int,
) -> FoundLoan:
    if start_date > day:
        return FoundLoan(loan_id, start_date, currency, exponent, initial, version, 0, "not_started")
    state = "open" if balance > 0 else "closed"
    return FoundLoan(loan_id, start_date, currency, exponent, initial, version, balance, state)


def _cluster_digest(cluster: str) -> str:
    """Return a digest of what identifies the numbers of transactions: database, system and its timeline."""
    identity = ".".join(cluster.split(".")[:3])
    return blake2b(identity.encode(), digest_size=8).hexdigest()
