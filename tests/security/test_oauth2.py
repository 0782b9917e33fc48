"""OAuth2 beyond a key file: published keys, discovery, opaque tokens, scopes, issuer and audience."""

import json
import socket
import threading
import time
from types import SimpleNamespace
from urllib.parse import parse_qs

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from security import (
    Auth,
    InsufficientScope,
    Introspector,
    InvalidToken,
    JwksKeys,
    JWTProvider,
    KeyException,
    KeyStore,
    OAuth2Provider,
    Request,
    Response,
    SecurityException,
    ThreadLocalSecurityContext,
)
from security.json_fetch import FetchFailed, fetch_json
from tests.security.http_server import serving

FIRST, SECOND = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
CURVE = ec.generate_private_key(ec.SECP256R1())
SMALL = rsa.generate_private_key(public_exponent=65537, key_size=1024)


def jwk(key, kid: str | None, **members) -> dict:
    algorithm = (
        jwt.algorithms.ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else jwt.algorithms.RSAAlgorithm
    )
    named = {} if kid is None else {"kid": kid}
    return {**json.loads(algorithm.to_jwk(key.public_key())), **named, **members}


def token(key=FIRST, kid: str | None = "one", algorithm: str = "RS256", **claims) -> str:
    base = {
        "exp": time.time() + 60,
        "sub": "ann",
        "scope": "api:read",
        "iss": "https://issuer.example",
        "aud": "loaner",
    }
    payload = {name: value for name, value in {**base, **claims}.items() if value is not None}
    return jwt.encode(payload, key, algorithm=algorithm, headers=None if kid is None else {"kid": kid})


def ask(provider, shown: str | None, context=None) -> Auth | None:
    context = context or ThreadLocalSecurityContext()
    headers = {} if shown is None else {"Authorization": f"Bearer {shown}"}
    provider(context, Request(SimpleNamespace(headers=headers, path="/", method="GET")), Response())
    return context.get_auth()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def issuer():
    """A server that publishes `issuer.keys` and counts who asks."""
    state = SimpleNamespace(keys=[jwk(FIRST, "one")], asked=[], status=200, metadata={}, raw=None)

    def answer(method, path, headers, body):
        state.asked.append(path)
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


# --- published keys


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


def test_without_any_key_a_token_is_refused_and_the_server_is_not_flooded(issuer, clock):
    issuer.status = 500
    provider = OAuth2Provider(keys=JwksKeys(f"{issuer.url}/keys", now=clock))
    for _ in range(20):
        with pytest.raises(InvalidToken):
            ask(provider, token())
    assert len(issuer.asked) == 1
    issuer.status = 200
    clock.now += 11
    assert ask(provider, token()).user_id == "ann"


def test_a_server_that_is_not_there_is_a_refusal_and_not_a_fault(clock):
    with pytest.raises(InvalidToken):
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


@pytest.mark.parametrize("url", ["http://issuer.example/keys", "ftp://127.0.0.1/keys", "keys", "https://"])
def test_keys_are_fetched_safely_or_not_at_all(url):
    with pytest.raises(ValueError, match="https"):
        JwksKeys(url)


def test_keys_have_one_place():
    for options in ({}, {"url": "https://a/b", "issuer": "https://a"}):
        with pytest.raises(ValueError, match="one of the two"):
            JwksKeys(**options)


# --- discovery


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
    with pytest.raises(InvalidToken):
        ask(OAuth2Provider(keys=JwksKeys(issuer=issuer.url, now=clock)), token())
    assert "metadata" in caplog.text
    assert "/keys" not in issuer.asked


# --- what a token must say


@pytest.fixture
def strict(issuer, clock):
    return OAuth2Provider(
        keys=JwksKeys(f"{issuer.url}/keys", now=clock), issuer="https://issuer.example", audience="loaner",
        scopes=["api:read"],
    )  # fmt: skip


