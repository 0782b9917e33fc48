"""A refresh of published keys that brings nothing usable: the last good keys stay in use for a bounded time."""

import json

import pytest

from security import InvalidToken, JwksKeys, OAuth2Provider, SecurityException
from tests.support.issuing import CURVE, FIRST, SECOND, SMALL, ask, jwk, token


@pytest.fixture
def keys(issuer, clock):
    return JwksKeys(f"{issuer.url}/keys", now=clock)


@pytest.fixture
def provider(keys):
    return OAuth2Provider(keys=keys)


def good_set() -> str:
    return json.dumps([jwk(SECOND, "two")])


BAD_SETS = {
    "no keys": b'{"keys": []}',
    "null": b'{"keys": null}',
    "an object": b'{"keys": {}}',
    "nothing": b"{}",
    "not JSON": b"<html>",
    "an empty body": b"",
    "cut short": json.dumps({"keys": [jwk(FIRST, "one")]}).encode()[:-9],
    "keys twice": f'{{"keys": {good_set()}, "keys": {good_set()}}}'.encode(),
    "a duplicate member in a key": b'{"keys": [{"kty": "RSA", "kty": "EC"}]}',
    "NaN": b'{"keys": [NaN]}',
    "a list": b"[]",
    "only a small key": json.dumps({"keys": [jwk(SMALL, "one")]}).encode(),
    "only keys for encryption": json.dumps({"keys": [jwk(FIRST, "one", use="enc")]}).encode(),
    "only shared secrets": b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}',
    "only garbage": b'{"keys": [1, null, "key", [], {}, {"kty": "RSA"}]}',
}


@pytest.mark.parametrize("name", BAD_SETS)
def test_set_without_usable_keys_keeps_the_last_good_one(provider, keys, issuer, clock, caplog, name):
    assert ask(provider, token())
    issuer.raw = BAD_SETS[name]
    clock.now += 301
    assert ask(provider, token(jti="2"))
    assert keys.failed_fetches == 1
    assert caplog.text.count("fetching the keys failed, keeping the earlier ones (1)") == 1
    clock.now += 11
    assert ask(provider, token(jti="3"))
    assert keys.failed_fetches == 2
    issuer.raw = None
    issuer.keys = [jwk(SECOND, "two")]
    clock.now += 11
    with pytest.raises(InvalidToken):
        ask(provider, token(jti="4"))  # a good set replaces the old one
    assert keys.failed_fetches == 2


def test_last_good_keys_are_trusted_for_a_bounded_time(issuer, clock, caplog):
    provider = OAuth2Provider(keys=JwksKeys(f"{issuer.url}/keys", now=clock, max_stale_s=3600))
    assert ask(provider, token())
    issuer.keys = []
    clock.now += 3599
    assert ask(provider, token())
    clock.now += 1
    with pytest.raises(SecurityException) as caught:
        ask(provider, token())
    assert caught.value.status_code == 503
    assert "dropping all keys" in caplog.text


def test_first_set_without_keys_is_503_and_not_an_invalid_token(provider, issuer):
    issuer.keys = []
    with pytest.raises(SecurityException) as caught:
        ask(provider, token())
    assert caught.value.status_code == 503


def test_usable_keys_of_a_set_are_used_and_the_others_are_logged_once(provider, keys, issuer, clock, caplog):
    issuer.keys = [jwk(SMALL, "small"), jwk(FIRST, "one"), 7, 7, jwk(CURVE, "mislabeled", alg="ES521")]
    for number in range(4):
        assert ask(provider, token(jti=str(number)))
        clock.now += 301
    assert len(issuer.requests) == 4
    assert keys.failed_fetches == 0
    for reason in (
        "key small: has 1024 bits",
        "key : is not a JSON object",
        "key mislabeled: is published for another",
    ):
        assert caplog.text.count(reason) == 1, reason
    issuer.keys = [jwk(FIRST, "one")]
    assert ask(provider, token(jti="5"))
    issuer.keys = [jwk(FIRST, "one"), jwk(SMALL, "small")]
    clock.now += 301
    assert ask(provider, token(jti="6"))
    assert caplog.text.count("key small: has 1024 bits") == 2  # it was gone, and came back
