"""Opaque tokens: worth what the server says, for as long as it may be believed."""

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
    """An introspection endpoint that knows `server.tokens`."""
    state = SimpleNamespace(tokens={"good": {"active": True, "sub": "ann", "scope": "api:read"}}, asked=[], status=200)

    def answer(method, path, headers, body):
        shown = parse_qs(body.decode())["token"][0]
        state.asked.append((shown, headers.get("Authorization")))
        found = state.tokens.get(shown, {"active": False})
        return state.status, found if isinstance(found, bytes) else json.dumps(found).encode()

    with serving(answer) as url:
        state.url = f"{url}/introspect"
        yield state


def introspector(server, clock, **options):
    return Introspector(server.url, "loaner", "s3cret", now=clock, **options)


def test_an_opaque_token_is_asked_about_once_in_a_while(server, clock):
    provider = OAuth2Provider(introspector=introspector(server, clock))
    for _ in range(3):
        assert ask(provider, "good") == Auth("ann", "ann", scopes=["api:read"])
    assert server.asked == [("good", "Basic bG9hbmVyOnMzY3JldA==")]
    server.tokens["good"] = {"active": False}
    clock.now += 31
    with pytest.raises(InvalidToken, match="not active"):
        ask(provider, "good")


def test_an_opaque_token_that_is_not_active_is_remembered_as_well(server, clock):
    provider = OAuth2Provider(introspector=introspector(server, clock))
    for _ in range(3):
        with pytest.raises(InvalidToken, match="not active"):
            ask(provider, "bad")
    assert len(server.asked) == 1


def test_an_answer_is_believed_no_longer_than_its_token_lives(server, clock):
    server.tokens["good"]["exp"] = clock.now + 5
    provider = OAuth2Provider(introspector=introspector(server, clock))
    ask(provider, "good")
    clock.now += 6
    ask(provider, "good")
    clock.now += 6
    with pytest.raises(InvalidToken, match="expired"):
        ask(provider, "good")


def test_nothing_is_remembered_when_that_is_asked_for(server, clock):
    provider = OAuth2Provider(introspector=introspector(server, clock, remember_s=0))
    ask(provider, "good")
    ask(provider, "good")
    assert len(server.asked) == 2


def test_the_memory_of_answers_is_bounded(server, clock):
    asker = introspector(server, clock, remember=10)
    for number in range(50):
        with pytest.raises(InvalidToken):
            asker.verify(f"bad {number}")
    assert len(asker._answers) == 10


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
def test_an_answer_that_does_not_say_yes_is_a_no(server, clock, answer, reason):
    server.tokens["odd"] = answer
    with pytest.raises(InvalidToken, match=reason):
        introspector(server, clock).verify("odd")


@pytest.mark.parametrize(("claims", "reason"), [({"iss": "x", "aud": "loaner"}, "issuer"), ({"iss": "i"}, "audience")])
def test_an_answer_about_somebody_elses_token_is_a_no(server, clock, claims, reason):
    server.tokens["good"].update(claims)
    with pytest.raises(InvalidToken, match=reason):
        ask(OAuth2Provider(introspector=introspector(server, clock), issuer="i", audience="loaner"), "good")


@pytest.mark.parametrize("trouble", ["status", "html", "gone"])
def test_a_server_that_cannot_be_asked_is_503_and_tells_no_secret(server, clock, caplog, trouble):
    if trouble == "status":
        server.status = 500
    if trouble == "html":
        server.tokens["good"] = b"<html>"
    asker = introspector(server, clock)
    if trouble == "gone":
        asker = Introspector("http://127.0.0.1:9/i", "loaner", "s3cret", now=clock)
    with pytest.raises(SecurityException) as caught:
        asker.verify("good")
    assert (caught.value.status_code, caught.value.headers["Retry-After"]) == (503, "1")
    assert "s3cret" not in caplog.text + str(caught.value)


def test_signed_tokens_are_verified_here_and_opaque_ones_are_asked_about(server, issuer, clock):
    provider = OAuth2Provider(keys=JwksKeys(f"{issuer.url}/keys", now=clock), introspector=introspector(server, clock))
    assert ask(provider, token()).user_id == "ann"
    assert server.asked == []
    assert ask(provider, "good").user_id == "ann"
    assert len(server.asked) == 1


@pytest.mark.parametrize("shown", ["\udcff", "é", "x" * 20_000])
def test_what_cannot_be_a_token_is_not_asked_about(server, clock, shown):
    with pytest.raises(InvalidToken, match="too long or not ASCII"):
        introspector(server, clock).verify(shown)
    assert server.asked == []


def test_an_active_token_that_is_refused_is_remembered_as_well(server, clock):
    provider = OAuth2Provider(introspector=introspector(server, clock), audience="loaner")
    for _ in range(5):
        with pytest.raises(InvalidToken, match="audience"):
            ask(provider, "good")
    assert len(server.asked) == 1


def test_answers_about_two_tokens_are_kept_apart(server, clock):
    server.tokens = {f"the same beginning, {name}": {"active": True, "sub": name} for name in ("ann", "bob")}
    asker = introspector(server, clock)
    for _ in range(2):
        assert [asker.verify(token).username for token in server.tokens] == ["ann", "bob"]


def test_a_secret_is_only_sent_over_https():
    with pytest.raises(ValueError, match="https"):
        Introspector("http://issuer.example/introspect", "loaner", "s3cret")


@pytest.mark.parametrize("options", [{"algs": ["RS256"]}, {"leeway_s": 1}, {"nonsense": 1}])
def test_what_cannot_be_held_is_not_accepted(server, clock, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        OAuth2Provider(introspector=introspector(server, clock), **options)


def test_a_key_that_cannot_be_used_stops_the_provider(tmp_path):
    (tmp_path / "odd.pub").write_text("rubbish")
    with pytest.raises(KeyException, match=r"odd\.pub"):
        OAuth2Provider(KeyStore(tmp_path))
