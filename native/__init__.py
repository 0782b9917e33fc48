"""Balance arithmetic: one source that runs compiled or interpreted, independent of Flask, Postgres and memcached.

`IMPLEMENTATION` is the build in use, "compiled" or "interpreted". The environment variable LOANER_NATIVE selects it;
selecting `compiled` without a compiled core raises ImportError. If it is unset, the compiled core is used if it exists.
This is the only package that reads the environment on import, because the import binds the classes of one build.
"""

import os

from native.builds import compiled_file, load
from native.days import day_number, to_date
from native.results import Arrears, Payoff, Payoffs, Segment

__all__ = [
    "ALLOCATIONS",
    "DAY_COUNTS",
    "FEE",
    "IMPLEMENTATION",
    "INTEREST",
    "INTEREST_CREDIT",
    "LAYOUT_VERSION",
    "MAX_GRACE_DAYS",
    "MAX_RATE",
    "PARTS",
    "PAYMENT",
    "RATE_SCALE",
    "REVERSAL",
    "Arrears",
    "Payoff",
    "Payoffs",
    "Segment",
    "Timeline",
    "accrual_segments",
    "arrears_at",
    "balance_parts",
    "compiled_file",
    "day_number",
    "first_accrual_day",
    "installments_at",
    "load",
    "payoff_at",
    "payoff_totals",
    "portfolio_balances",
    "portfolio_parts",
    "portfolio_payoffs",
    "to_date",
    "uncharged_at",
]

_MODULES = ("timeline", "terms", "schedules", "day_count", "walk", "parts", "payoff", "book", "portfolio")
IMPLEMENTATION = os.environ.get("LOANER_NATIVE") or ("compiled" if all(map(compiled_file, _MODULES)) else "interpreted")

_terms = load("terms", IMPLEMENTATION)
ALLOCATIONS: tuple[tuple[str, str, str], ...] = _terms.ALLOCATIONS
DAY_COUNTS: tuple[str, str, str, str] = _terms.DAY_COUNTS
MAX_GRACE_DAYS: int = _terms.MAX_GRACE_DAYS
MAX_RATE: int = _terms.MAX_RATE
RATE_SCALE: int = _terms.RATE_SCALE
_timeline = load("timeline", IMPLEMENTATION)
LAYOUT_VERSION: int = _timeline.LAYOUT_VERSION
FEE: int = _timeline.FEE
INTEREST: int = _timeline.INTEREST
INTEREST_CREDIT: int = _timeline.INTEREST_CREDIT
PAYMENT: int = _timeline.PAYMENT
REVERSAL: int = _timeline.REVERSAL
Timeline = _timeline.Timeline
_parts = load("parts", IMPLEMENTATION)
PARTS: tuple[str, str, str] = _parts.ORDER
balance_parts = _parts.balance_parts
_payoff = load("payoff", IMPLEMENTATION)
accrual_segments = _payoff.accrual_segments
arrears_at = _payoff.arrears_at
first_accrual_day = _payoff.first_accrual_day
installments_at = _payoff.installments_at
payoff_at = _payoff.payoff_at
payoff_totals = _payoff.payoff_totals
uncharged_at = _payoff.uncharged_at
_book = load("book", IMPLEMENTATION)
portfolio_parts = _book.portfolio_parts
portfolio_payoffs = _book.portfolio_payoffs
portfolio_balances = load("portfolio", IMPLEMENTATION).portfolio_balances
