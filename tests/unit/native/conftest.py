"""Runs every test of this package on both builds of the core."""

from types import SimpleNamespace

import pytest

import native


@pytest.fixture(scope="session", params=["compiled", "interpreted"])
def core(request: pytest.FixtureRequest) -> SimpleNamespace:
    """The public names of the core, from one build."""
    build = request.param
    if build == "compiled" and native.compiled_file("timeline") is None:
        pytest.skip("the compiled core is missing; run `make build` (needs a C compiler)")
    parts = native.load("parts", build)
    return SimpleNamespace(
        build=build,
        Timeline=native.load("timeline", build).Timeline,
        portfolio_balances=native.load("portfolio", build).portfolio_balances,
        balance_parts=parts.balance_parts,
        portfolio_parts=parts.portfolio_parts,
    )
