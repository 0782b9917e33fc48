"""Computes the amounts of many loans with the core."""

from collections.abc import Mapping
from typing import Any

from native import PARTS, portfolio_balances, portfolio_parts
from service.portfolio.amounts import Amounts
from service.portfolio.rows import Details

_BALANCE_COLUMNS = ("start_days", "initials", "offsets", "days", "running")


def compute_amounts(day: int, columns: Mapping[str, Any], details: Details, threads: int = 1) -> Amounts:
    """Return the amounts of all loans of some columns at the end of a day; 0 for those that start later.

    Args:
        day: Days since 1970-01-01.
        columns: The columns of the loans by the names of `Columns`.
        details: What to add to the balances.
        threads: Threads of the core.
    """
    balances = portfolio_balances(day, **{name: columns[name] for name in _BALANCE_COLUMNS}, threads=threads)
    if not details.parts:
        return Amounts(balances)
    named = {name: columns[name] for name in (*_BALANCE_COLUMNS, "kinds", "links")}
    split = portfolio_parts(day, **named, threads=threads)
    return Amounts(balances, [split[part :: len(PARTS)] for part in range(len(PARTS))])
