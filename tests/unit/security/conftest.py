"""Fixtures shared by the tests of providers, keys and tokens."""

import json
from types import SimpleNamespace

import pytest

from security import JwksKeys, OAuth2Provider
from tests.fakes.clocks import Clock
from tests.fakes.http_server import serving
from tests.support.issuing import FIRST, jwk


@pytest.fixture
def issuer():
    """A fake authorization server that publishes `issuer.keys` and records the requested paths."""
    state = SimpleNamespace(keys=[jwk(FIRST, "one")], requests=[], status=200, metadata={}, raw=None)

    def answer(method, path, headers, body):
        state.requests.append(path)
        if "well-known" in path:
            return state.status, json.dumps(state.metadata).encode()
        return state.status, state.raw if state.raw is not None else json.dumps({"keys": state.keys}).encode()

    with serving(answer) as url:
        state.url = url
        yield state


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def provider(issuer, clock):
    return OAuth2Provider(keys=JwksKeys(f"{issuer.url}/keys", now=clock))
