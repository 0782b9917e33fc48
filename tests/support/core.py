"""The core in one of its builds."""

from types import SimpleNamespace

import pytest

import native


def load_core(build: str) -> SimpleNamespace:
    """Return what the core offers for payoff and arrears, from one build; skip the test if it is not compiled.

    Args:
        build: "compiled" or "interpreted".
    """
    if build == "compiled" and native.compiled_file("payoff") is None:
        pytest.skip("the compiled core is missing; run `make build` (needs a C compiler)")
    payoff = native.load("payoff", build)
    return SimpleNamespace(
        build=build,
        Timeline=native.load("timeline", build).Timeline,
        balance_parts=native.load("parts", build).balance_parts,
        payoff_at=payoff.payoff_at,
        payoff_totals=payoff.payoff_totals,
        arrears_at=payoff.arrears_at,
        installments_at=payoff.installments_at,
        accrual_segments=payoff.accrual_segments,
        uncharged_at=payoff.uncharged_at,
        first_accrual_day=payoff.first_accrual_day,
        portfolio_payoffs=native.load("book", build).portfolio_payoffs,
    )
