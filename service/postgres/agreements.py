"""SQL expressions for the terms and schedules that apply to a loan."""

from native import ALLOCATIONS, DAY_COUNTS, RATE_SCALE
from service.postgres.sql_fragments import EPOCH, MINOR_UNITS


def applying(table: str, loan_id: str, version: str) -> str:
    """Return a query of the records that apply to a loan.

    Of the records with one effective date, the last recorded one that is not reversed applies. All arguments are SQL.

    Args:
        table: The table of the records.
        loan_id: The loan.
        version: The version that the loan has.
    """
    return f"""
        SELECT DISTINCT ON (effective_date) * FROM {table} AS recorded
        WHERE loan_id = {loan_id} AND version <= {version} AND reverses IS NULL
          AND NOT EXISTS (SELECT FROM {table} AS r
                          WHERE r.loan_id = {loan_id} AND r.reverses = recorded.version AND r.version <= {version})
        ORDER BY effective_date, version DESC
    """  # noqa: S608  (built from constants, not from input)


def _to_json(table: str, members: str, version: str) -> str:
    """Return a query of the records that apply to a loan `l`, as JSON in the order of their effective dates."""
    return f"""
    SELECT json_agg(json_build_array(a.effective_date - {EPOCH}, {members}) ORDER BY a.effective_date)
    FROM ({applying(table, "l.loan_id", version)}) AS a
    """  # noqa: S608  (built from constants, not from input)


def _code(value: str, names: list[str]) -> str:
    """Return the position of a text among names, as SQL."""
    return f"array_position(ARRAY[{', '.join(map(repr, names))}], {value}) - 1"


_TERMS = f"""
    (a.rate * {RATE_SCALE})::bigint, {_code("a.day_count", list(DAY_COUNTS))},
    {_code("array_to_string(a.allocation, ' ')", [" ".join(names) for names in ALLOCATIONS])}, a.grace_days
"""
_INSTALLMENTS = f"""
    (SELECT json_agg(json_build_array(i.due_date - {EPOCH}, (i.amt * {MINOR_UNITS})::bigint) ORDER BY i.position)
     FROM unnest(a.due_dates, a.amts) WITH ORDINALITY AS i (due_date, amt, position))
"""  # noqa: S608  (built from constants, not from input)


def applying_terms(version: str) -> str:
    """Return a query of the terms of a loan `l`: null, or the arguments of `Timeline.build` as JSON.

    Args:
        version: The version that the loan has, as SQL.
    """
    return _to_json("loan_terms", _TERMS, version)


def applying_schedules(version: str) -> str:
    """Return a query of the schedules of a loan `l`; see `applying_terms`."""
    return _to_json("loan_schedules", _INSTALLMENTS, version)
