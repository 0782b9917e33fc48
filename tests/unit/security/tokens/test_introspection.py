"""Token introspection: answers, their cache, and failures of the server."""

import base64
import json
from types import SimpleNamespace
from urllib.parse import parse_qs

import pytest

from security import (
    Auth,
    Introspector,
    InvalidToken,
    JwksKeys,
    KeyException,
    KeyStore,
    OAuth2Provider,
    SecurityException,
)
from tests.fakes.http_server import serving
from tests.support.issuing import ask, token


@pytest.fixture
def server():
    """A fake introspection endpoint that knows `server.tokens`."""
    state = SimpleNamespace(
        tokens={"good": {"active": True, "sub": "ann", "scope": "api:read"}}, requests=[], status=200
    )

    def answer(method, path, headers, body):
        shown = parse_qs(body.decode())["token"][0]
        state.requests.append((shown, headers.get("Authorization")))
        found = state.tokens.get(shown, {"active": False})
        return state.status, found if isinstance(found, bytes) else json.dumps(found).encode()

    with serving(answer) as url:
        state.url = f"{url}/introspect"
        yield state


def introspector(server, clock, **options):
    return Introspector(server.url, "loaner", "s3cret", now=clock, **options)


def test_active_token_is_cached(server, clock):
    provider = OAuth2Provider(introspector=introspector(server, clock))
    for _ in range(3):
        assert ask(provider, "good") == Auth("ann", "ann", scopes=["api:read"])
    assert server.requests == [("good", "Basic bG9hbmVyOnMzY3JldA==")]
    server.tokens["good"] = {"active": False}
    clock.now += 31
    with pytest.raises(InvalidToken, match="not active"):
        ask(provider, "good")


def test_inactive_token_is_cached(server, clock):
    provider = OAuth2Provider(introspector=introspector(server, clock))
    for _ in range(3):
        with pytest.raises(InvalidToken, match="not active"):
            ask(provider, "bad")
    assert len(server.requests) == 1


def test_answer_is_not_cached_beyond_the_expiry_of_the_token(server, clock):
    server.tokens["good"]["exp"] = clock.now + 5
    provider = OAuth2Provider(introspector=introspector(server, clock))
    ask(provider, "good")
    clock.now += 6
    ask(provider, "good")
    clock.now += 6
    with pytest.raises(InvalidToken, match="expired"):
        ask(provider, "good")


def test_cache_can_be_disabled(server, clock):
    provider = OAuth2Provider(introspector=introspector(server, clock, remember_s=0))
    ask(provider, "good")
    ask(provider, "good")
    assert len(server.requests) == 2


def test_cache_size_is_bounded(server, clock):
    client = introspector(server, clock, remember=10)
    for number in range(50):
        with pytest.raises(InvalidToken):
            client.verify(f"bad {number}")
    assert len(client._answers) == 10


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"active": "true", "sub": "ann"}, "not active"),
        ({"active": 1, "sub": "ann"}, "not active"),
        ({}, "not active"),
        ({"active": True}, "names no user"),
        ({"active": True, "sub": "ann", "scope": 5}, "claim scope"),
        ({"active": True, "sub": "ann", "exp": 10}, "expired"),
    ],
)
def test_only_a_valid_active_answer_is_accepted(server, clock, answer, reason):
    server.tokens["odd"] = answer
    with pytest.raises(InvalidToken, match=reason):
        introspector(server, clock).verify("odd")


@pytest.mark.parametrize(("claims", "reason"), [({"iss": "x", "aud": "loaner"}, "issuer"), ({"iss": "i"}, "audience")])
def test_answer_with_another_issuer_or_audience_is_rejected(server, clock, claims, reason):
    server.tokens["good"].update(claims)
    with pytest.raises(InvalidToken, match=reason):
        ask(OAuth2Provider(introspector=introspector(server, clock), issuer="i", audience="loaner"), "good")


@pytest.mark.parametrize("failure", ["status", "html", "gone"])
def test_failing_server_is_503_without_secrets(server, clock, caplog, failure):
    if failure == "status":
        server.status = 500
    if failure == "html":
        server.tokens["good"] = b"<html>"
    client = introspector(server, clock)
    if failure == "gone":
        client = Introspector("http://127.0.0.1:9/i", "loaner", "s3cret", now=clock)
    with pytest.raises(SecurityException) as caught:
        client.verify("good")
    assert (caught.value.status_code, caught.value.headers["Retry-After"]) == (503, "1")
    assert "s3cret" not in caplog.text + str(caught.value)


def test_only_opaque_tokens_are_introspected(server, issuer, clock):
    provider = OAuth2Provider(keys=JwksKeys(f"{issuer.url}/keys", now=clock), introspector=introspector(server, clock))
    assert ask(provider, token()).user_id == "ann"
    assert server.requests == []
    assert ask(provider, "good").user_id == "ann"
    assert len(server.requests) == 1


