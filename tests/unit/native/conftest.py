"""Both builds of the core, one after the other: every test here runs over each."""

from types import SimpleNamespace

import pytest

import native


@pytest.fixture(scope="session", params=["compiled", "interpreted"])
def core(request: pytest.FixtureRequest) -> SimpleNamespace:
    """The core's names, in the build of this parameter."""
    build = request.param
    if build == "compiled" and native.compiled_file("timeline") is None:
        pytest.skip("the compiled core is missing; `make build` makes it, given a C compiler")
    return SimpleNamespace(
        build=build,
        Timeline=native.load("timeline", build).Timeline,
        portfolio_balances=native.load("portfolio", build).portfolio_balances,
        balance_parts=native.load("parts", build).balance_parts,
    )
