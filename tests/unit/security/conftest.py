"""Fixtures shared by the tests of providers, keys and tokens."""

import json
import threading
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from security import JwksKeys, OAuth2Provider
from tests.fakes.clocks import Clock
from tests.fakes.http_server import serving
from tests.support.issuing import FIRST, jwk

_KEYS: list[rsa.RSAPrivateKey] = []


@pytest.fixture(autouse=True)
def generated_once(monkeypatch):
    """Reuse RSA keys of the usual size from one test to the next; within a test each key is another one."""
    generate, lock, used = rsa.generate_private_key, threading.Lock(), iter(range(100_000))

    def pooled(public_exponent, key_size, backend=None):
        if (public_exponent, key_size) != (65537, 2048):
            return generate(public_exponent, key_size)
        with lock:
            number = next(used)
            if number == len(_KEYS):
                _KEYS.append(generate(public_exponent, key_size))
            return _KEYS[number]

    monkeypatch.setattr(rsa, "generate_private_key", pooled)


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
