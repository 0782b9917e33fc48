"""Balances computed from the rows in Postgres with Decimals, in the simplest way: the reference for every reply."""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from hypothesis import strategies as st

from tests.conftest import sql

FIRST = date(2019, 12, 1)


@dataclass(frozen=True)
class Row:
    """A row of loan_events."""

    tx_id: int
    event_type: str
    post_date: date
    amt: Decimal
    version: int
    reverses: int | None

    @property
    def signed(self) -> Decimal:
        return self.amt if (self.event_type == "payment") == (self.reverses is not None) else -self.amt


@dataclass(frozen=True)
class DecimalLoan:
    """A loan and its events."""

    loan_id: int
    start_date: date
    initial_amt: Decimal
    rows: tuple[Row, ...]

    def until(self, day: date, version: int | None = None) -> list[Row]:
        """Return the events that count at the end of a day, in order."""
        if day < self.start_date:
            return []
        counted = [r for r in self.rows if r.post_date <= day and (version is None or r.version <= version)]
        return sorted(counted, key=lambda row: (row.post_date, row.tx_id))

    def balance(self, day: date, version: int | None = None) -> Decimal:
        if day < self.start_date:
            return Decimal("0.00")
        return self.initial_amt + sum((row.signed for row in self.until(day, version)), Decimal("0.00"))

    def parts(self, day: date, version: int | None = None) -> tuple[Decimal, Decimal, Decimal]:
        """Return the fees, interest and principal that are owed at the end of a day."""
        if day < self.start_date:
            return Decimal(0), Decimal(0), Decimal(0)
        rows = self.until(day, version)
        known, reversed_ids = {row.tx_id for row in rows}, {row.reverses for row in rows}
        owed = {"fee": Decimal(0), "interest": Decimal(0), "principal": self.initial_amt}
        for row in rows:
            if row.tx_id in reversed_ids or row.reverses in known:
                continue
            if row.signed > 0:
                owed["principal" if row.event_type == "payment" else row.event_type] += row.signed
                continue
            left = -row.signed
            for part in ("fee", "interest"):
                paid = min(left, owed[part])
                owed[part], left = owed[part] - paid, left - paid
            owed["principal"] -= left
        return owed["fee"], owed["interest"], owed["principal"]


def days(first: date, last: date) -> list[date]:
    """Return each day from the first to the last."""
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


# Few days, so that events share them; few amounts, so that they cancel each other.
DAYS = st.integers(0, 60).map(lambda number: FIRST + timedelta(days=number))
AMOUNTS = st.sampled_from(["0.01", "10.00", "99.99", "1000.00"])
EVENTS = st.lists(
    st.tuples(st.sampled_from(["fee", "interest", "payment"]), DAYS, AMOUNTS, st.integers(-12, 12)), max_size=12
)


def post(connection, start_date: date, initial_amt: str, events, currency: str = "USD") -> DecimalLoan:
    """Create a loan with events.

    Args:
        connection: A connection that may post.
        start_date: The loan's start.
        initial_amt: The loan's principal.
        events: Tuples of type, date, amount, and the index of an earlier event to reverse; an index that names no
            such event is ignored. A reversal is dated on or after its event.
        currency: The loan's currency.
    """
    [(loan_id,)] = sql(connection, "SELECT coalesce(max(loan_id), 0) + 1 FROM loans")
    sql(
        connection, "SELECT create_loans(%s, %s, %s::numeric[], %s)", [loan_id], [start_date], [initial_amt], [currency]
    )
    posted: list[tuple] = []
    for event_type, post_date, amt, reverses in events:
        kind, amount, reversed_id = event_type, amt, None
        if 0 <= reverses < len(posted) and posted[reverses] is not None:
            kind, amount, reversed_id, earliest = posted[reverses]
            post_date, posted[reverses] = max(post_date, earliest), None
        sql(
            connection,
            "SELECT post_events(%s, %s, %s, %s::numeric[], NULL, %s::bigint[])",
            [loan_id], [kind], [post_date], [amount], [reversed_id],
        )  # fmt: skip
        [(tx_id,)] = sql(connection, "SELECT max(tx_id) FROM loan_events WHERE loan_id = %s", loan_id)
        posted.append((kind, amount, tx_id, post_date) if reversed_id is None else None)
    return read(connection, loan_id)


def read(connection, loan_id: int) -> DecimalLoan:
    """Read a loan with its events."""
    [terms] = sql(connection, "SELECT start_date, initial_amt FROM loans WHERE loan_id = %s", loan_id)
    rows = sql(
        connection,
        "SELECT tx_id, event_type, post_date, amt, version, reverses FROM loan_events WHERE loan_id = %s",
        loan_id,
    )
    return DecimalLoan(loan_id, *terms, tuple(Row(*row) for row in rows))
