"""Published keys: caching, refreshing and discovery."""

import contextlib
import socket
import threading
import time

import pytest

from security import (
    InvalidToken,
    JwksKeys,
    OAuth2Provider,
    SecurityException,
)
from tests.support.issuing import CURVE, FIRST, SECOND, SMALL, ask, jwk, token


def test_published_key_verifies_tokens(provider, issuer):
    assert ask(provider, token()).user_id == "ann"
    assert ask(provider, token(jti="2")).user_id == "ann"
    assert issuer.requests == ["/keys"]


def test_token_without_a_key_id_is_verified_with_every_key(provider, issuer):
    issuer.keys = [jwk(SECOND, "two"), jwk(FIRST, None), jwk(CURVE, "three")]
    assert ask(provider, token(kid=None)).user_id == "ann"
    assert ask(provider, token(CURVE, None, "ES256")).user_id == "ann"


def test_new_key_is_fetched_on_first_use(provider, issuer, clock):
    ask(provider, token())
    issuer.keys.append(jwk(SECOND, "two"))
    clock.now += 11
    assert ask(provider, token(SECOND, "two")).user_id == "ann"


def test_unknown_key_ids_do_not_flood_the_server(provider, issuer, clock):
    ask(provider, token())
    for number in range(50):
        with pytest.raises(InvalidToken):
            ask(provider, token(SECOND, f"unknown {number}"))
    assert len(issuer.requests) == 1  # within the cooldown of the first fetch
    clock.now += 11
    for number in range(50):
        with pytest.raises(InvalidToken):
            ask(provider, token(SECOND, f"unknown {number}"))
    assert len(issuer.requests) == 2


def test_withdrawn_key_is_rejected_after_the_lifetime_of_the_set(provider, issuer, clock):
    shown = token()
    ask(provider, shown)
    issuer.keys = [jwk(SECOND, "two")]
    clock.now += 299
    assert ask(provider, shown)
    clock.now += 2
    with pytest.raises(InvalidToken):
        ask(provider, shown)


@pytest.mark.parametrize("trouble", ["status", "html", "list", "no keys", "too large"])
def test_failed_fetch_keeps_the_current_keys(provider, issuer, clock, caplog, trouble):
    ask(provider, token())
    if trouble == "status":
        issuer.status = 500
    issuer.raw = {"html": b"<html>", "list": b"[1]", "no keys": b"{}", "too large": b"x" * 1_100_000}.get(trouble)
    clock.now += 1000
    assert ask(provider, token(jti="2")).user_id == "ann"
    assert "fetching the keys failed" in caplog.text


def test_missing_keys_are_503_and_do_not_flood_the_server(issuer, clock):
    issuer.status = 500
    provider = OAuth2Provider(keys=JwksKeys(f"{issuer.url}/keys", now=clock))
    for _ in range(20):
        with pytest.raises(SecurityException) as caught:
            ask(provider, token())
        assert (caught.value.status_code, caught.value.headers["Retry-After"]) == (503, "1")
    assert len(issuer.requests) == 1
    issuer.status = 200
    clock.now += 11
    assert ask(provider, token()).user_id == "ann"


def test_unreachable_server_is_not_an_invalid_token(clock):
    with pytest.raises(SecurityException, match="cannot be checked now"):
        ask(OAuth2Provider(keys=JwksKeys("http://127.0.0.1:9/keys", now=clock)), token())


def test_unusable_keys_are_skipped(provider, issuer, caplog):
    secret = {"kty": "oct", "kid": "one", "k": "c2VjcmV0"}
    issuer.keys = [
        secret, jwk(SMALL, "small"), jwk(SECOND, "one", use="enc"), "not a key", {"kty": "RSA", "kid": "bad", "n": 1},
        {"kty": "EC", "kid": "odd", "crv": "P-1"}, jwk(FIRST, "one", alg="RS256"),
    ]  # fmt: skip
    assert ask(provider, token()).user_id == "ann"
    with pytest.raises(InvalidToken):
        ask(provider, token(SECOND, "small"))
    assert "1024 bits" in caplog.text
    assert "c2VjcmV0" not in caplog.text


