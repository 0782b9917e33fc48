"""Published keys and their discovery: noticed soon, asked for seldom, trusted no longer than is safe."""

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


def test_a_published_key_verifies(provider, issuer):
    assert ask(provider, token()).user_id == "ann"
    assert ask(provider, token(jti="2")).user_id == "ann"
    assert issuer.asked == ["/keys"]


def test_a_token_without_a_key_id_is_tried_under_every_key(provider, issuer):
    issuer.keys = [jwk(SECOND, "two"), jwk(FIRST, None), jwk(CURVE, "three")]
    assert ask(provider, token(kid=None)).user_id == "ann"
    assert ask(provider, token(CURVE, None, "ES256")).user_id == "ann"


def test_a_new_key_is_noticed_at_once(provider, issuer, clock):
    ask(provider, token())
    issuer.keys.append(jwk(SECOND, "two"))
    clock.now += 11
    assert ask(provider, token(SECOND, "two")).user_id == "ann"


def test_unknown_key_ids_cannot_be_made_into_a_flood(provider, issuer, clock):
    ask(provider, token())
    for number in range(50):
        with pytest.raises(InvalidToken):
            ask(provider, token(SECOND, f"unknown {number}"))
    assert len(issuer.asked) == 1  # the set was fetched a moment ago
    clock.now += 11
    for number in range(50):
        with pytest.raises(InvalidToken):
            ask(provider, token(SECOND, f"unknown {number}"))
    assert len(issuer.asked) == 2


def test_a_key_that_was_withdrawn_stops_working_within_the_sets_lifetime(provider, issuer, clock):
    shown = token()
    ask(provider, shown)
    issuer.keys = [jwk(SECOND, "two")]
    clock.now += 299
    assert ask(provider, shown)
    clock.now += 2
    with pytest.raises(InvalidToken):
        ask(provider, shown)


@pytest.mark.parametrize("trouble", ["status", "html", "list", "no keys", "too large"])
def test_a_server_in_trouble_leaves_the_last_keys_in_use(provider, issuer, clock, caplog, trouble):
    ask(provider, token())
    if trouble == "status":
        issuer.status = 500
    issuer.raw = {"html": b"<html>", "list": b"[1]", "no keys": b"{}", "too large": b"x" * 1_100_000}.get(trouble)
    clock.now += 1000
    assert ask(provider, token(jti="2")).user_id == "ann"
    assert "not refreshed" in caplog.text


def test_without_any_key_no_token_can_be_checked_and_the_server_is_not_flooded(issuer, clock):
    issuer.status = 500
    provider = OAuth2Provider(keys=JwksKeys(f"{issuer.url}/keys", now=clock))
    for _ in range(20):
        with pytest.raises(SecurityException) as caught:
            ask(provider, token())
        assert (caught.value.status_code, caught.value.headers["Retry-After"]) == (503, "1")
    assert len(issuer.asked) == 1
    issuer.status = 200
    clock.now += 11
    assert ask(provider, token()).user_id == "ann"


def test_a_server_that_is_not_there_is_no_fault_of_the_token(clock):
    with pytest.raises(SecurityException, match="cannot be checked now"):
        ask(OAuth2Provider(keys=JwksKeys("http://127.0.0.1:9/keys", now=clock)), token())


def test_keys_that_cannot_be_used_are_passed_over(provider, issuer, caplog):
    secret = {"kty": "oct", "kid": "one", "k": "c2VjcmV0"}
    issuer.keys = [
        secret, jwk(SMALL, "small"), jwk(SECOND, "one", use="enc"), "rubbish", {"kty": "RSA", "kid": "bad", "n": 1},
        {"kty": "EC", "kid": "odd", "crv": "P-1"}, jwk(FIRST, "one", alg="HS256"),
    ]  # fmt: skip
    assert ask(provider, token()).user_id == "ann"
    with pytest.raises(InvalidToken):
        ask(provider, token(SECOND, "small"))
    assert "1024 bits" in caplog.text
    assert "c2VjcmV0" not in caplog.text


def test_many_threads_fetch_once(issuer, clock):
    keys = JwksKeys(f"{issuer.url}/keys", now=clock)
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(len(keys.candidates("one")))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1] * 16
    assert issuer.asked == ["/keys"]


@pytest.mark.parametrize(
    "url", ["http://issuer.example/keys", "ftp://127.0.0.1/keys", "keys", "https://", "http://[::1"]
)
def test_keys_are_fetched_safely_or_not_at_all(url):
    with pytest.raises(ValueError, match="https"):
        JwksKeys(url)


def test_keys_have_one_place():
    for options in ({}, {"url": "https://a/b", "issuer": "https://a"}):
        with pytest.raises(ValueError, match="one of the two"):
            JwksKeys(**options)


def test_a_server_that_drips_holds_up_nobody_longer_than_the_bound(clock):
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
        keys = JwksKeys(f"http://127.0.0.1:{server.getsockname()[1]}/keys", patience_s=0.5, now=clock)
        begun = time.monotonic()

        def wait() -> None:
            with contextlib.suppress(SecurityException):
                keys.candidates("one")

        waiting = [threading.Thread(target=wait) for _ in range(8)]
        for one in waiting:
            one.start()
        for one in waiting:
            one.join()
        assert time.monotonic() - begun < 1.3  # the bound once, not once for each look
        thread.join()


def test_what_is_no_token_asks_nobody_for_keys(provider, issuer):
    for shown in ("a.b.c", "x", "..", token() + "!"):
        with pytest.raises(InvalidToken):
            ask(provider, shown)
    assert issuer.asked == []


def test_keys_are_not_trusted_for_ever(provider, issuer, clock):
    shown = token()
    assert ask(provider, shown)
    issuer.status = 500
    clock.now += 86_000
    assert ask(provider, shown)
    clock.now += 1_000
    with pytest.raises(SecurityException, match="cannot be checked now"):
        ask(provider, shown)


def test_a_key_for_encryption_verifies_nothing(provider, issuer):
    issuer.keys = [jwk(SECOND, "two", use="enc"), {"kty": ["RSA"], "kid": "odd"}, jwk(FIRST, "one")]
    assert ask(provider, token())
    with pytest.raises(InvalidToken):
        ask(provider, token(SECOND, "two"))


@pytest.mark.parametrize("path", ["", "/tenant"])
def test_the_issuers_metadata_says_where_its_keys_are(issuer, clock, path):
    name = issuer.url + path
    issuer.metadata = {"issuer": name, "jwks_uri": f"{issuer.url}/keys"}
    assert ask(OAuth2Provider(keys=JwksKeys(issuer=name, now=clock)), token()).user_id == "ann"
    assert issuer.asked == [f"/.well-known/oauth-authorization-server{path}", "/keys"]


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://other.example", "jwks_uri": "{url}/keys"},
        {"issuer": "{url}"},
        {"issuer": "{url}", "jwks_uri": "http://other.example/keys"},
        {"issuer": "{url}", "jwks_uri": 5},
    ],
)
def test_metadata_that_cannot_be_trusted_gives_no_keys(issuer, clock, metadata, caplog):
    issuer.metadata = {
        name: value.format(url=issuer.url) if isinstance(value, str) else value for name, value in metadata.items()
    }
    with pytest.raises(SecurityException, match="cannot be checked now"):
        ask(OAuth2Provider(keys=JwksKeys(issuer=issuer.url, now=clock)), token())
    assert "metadata" in caplog.text
    assert "/keys" not in issuer.asked
