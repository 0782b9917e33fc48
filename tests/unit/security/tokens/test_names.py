"""Names in claims and arguments: nobody gets a right that was not given."""

import pytest

from security import (
    ACLProvider,
    Auth,
    InsufficientScope,
    InvalidToken,
    OAuth2Provider,
    Request,
    SecurityException,
    SecurityMiddleware,
    ThreadLocalSecurityContext,
    scopes_provider,
)
from security.tokens.claims import to_auth

LISTS = ("roles", "organizations", "namespaces")


def identity(**claims: object) -> Auth:
    return to_auth({"userId": "u1", "username": "eve@example.com", **claims})


def is_allowed(auth: Auth, **policy: list[str]) -> bool:
    context = ThreadLocalSecurityContext()
    context.set_auth(auth)
    request = Request(type("Plain", (), {"path": "/loans", "method": "GET"}))
    try:
        ACLProvider([{"id": "only", **policy}])(context, request, None)
    except SecurityException as err:
        return err.status_code != 403
    return True


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("Eve auditors", ["Eve auditors"]),
        ("guest admin,user", ["guest admin", "user"]),
        ("Acme Corp", ["Acme Corp"]),
        ("a\tadmin", ["a\tadmin"]),
        ("a\u00a0admin", ["a\u00a0admin"]),
        ("\u00a0admin", ["\u00a0admin"]),
        ("a\nadmin", ["a\nadmin"]),
        ("a;admin", ["a;admin"]),
        ("a, b ,c", ["a", "b", "c"]),  # Microkubes' Python library ignores these spaces
        (",a,,b,", ["a", "b"]),
        ("a,a", ["a"]),
        (" ", []),
        ("", []),
        (None, []),
        ([], []),
        (["Acme Corp", "b"], ["Acme Corp", "b"]),
        (["Eve,auditors"], ["Eve,auditors"]),
        ([" auditors"], [" auditors"]),
        (["", "a"], ["a"]),
    ],
)
def test_names_are_separated_by_commas_only(name, value, names):
    assert getattr(identity(**{name: value}), name) == names


@pytest.mark.parametrize("name", LISTS)
def test_policy_matches_whole_names(name):
    assert not is_allowed(identity(**{name: "Eve auditors"}), **{name: ["auditors"]})
    assert not is_allowed(identity(**{name: ["Eve,auditors"]}), **{name: ["auditors"]})
    assert is_allowed(identity(**{name: "Eve,auditors"}), **{name: ["auditors"]})
    assert is_allowed(identity(**{name: "Acme Corp"}), **{name: ["Acme Corp"]})


@pytest.mark.parametrize(
    ("value", "scopes"),
    [
        # RFC 6749, section 3.3: "The value of the scope parameter is expressed as a list of space-delimited,
        # case-sensitive strings."
        ("api:read api:write", ["api:read", "api:write"]),
        ("API:READ", ["API:READ"]),
        # Microkubes services write commas in their tokens.
        ("api:read,api:write", ["api:read", "api:write"]),
        ("api:read, api:write", ["api:read", "api:write"]),
        (["api:read", "api:write"], ["api:read", "api:write"]),
        (["api:read,api:write"], ["api:read", "api:write"]),
        # "scope = scope-token *( SP scope-token )": other white space separates nothing.
        ("a\tapi:write", ["a\tapi:write"]),
        ("a\u00a0api:write", ["a\u00a0api:write"]),
        ("a\napi:write", ["a\napi:write"]),
        ("", []),
        (None, []),
    ],
)
def test_scopes_are_separated_by_spaces_or_commas(value, scopes):
    assert identity(scopes=value).scopes == scopes
    assert identity(scope=value).scopes == scopes
    assert Auth("1", "ann", scopes=value).scopes == scopes


def test_both_claims_of_scopes_count():
    assert identity(scope="a b", scopes="b,c").scopes == ["a", "b", "c"]


@pytest.mark.parametrize("value", [7, True, {"a": 1}, [7], ["a", None], [["a"]]])
@pytest.mark.parametrize("name", [*LISTS, "scope", "scopes"])
def test_lists_of_other_types_are_rejected(name, value):
    with pytest.raises(InvalidToken, match=f"the claim {name} is neither"):
        identity(**{name: value})


def test_strings_do_not_become_letters():
    auth = Auth("1", "ann", roles="user,guest admin", organizations="Acme Corp", namespaces="n", scopes="api:read")
    assert (auth.roles, auth.organizations, auth.namespaces) == (["user", "guest admin"], ["Acme Corp"], ["n"])
    assert auth == Auth("1", "ann", ["user", "guest admin"], ["Acme Corp"], ["n"], ["api:read"])
    assert auth.has_scopes("api:read")
    assert not auth.has_scopes("api:read api:write")
    assert not Auth("1", "ann", scopes="apiread:").has_scopes("api:read")  # the same letters


def test_required_scopes_may_be_a_string():
    context = ThreadLocalSecurityContext()
    context.set_auth(Auth("1", "ann", scopes="api:read"))
    scopes_provider("api:read")(context, None, None)
    with pytest.raises(InsufficientScope, match="lacks the scope api:read api:write"):
        scopes_provider("api:read api:write")(context, None, None)
    assert OAuth2Provider(keys=object(), scopes="api:read api:write")._scopes == ("api:read", "api:write")
    middleware = SecurityMiddleware(None, None, scopes="api:read")
    middleware._check_scopes(context, None, None)
