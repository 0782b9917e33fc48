"""The OAuth2 provider: required claims and scopes, and its arguments."""

import pytest

from security import (
    Auth,
    InsufficientScope,
    InvalidToken,
    JwksKeys,
    KeyStore,
    OAuth2Provider,
    ThreadLocalSecurityContext,
)
from tests.support.issuing import ask, token


@pytest.fixture
def strict(issuer, clock):
    return OAuth2Provider(
        keys=JwksKeys(f"{issuer.url}/keys", now=clock), issuer="https://issuer.example", audience="loaner",
        scopes=["api:read"],
    )  # fmt: skip


@pytest.mark.parametrize("claims", [{}, {"aud": ["x", "loaner"]}, {"scope": "api:write api:read"}])
def test_token_with_the_required_claims_is_accepted(strict, claims):
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
def test_token_with_another_issuer_or_audience_is_rejected(strict, claims, reason):
    with pytest.raises(InvalidToken, match=reason):
        ask(strict, token(**claims))


def test_token_without_the_scope_is_403(strict):
    with pytest.raises(InsufficientScope, match="api:read") as caught:
        ask(strict, token(scope="api:write"))
    assert caught.value.status_code == 403


def test_existing_identity_is_kept(provider, issuer):
    context = ThreadLocalSecurityContext()
    context.set_auth(Auth("1", "bob"))
    assert ask(provider, token(), context).username == "bob"
    assert issuer.requests == []


def test_request_without_a_token_stays_unauthenticated(provider):
    assert ask(provider, None) is None


def test_microkubes_tokens_are_verified_with_the_key_store(keys_dir, make_token):
    provider = OAuth2Provider(KeyStore(keys_dir), algs=["RS256"])
    assert ask(provider, make_token()).username == "ann@example.com"
    with pytest.raises(InvalidToken, match="algorithm"):
        ask(provider, make_token(algorithm="RS512"))


def test_provider_needs_exactly_one_source_of_keys(keys_dir):
    with pytest.raises(ValueError, match="needs keys"):
        OAuth2Provider()
    with pytest.raises(ValueError, match="cannot be combined"):
        OAuth2Provider(KeyStore(keys_dir), keys=KeyStore(keys_dir))
