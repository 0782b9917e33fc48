"""The core in one of its builds."""

from types import SimpleNamespace

import pytest

import native


def load_core(build: str) -> SimpleNamespace:
    """Return the public names of the core from one build; skip the test if it is not compiled.

    Args:
        build: "compiled" or "interpreted".
    """
    if build == "compiled" and native.compiled_file("timeline") is None:
        pytest.skip("the compiled core is missing; run `make build` (needs a C compiler)")
    payoff, book = native.load("payoff", build), native.load("book", build)
    return SimpleNamespace(
        build=build,
        Timeline=native.load("timeline", build).Timeline,
        portfolio_balances=native.load("portfolio", build).portfolio_balances,
        balance_parts=native.load("parts", build).balance_parts,
        portfolio_parts=book.portfolio_parts,
        portfolio_payoffs=book.portfolio_payoffs,
        payoff_at=payoff.payoff_at,
        payoff_totals=payoff.payoff_totals,
        arrears_at=payoff.arrears_at,
        installments_at=payoff.installments_at,
        accrual_segments=payoff.accrual_segments,
        uncharged_at=payoff.uncharged_at,
        first_accrual_day=payoff.first_accrual_day,
    )