@pytest.mark.parametrize("claims", [{}, {"aud": ["x", "loaner"]}, {"scope": "api:write api:read"}])
def test_a_token_that_says_what_it_must_is_admitted(strict, claims):
    assert ask(strict, token(**claims)).user_id == "ann"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "https://other.example"}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"aud": "other"}, "audience"),
        ({"aud": None}, "audience"),
        ({"aud": ["other"]}, "audience"),
        ({"aud": {"loaner": 1}}, "audience"),
    ],
)
def test_a_token_for_somebody_else_is_refused(strict, claims, reason):
    with pytest.raises(InvalidToken, match=reason):
        ask(strict, token(**claims))


def test_a_token_without_the_scope_is_403(strict):
    with pytest.raises(InsufficientScope, match="api:read") as caught:
        ask(strict, token(scope="api:write"))
    assert caught.value.status_code == 403


def test_an_identity_that_is_established_is_left_alone(provider, issuer):
    context = ThreadLocalSecurityContext()
    context.set_auth(Auth("1", "bob"))
    assert ask(provider, token(), context).username == "bob"
    assert issuer.asked == []


def test_without_a_token_nothing_happens(provider):
    assert ask(provider, None) is None


def test_microkubes_own_tokens_are_admitted_from_the_key_store(keys_dir, make_token):
    provider = OAuth2Provider(KeyStore(keys_dir), algs=["RS256"])
    assert ask(provider, make_token()).username == "ann@example.com"
    with pytest.raises(InvalidToken, match="algorithm"):
        ask(provider, make_token(algorithm="RS512"))


def test_a_provider_needs_keys_from_one_place(keys_dir):
    with pytest.raises(ValueError, match="needs keys"):
        OAuth2Provider()
    with pytest.raises(ValueError, match="not from both"):
        OAuth2Provider(KeyStore(keys_dir), keys=KeyStore(keys_dir))


# --- opaque tokens


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


# --- servers that do harm


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
        waiting = [threading.Thread(target=keys.candidates, args=("one",)) for _ in range(8)]
        for one in waiting:
            one.start()
        for one in waiting:
            one.join()
        assert time.monotonic() - begun < 3
        thread.join()


def test_what_is_no_token_asks_nobody_for_keys(provider, issuer):
    for shown in ("a.b.c", "x", "..", token() + "!"):
        with pytest.raises(InvalidToken):
            ask(provider, shown)
    assert issuer.asked == []


@pytest.mark.parametrize("content", [b'{"a": "' + b"x" * 1_100_000 + b'"}', b"[" * 200_000])
def test_a_server_that_floods_is_not_listened_to(content):
    with serving(lambda *_: (200, content)) as url, pytest.raises(FetchFailed):
        fetch_json("GET", url)


def test_a_redirect_is_not_followed():
    asked = []

    def answer(method, path, headers, body):
        asked.append(path)
        return (302, b"") if path == "/" else (200, b"{}")

    with serving(answer) as url, pytest.raises(FetchFailed, match="answered 302"):
        fetch_json("GET", f"{url}/")
    assert asked == ["/"]


def test_keys_are_not_trusted_for_ever(provider, issuer, clock):
    shown = token()
    assert ask(provider, shown)
    issuer.status = 500
    clock.now += 86_000
    assert ask(provider, shown)
    clock.now += 1_000
    with pytest.raises(InvalidToken):
        ask(provider, shown)


def test_a_key_for_encryption_verifies_nothing(provider, issuer):
    issuer.keys = [jwk(SECOND, "two", use="enc"), {"kty": ["RSA"], "kid": "odd"}, jwk(FIRST, "one")]
    assert ask(provider, token())
    with pytest.raises(InvalidToken):
        ask(provider, token(SECOND, "two"))


# --- the memory of verified tokens


def test_nothing_need_be_remembered(keys_dir, make_token):
    provider = JWTProvider(KeyStore(keys_dir), remember=0)
    assert ask(provider, make_token()) == ask(provider, make_token())


