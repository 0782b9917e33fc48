"""The cache of verified tokens: expiry, changes of keys, and its size."""

import time
from types import SimpleNamespace

import jwt
import pytest

from security import (
    Auth,
    InvalidToken,
    JWTProvider,
    KeyStore,
    Request,
    Response,
    ThreadLocalSecurityContext,
)
from tests.fakes.clocks import Clock
from tests.support.issuing import ask


def test_cache_can_be_disabled(keys_dir, make_token):
    provider = JWTProvider(KeyStore(keys_dir), remember=0)
    assert ask(provider, make_token()) == ask(provider, make_token())


def test_token_verified_during_a_key_change_is_not_cached(keys_dir, make_token):
    store = KeyStore(keys={"default": keys_dir / "default.pub"})
    original = store.candidates

    def change_keys(kid):
        found = original(kid)
        store.add_key("default", keys_dir / "loaner.pub")
        return found

    store.candidates = change_keys
    provider = JWTProvider(store)
    shown = make_token()
    assert ask(provider, shown)
    store.candidates = original
    with pytest.raises(InvalidToken):
        ask(provider, shown)


def test_token_is_verified_once(keys_dir, make_token, monkeypatch):
    provider = JWTProvider(KeyStore(keys_dir))
    shown = make_token()
    verified = []
    original = jwt.algorithms.RSAAlgorithm.verify
    monkeypatch.setattr(jwt.algorithms.RSAAlgorithm, "verify", lambda *args: verified.append(1) or original(*args))
    assert ask(provider, shown) == ask(provider, shown)
    assert len(verified) == 1


def test_cached_token_expires_on_time(keys_dir, make_token):
    clock = Clock()
    provider = JWTProvider(KeyStore(keys_dir), now=clock, leeway_s=5)
    shown = make_token(exp=1010, iat=1000)
    assert ask(provider, shown)
    clock.now = 1014.9
    assert ask(provider, shown)
    clock.now = 1015
    with pytest.raises(InvalidToken, match="expired"):
        ask(provider, shown)


def test_clocks_may_differ_by_the_leeway(keys_dir, make_token):
    provider = JWTProvider(KeyStore(keys_dir))
    now = time.time()
    assert ask(provider, make_token(exp=now - 3))
    assert ask(provider, make_token(iat=now + 3))
    for claims in ({"exp": now - 7}, {"iat": now + 7}, {"nbf": now + 7}):
        with pytest.raises(InvalidToken):
            ask(provider, make_token(**claims))


def test_key_change_invalidates_cached_tokens(keys_dir, make_token):
    store = KeyStore(keys={"default": keys_dir / "default.pub"})
    provider = JWTProvider(store)
    shown = make_token()
    assert ask(provider, shown)
    store.add_key("default", keys_dir / "loaner.pub")
    with pytest.raises(InvalidToken, match="no trusted key"):
        ask(provider, shown)


def test_cache_size_is_bounded(keys_dir, make_token):
    provider = JWTProvider(KeyStore(keys_dir), remember=5)
    for number in range(20):
        ask(provider, make_token(jti=str(number)))
    assert len(provider.verifier._verified) == 5


def test_token_without_expiry_is_accepted_if_configured(keys_dir, make_token):
    shown = make_token(exp=None)
    with pytest.raises(InvalidToken, match="no expiry"):
        ask(JWTProvider(KeyStore(keys_dir)), shown)
    assert ask(JWTProvider(KeyStore(keys_dir), require_exp=False), shown)


def test_header_and_scheme_are_configurable(keys_dir, make_token):
    provider = JWTProvider(KeyStore(keys_dir), header="X-Token", auth_schema="")
    context = ThreadLocalSecurityContext()
    provider(context, Request(SimpleNamespace(headers={"X-Token": make_token()})), Response())
    assert context.get_auth().user_id == "u1"


def test_optional_claims_are_kept(keys_dir, make_token):
    auth = ask(JWTProvider(KeyStore(keys_dir)), make_token(customerID="c7", fullname="Ann A", email="a@example.com"))
    assert (auth.customer_id, auth.fullname, auth.email) == ("c7", "Ann A", "a@example.com")
    assert auth != Auth("u1", "ann@example.com", scopes=["api:read"])


def test_service_token_is_accepted(keys_dir, make_token):
    claims = {
        "userId": "system",
        "username": "system",
        "roles": "system",
        "scopes": None,
        "scope": "api:read,api:write",
    }
    auth = ask(JWTProvider(KeyStore(keys_dir)), make_token(**claims))
    assert (auth.username, auth.roles, auth.scopes) == ("system", ["system"], ["api:read", "api:write"])
