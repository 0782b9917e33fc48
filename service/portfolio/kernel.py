"""Computes the amounts of many loans with the core."""

from collections.abc import Mapping, Sequence
from typing import Any

from native import PARTS, portfolio_balances, portfolio_parts, portfolio_payoffs
from service.portfolio.amounts import Amounts
from service.portfolio.rows import Details

_BALANCE_COLUMNS = ("start_days", "initials", "offsets", "days", "running")
_TERM_COLUMNS = ("term_offsets", "term_days", "rates", "grace_days", "day_counts", "allocations")
_PART_COLUMNS = (*_BALANCE_COLUMNS, "kinds", "links", *_TERM_COLUMNS)
_SCHEDULE_COLUMNS = ("schedule_offsets", "schedule_days", "ends", "installment_offsets", "amounts", "due_days")


def compute_amounts(day: int, columns: Mapping[str, Any], details: Details, threads: int = 1) -> Amounts:
    """Return the amounts of all loans of some columns at the end of a day; 0 for those that start later.

    Args:
        day: Days since 1970-01-01.
        columns: The columns of the loans by the names of `Columns`.
        details: What to add to the balances.
        threads: Threads of the core.
    """

    def select(names: Sequence[str]) -> dict[str, Any]:
        return {name: columns[name] for name in names}

    amounts = Amounts(portfolio_balances(day, **select(_BALANCE_COLUMNS), threads=threads))
    if not details.can_fail:
        if not details.parts:
            return amounts
        return amounts._replace(parts=_split(portfolio_parts(day, **select(_PART_COLUMNS), threads=threads)))
    found = portfolio_payoffs(day, **select(_PART_COLUMNS), **select(_SCHEDULE_COLUMNS), threads=threads)
    parts = found.parts
    if details.parts and 1 in found.overflows:  # the parts of these loans are missing, although parts always fit
        parts = portfolio_parts(day, **select(_PART_COLUMNS), threads=threads)
    return amounts._replace(
        parts=_split(parts) if details.parts else (),
        payoff=(found.uncharged, found.totals) if details.payoff else (),
        arrears=(found.past_due, found.days) if details.arrears else (),
        errors=found.overflows,
    )


def _split(parts: Sequence[int]) -> list[Sequence[int]]:
    """Return one column for each part."""
    return [parts[part :: len(PARTS)] for part in range(len(PARTS))]