@pytest.mark.parametrize("shown", ["\udcff", "é", "x" * 20_000])
def test_malformed_token_is_not_introspected(server, clock, shown):
    with pytest.raises(InvalidToken, match="too long or not ASCII"):
        introspector(server, clock).verify(shown)
    assert server.requests == []


def test_rejected_active_token_is_cached(server, clock):
    provider = OAuth2Provider(introspector=introspector(server, clock), audience="loaner")
    for _ in range(5):
        with pytest.raises(InvalidToken, match="audience"):
            ask(provider, "good")
    assert len(server.requests) == 1


def test_answers_are_cached_per_token(server, clock):
    server.tokens = {f"the same prefix, {name}": {"active": True, "sub": name} for name in ("ann", "bob")}
    client = introspector(server, clock)
    for _ in range(2):
        assert [client.verify(token).username for token in server.tokens] == ["ann", "bob"]


def test_client_secret_needs_https():
    with pytest.raises(ValueError, match="https"):
        Introspector("http://issuer.example/introspect", "loaner", "s3cret")


@pytest.mark.parametrize("options", [{"algs": ["RS256"]}, {"leeway_s": 1}, {"nonsense": 1}])
def test_options_of_signed_tokens_are_rejected(server, clock, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        OAuth2Provider(introspector=introspector(server, clock), **options)


def test_unusable_key_fails_the_provider(tmp_path):
    (tmp_path / "odd.pub").write_text("invalid")
    with pytest.raises(KeyException, match=r"odd\.pub"):
        OAuth2Provider(KeyStore(tmp_path))


@pytest.fixture
def strict_server():
    """An endpoint that accepts only `server.accepted` as credentials in HTTP Basic."""
    state = SimpleNamespace(accepted="", shown=[])

    def answer(method, path, headers, body):
        shown = base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode("latin-1")
        state.shown.append(shown)
        return (200, b'{"active": true, "sub": "ann"}') if shown == state.accepted else (401, b"{}")

    with serving(answer) as url:
        state.url = url
        yield state


SPECIAL = "p%+ /\u00e9"
ENCODED, PLAIN = "loaner%3A1:p%25%2B+%2F%C3%A9", f"loaner:1:{SPECIAL}"


def special(server, secret=SPECIAL):
    return OAuth2Provider(introspector=Introspector(server.url, "loaner:1", secret, remember_s=0))


# RFC 6749, section 2.3.1: "the client password is encoded using the same algorithm and used as the password."
def test_credentials_are_form_encoded(strict_server):
    strict_server.accepted = ENCODED
    provider = special(strict_server)
    for _ in range(2):
        assert ask(provider, "good")
    assert strict_server.shown == [ENCODED, ENCODED]


def test_endpoint_that_expects_plain_credentials_gets_them(strict_server):
    strict_server.accepted = PLAIN
    provider = special(strict_server)
    for _ in range(3):
        assert ask(provider, "good")
    assert strict_server.shown == [ENCODED, PLAIN, PLAIN, PLAIN]
    strict_server.accepted = ENCODED  # another server takes over
    for _ in range(2):
        assert ask(provider, "good")
    assert strict_server.shown[4:] == [PLAIN, ENCODED, ENCODED]


def test_rejected_credentials_are_503(strict_server):
    for secret, attempts in ((SPECIAL, 2), ("\u20ac", 1)):  # a header cannot contain the last one as it is
        strict_server.shown.clear()
        with pytest.raises(SecurityException) as caught:
            ask(special(strict_server, secret), "good")
        assert caught.value.status_code == 503
        assert len(strict_server.shown) == attempts


@pytest.mark.parametrize("status", [400, 403, 500])
def test_other_errors_do_not_cause_another_attempt(server, clock, status):
    server.status = status
    with pytest.raises(SecurityException):
        ask(OAuth2Provider(introspector=Introspector(server.url, "loaner", "p%", now=clock)), "good")
    assert len(server.requests) == 1


def test_answer_with_a_duplicate_member_is_not_used(server, clock):
    """RFC 8259, section 4: the behavior of software that receives such an object is unpredictable."""
    server.tokens["good"] = b'{"active": false, "active": true, "sub": "ann"}'
    with pytest.raises(SecurityException) as caught:
        ask(OAuth2Provider(introspector=introspector(server, clock)), "good")
    assert caught.value.status_code == 503


def test_credentials_without_special_characters_are_tried_once(server, clock):
    server.status = 401
    with pytest.raises(SecurityException):
        ask(OAuth2Provider(introspector=introspector(server, clock)), "good")
    assert len(server.requests) == 1