def test_concurrent_threads_share_one_fetch(issuer, clock):
    keys = JwksKeys(f"{issuer.url}/keys", now=clock)
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(len(keys.candidates("one")))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1] * 16
    assert issuer.requests == ["/keys"]


@pytest.mark.parametrize(
    "url", ["http://issuer.example/keys", "ftp://127.0.0.1/keys", "keys", "https://", "http://[::1"]
)
def test_unprotected_url_is_rejected(url):
    with pytest.raises(ValueError, match="https"):
        JwksKeys(url)


def test_exactly_one_of_url_and_issuer_is_required():
    for options in ({}, {"url": "https://a/b", "issuer": "https://a"}):
        with pytest.raises(ValueError, match="exactly one of url and issuer"):
            JwksKeys(**options)


def test_slow_server_does_not_block_callers_beyond_the_timeout(clock):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            peer = server.accept()[0]
            with peer:
                try:
                    for _ in range(40):
                        peer.sendall(b"HTTP/1.1 200 OK\r\n" if _ == 0 else b"X: y\r\n")
                        time.sleep(0.1)
                except OSError:
                    pass

        thread = threading.Thread(target=drip)
        thread.start()
        keys = JwksKeys(f"http://127.0.0.1:{server.getsockname()[1]}/keys", timeout_s=0.5, now=clock)
        begun = time.monotonic()

        def wait() -> None:
            with contextlib.suppress(SecurityException):
                keys.candidates("one")

        waiting = [threading.Thread(target=wait) for _ in range(8)]
        for one in waiting:
            one.start()
        for one in waiting:
            one.join()
        assert time.monotonic() - begun < 1.3  # one timeout, not one per caller
        thread.join()


def test_malformed_token_does_not_cause_a_fetch(provider, issuer):
    for shown in ("a.b.c", "x", "..", token() + "!"):
        with pytest.raises(InvalidToken):
            ask(provider, shown)
    assert issuer.requests == []


def test_stale_keys_are_dropped(provider, issuer, clock):
    shown = token()
    assert ask(provider, shown)
    issuer.status = 500
    clock.now += 86_000
    assert ask(provider, shown)
    clock.now += 1_000
    with pytest.raises(SecurityException, match="cannot be checked now"):
        ask(provider, shown)


def test_encryption_key_verifies_nothing(provider, issuer):
    issuer.keys = [jwk(SECOND, "two", use="enc"), {"kty": ["RSA"], "kid": "odd"}, jwk(FIRST, "one")]
    assert ask(provider, token())
    with pytest.raises(InvalidToken):
        ask(provider, token(SECOND, "two"))


@pytest.mark.parametrize("path", ["", "/tenant"])
def test_metadata_of_the_issuer_locates_its_keys(issuer, clock, path):
    name = issuer.url + path
    issuer.metadata = {"issuer": name, "jwks_uri": f"{issuer.url}/keys"}
    assert ask(OAuth2Provider(keys=JwksKeys(issuer=name, now=clock)), token()).user_id == "ann"
    assert issuer.requests == [f"/.well-known/oauth-authorization-server{path}", "/keys"]


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://other.example", "jwks_uri": "{url}/keys"},
        {"issuer": "{url}"},
        {"issuer": "{url}", "jwks_uri": "http://other.example/keys"},
        {"issuer": "{url}", "jwks_uri": 5},
    ],
)
def test_untrusted_metadata_provides_no_keys(issuer, clock, metadata, caplog):
    issuer.metadata = {
        name: value.format(url=issuer.url) if isinstance(value, str) else value for name, value in metadata.items()
    }
    with pytest.raises(SecurityException, match="cannot be checked now"):
        ask(OAuth2Provider(keys=JwksKeys(issuer=issuer.url, now=clock)), token())
    assert "metadata" in caplog.text
    assert "/keys" not in issuer.requests