def test_a_token_verified_while_the_keys_change_is_not_believed_afterwards(keys_dir, make_token):
    store = KeyStore(keys={"default": keys_dir / "default.pub"})
    original = store.candidates

    def change_meanwhile(kid):
        found = original(kid)
        store.add_key("default", keys_dir / "loaner.pub")
        return found

    store.candidates = change_meanwhile
    provider = JWTProvider(store)
    shown = make_token()
    assert ask(provider, shown)
    store.candidates = original
    with pytest.raises(InvalidToken):
        ask(provider, shown)


def test_a_token_is_verified_once(keys_dir, make_token, monkeypatch):
    provider = JWTProvider(KeyStore(keys_dir))
    shown = make_token()
    verified = []
    original = jwt.algorithms.RSAAlgorithm.verify
    monkeypatch.setattr(jwt.algorithms.RSAAlgorithm, "verify", lambda *args: verified.append(1) or original(*args))
    assert ask(provider, shown) == ask(provider, shown)
    assert len(verified) == 1


def test_a_remembered_token_expires_on_time(keys_dir, make_token):
    clock = Clock()
    provider = JWTProvider(KeyStore(keys_dir), now=clock, leeway_s=5)
    shown = make_token(exp=1010, iat=1000)
    assert ask(provider, shown)
    clock.now = 1014.9
    assert ask(provider, shown)
    clock.now = 1015
    with pytest.raises(InvalidToken, match="expired"):
        ask(provider, shown)


def test_clocks_may_differ_by_the_leeway_and_no_more(keys_dir, make_token):
    provider = JWTProvider(KeyStore(keys_dir))
    now = time.time()
    assert ask(provider, make_token(exp=now - 3))
    assert ask(provider, make_token(iat=now + 3))
    for claims in ({"exp": now - 7}, {"iat": now + 7}, {"nbf": now + 7}):
        with pytest.raises(InvalidToken):
            ask(provider, make_token(**claims))


def test_remembered_tokens_are_forgotten_when_the_keys_change(keys_dir, make_token):
    store = KeyStore(keys={"default": keys_dir / "default.pub"})
    provider = JWTProvider(store)
    shown = make_token()
    assert ask(provider, shown)
    store.add_key("default", keys_dir / "loaner.pub")
    with pytest.raises(InvalidToken, match="no trusted key"):
        ask(provider, shown)


def test_the_memory_of_tokens_is_bounded(keys_dir, make_token):
    provider = JWTProvider(KeyStore(keys_dir), remember=5)
    for number in range(20):
        ask(provider, make_token(jti=str(number)))
    assert len(provider._verifier._seen) == 5


def test_a_token_that_need_not_expire_is_admitted_where_that_is_said(keys_dir, make_token):
    shown = make_token(exp=None)
    with pytest.raises(InvalidToken, match="no expiry"):
        ask(JWTProvider(KeyStore(keys_dir)), shown)
    assert ask(JWTProvider(KeyStore(keys_dir), require_exp=False), shown)


def test_another_header_and_no_scheme_can_be_chosen(keys_dir, make_token):
    provider = JWTProvider(KeyStore(keys_dir), header="X-Token", auth_schema="")
    context = ThreadLocalSecurityContext()
    provider(context, Request(SimpleNamespace(headers={"X-Token": make_token()})), Response())
    assert context.get_auth().user_id == "u1"


def test_optional_claims_are_kept(keys_dir, make_token):
    auth = ask(JWTProvider(KeyStore(keys_dir)), make_token(customerID="c7", fullname="Ann A", email="a@example.com"))
    assert (auth.customer_id, auth.fullname, auth.email) == ("c7", "Ann A", "a@example.com")
    assert auth != Auth("u1", "ann@example.com", scopes=["api:read"])


def test_a_service_token_is_read(keys_dir, make_token):
    claims = {
        "userId": "system",
        "username": "system",
        "roles": "system",
        "scopes": None,
        "scope": "api:read,api:write",
    }
    auth = ask(JWTProvider(KeyStore(keys_dir)), make_token(**claims))
    assert (auth.username, auth.roles, auth.scopes) == ("system", ["system"], ["api:read", "api:write"])
