"""Posts terms, schedules and plain events through the ledger's SQL functions."""

from typing import Any

from psycopg2.extensions import connection as Connection

from tests.conftest import sql

ORDER = ("fees", "interest", "principal")
_TERMS = "SELECT * FROM append_terms(%s, %s::date[], %s::numeric[], %s, %s, %s, %s::bigint[], %s, %s, %s) ORDER BY 1"
_EVENTS = "SELECT append_events(%s::bigint[], %s, %s::date[], %s::numeric[], NULL, NULL, NULL, NULL, NULL)"
_SCHEDULES = "SELECT * FROM append_schedules(%s, %s::date[], %s, %s, NULL, %s::bigint[], %s, %s, %s) ORDER BY 1"


def post_terms(
    connection: Connection,
    *terms: tuple[int, str | None, str | None],
    day_count: str | None = "ACT/365F",
    allocation: tuple[str, ...] = ORDER,
    grace_days: int | None = 0,
    reverses: int | None = None,
    source_id: str | None = None,
    memo: str | None = None,
    posted_by: str | None = "ann",
) -> dict[int, int]:
    """Post (loan, effective date, rate) tuples as one batch. Return {loan: new version}."""
    loan_ids, days, rates = (list(column) for column in zip(*terms, strict=True))
    count = len(terms)
    columns = [day_count], ["{" + ",".join(allocation) + "}"], [grace_days], [reverses], [source_id], [memo]
    return dict(sql(connection, _TERMS, loan_ids, days, rates, *(column * count for column in columns), posted_by))


def post_schedules(
    connection: Connection,
    *schedules: tuple[int, str | None, list[tuple[str, str]]],
    reverses: int | None = None,
    source_id: str | None = None,
    memo: str | None = None,
    posted_by: str | None = "ann",
) -> dict[int, int]:
    """Post (loan, effective date, [(due date, amount), ...]) tuples as one batch. Return {loan: new version}."""
    loan_ids = [loan_id for loan_id, _, _ in schedules]
    days = [day for _, day, _ in schedules]
    columns: list[list[Any]] = [
        [_array(installment[i] for installment in installments) for _, _, installments in schedules] for i in (0, 1)
    ]
    rest = ([value] * len(schedules) for value in (reverses, source_id, memo))
    return dict(sql(connection, _SCHEDULES, loan_ids, days, *columns, *rest, posted_by))


def post_events(connection: Connection, loan_id: int, *events: tuple[str, str, str]) -> None:
    """Post (event_type, post_date, amt) tuples to a loan as one batch."""
    columns = (list(column) for column in zip(*events, strict=True))
    sql(connection, _EVENTS, [loan_id] * len(events), *columns)


def _array(texts: Any) -> str:
    return "{" + ",".join(texts) + "}"
