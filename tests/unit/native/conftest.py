"""Runs every test of this package on both builds of the core."""

from types import SimpleNamespace

import pytest

from tests.support.core import load_core


@pytest.fixture(scope="session", params=["compiled", "interpreted"])
def core(request: pytest.FixtureRequest) -> SimpleNamespace:
    """The public names of the core, from one build."""
    return load_core(request.param)
