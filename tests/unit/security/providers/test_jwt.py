"""The JWT provider: tokens of Microkubes are accepted, and each kind of invalid token is rejected with 401."""

import time
from types import SimpleNamespace

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from security import (
    Auth,
    JWTProvider,
    KeyStore,
    Request,
    Response,
    SecurityChain,
    SecurityException,
    ThreadLocalSecurityContext,
    is_authenticated_provider,
)
from security.keys.generation import write_key_pair


@pytest.fixture(scope="module")
def chain(keys_dir):
    return (
        SecurityChain(ThreadLocalSecurityContext())
        .provider(JWTProvider(KeyStore(keys_dir)))
        .provider(is_authenticated_provider)
    )


def execute(chain, header: str | None) -> Auth:
    headers = {} if header is None else {"Authorization": header}
    chain.execute(Request(SimpleNamespace(headers=headers, path="/", method="GET")), Response())
    return chain.security_context.get_auth()


def rejection(chain, header: str | None) -> SecurityException:
    with pytest.raises(SecurityException) as caught:
        execute(chain, header)
    assert not chain.security_context.has_auth()
    return caught.value


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
@pytest.mark.parametrize("key", ["default", "loaner"])
def test_token_of_any_trusted_key_is_accepted(chain, make_token, key, algorithm):
    auth = execute(chain, f"Bearer {make_token(key, algorithm)}")
    assert auth == Auth("u1", "ann@example.com", scopes=["api:read"])


@pytest.mark.parametrize(
    ("curve", "algorithm"), [(ec.SECP256R1(), "ES256"), (ec.SECP384R1(), "ES384"), (ec.SECP521R1(), "ES512")]
)
def test_token_of_an_elliptic_curve_key_is_accepted(keys_dir, tmp_path, curve, algorithm):
    key = ec.generate_private_key(curve)
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "curve.pub").write_bytes(key.public_key().public_bytes(*form))
    (tmp_path / "default.pub").write_bytes((keys_dir / "default.pub").read_bytes())
    chain = SecurityChain(ThreadLocalSecurityContext()).provider(JWTProvider(KeyStore(tmp_path)))
    token = jwt.encode({"exp": time.time() + 60, "userId": "u", "username": "u"}, key, algorithm=algorithm)
    assert execute(chain, f"Bearer {token}").user_id == "u"


def test_times_may_be_floats(chain, make_token):
    assert execute(chain, f"Bearer {make_token(exp=time.time() + 9.5, iat=time.time() - 0.5)}").user_id == "u1"


def test_kid_selects_its_key(chain, make_token):
    assert execute(chain, f"Bearer {make_token(headers={'kid': 'default'})}").user_id == "u1"


@pytest.mark.parametrize("kid", ["loaner", "unknown"])
def test_wrong_or_unknown_kid_is_rejected(chain, make_token, kid):
    assert rejection(chain, f"Bearer {make_token(headers={'kid': kid})}").status_code == 401


@pytest.mark.parametrize(
    "claims",
    [
        {"scopes": "api:read,api:write"},
        {"scopes": "api:read api:write"},
        {"scopes": ["api:read", "api:write"]},
        {"scopes": ["api:read,api:write"]},
        {"scopes": None, "scope": "api:write,api:read"},
        {"scopes": "api:read", "scope": ["api:write"]},
    ],
)
def test_scopes_are_parsed_in_every_format_of_microkubes(chain, make_token, claims):
    assert execute(chain, f"Bearer {make_token(**claims)}").has_scopes(["api:read", "api:write"])


@pytest.mark.parametrize("empty", ["", None, []])
def test_empty_lists_are_empty(chain, make_token, empty):
    auth = execute(chain, f"Bearer {make_token(roles=empty, organizations=empty, namespaces=empty, scopes=empty)}")
    assert (auth.roles, auth.organizations, auth.namespaces, auth.scopes) == ((), (), (), ())


def test_null_list_is_empty(chain, keys_dir):
    claims = {"exp": time.time() + 60, "userId": "u", "username": "u", "namespaces": None}
    token = jwt.encode(claims, (keys_dir / "default").read_bytes(), algorithm="RS256")
    assert execute(chain, f"Bearer {token}").namespaces == ()


def test_scheme_is_case_insensitive(chain, make_token):
    assert execute(chain, f"bEARER {make_token()}").user_id == "u1"


@pytest.mark.parametrize("header", [None, "", "Basic YTpi", "Token x"])
def test_request_without_a_token_gets_a_challenge(chain, header):
    rejected = rejection(chain, header)
    assert rejected.status_code == 401
    assert rejected.headers["WWW-Authenticate"] == 'Bearer realm="microkubes"'


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": int(time.time()) - 60}, "expired"),
        ({"nbf": int(time.time()) + 600}, "not valid yet"),
        ({"exp": None}, "no expiry"),
        ({"exp": "tomorrow"}, "claim exp"),
        ({"exp": True}, "claim exp"),
        ({"exp": 1e999}, "JSON"),
        ({"exp": 1e300}, "claim exp"),
        ({"iat": int(time.time()) + 600}, "not valid yet"),
        ({"nbf": "0"}, "claim nbf"),
        ({"email": 5}, "claim email"),
        ({"userId": None, "username": None}, "names no user"),
        ({"userId": 5}, "claim userId"),
        ({"userId": [], "sub": "root"}, "claim userId"),
        ({"userId": None, "sub": 5}, "claim sub"),
        ({"username": ["a"]}, "claim username"),
        ({"username": False}, "claim username"),
        ({"username": 0}, "claim username"),
        ({"scopes": 5}, "claim scopes"),
        ({"scopes": [1]}, "claim scopes"),
        ({"roles": {"a": 1}}, "claim roles"),
    ],
)
def test_signed_token_with_invalid_claims_is_rejected(chain, make_token, claims, reason):
    rejected = rejection(chain, f"Bearer {make_token(**claims)}")
    assert rejected.status_code == 401
    assert reason in str(rejected)
    assert 'error="invalid_token"' in rejected.headers["WWW-Authenticate"]


def test_token_of_an_unknown_key_is_rejected(chain, tmp_path):
    write_key_pair(tmp_path, "stranger")
    claims = {"exp": time.time() + 60, "userId": "u", "username": "u"}
    token = jwt.encode(claims, (tmp_path / "stranger").read_bytes(), algorithm="RS256")
    assert "no trusted key" in str(rejection(chain, f"Bearer {token}"))


def test_symmetric_algorithm_cannot_be_configured(keys_dir):
    with pytest.raises(ValueError, match="HS256"):
        JWTProvider(KeyStore(keys_dir), algs=["HS256"])


def test_error_reports_the_invalid_token_instead_of_a_missing_one(chain, make_token):
    assert "expired" in str(rejection(chain, f"Bearer {make_token(exp=int(time.time()) - 60)}"))


def test_rejected_token_is_not_logged(chain, make_token, caplog):
    token = make_token(exp=int(time.time()) - 60)
    with caplog.at_level("DEBUG"):
        rejection(chain, f"Bearer {token}")
    assert "rejected a token" in caplog.text
    assert token not in caplog.text
    assert token.split(".")[1] not in caplog.text
