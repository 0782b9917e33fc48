"""Access policies: matching, precedence, and errors in policies."""

import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security import (
    ACLProvider,
    Auth,
    NotAuthenticated,
    PolicyError,
    Request,
    Response,
    SecurityException,
    ThreadLocalSecurityContext,
)

ANN = Auth("1", "ann", roles=["user"], organizations=["acme"], namespaces=["ns"], scopes=["api:read"])
FULL = {
    "id": "p", "description": "all lists", "resources": ["/todos"], "actions": ["api:read"], "subjects": ["ann"],
    "roles": ["user"], "organizations": ["acme"], "namespaces": ["ns"],
}  # fmt: skip


def allowed(policies, auth: Auth | None = ANN, path: str = "/todos", method: str = "GET") -> bool:
    context = ThreadLocalSecurityContext()
    context.set_auth(auth)
    provider, request = ACLProvider({"policies": policies}), Request(SimpleNamespace(path=path, method=method))
    try:
        provider(context, request, Response())
    except NotAuthenticated:
        raise
    except SecurityException as err:
        return err.status_code != 403
    return True


def test_request_matching_every_list_is_allowed():
    assert allowed([FULL])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("resources", ["/other"]), ("resources", ["/todos/"]), ("resources", ["todos"]), ("actions", ["api:write"]),
        ("subjects", ["bob"]), ("roles", ["admin"]), ("organizations", ["other"]), ("namespaces", ["other"]),
    ],
)  # fmt: skip
def test_request_missing_one_list_is_denied(field, value):
    assert not allowed([{**FULL, field: value}])


def test_lists_of_different_policies_do_not_combine():
    others = [
        {**FULL, "id": "a", "subjects": ["bob"]},
        {**FULL, "id": "b", "organizations": ["other"]},
        {**FULL, "id": "c", "namespaces": ["other"]},
    ]
    assert not allowed(others)
    assert allowed([*others, FULL])


@pytest.mark.parametrize("field", ["resources", "actions", "subjects", "roles", "organizations", "namespaces"])
def test_empty_list_matches_any_value(field):
    assert allowed([{**FULL, field: []}])
    assert allowed([{name: value for name, value in FULL.items() if name != field}])


def test_nothing_is_allowed_without_policies():
    assert not allowed([])


def test_deny_overrides_allow_in_any_order():
    deny = {"id": "d", "effect": "deny", "subjects": ["ann"]}
    assert not allowed([FULL, deny])
    assert not allowed([deny, FULL])
    assert allowed([{**deny, "subjects": ["bob"]}, FULL])


@pytest.mark.parametrize(
    ("method", "action", "expected"),
    [
        ("GET", "api:read", True), ("HEAD", "api:read", True), ("OPTIONS", "api:read", True), ("get", "api:read", True),
        ("POST", "api:read", False), ("POST", "api:write", True), ("PUT", "api:write", True),
        ("PATCH", "api:write", True), ("DELETE", "api:write", True), ("GET", "api:write", False),
        ("TRACE", "api:read", False), ("BREW", "api:write", False), ("", "api:read", False),
    ],
)  # fmt: skip
def test_methods_map_to_actions(method, action, expected):
    assert allowed([{**FULL, "actions": [action]}], method=method) is expected


def test_unknown_method_is_denied_even_if_any_action_is_allowed():
    assert not allowed([{"id": "all"}], method="TRACE")
    assert not allowed([], Auth("system", "system", roles=["system"]), method="TRACE")


@pytest.mark.parametrize(
    ("resource", "path", "expected"),
    [
        ("/loans/<[0-9]+>", "/loans/17", True),
        ("/loans/<[0-9]+>", "/loans/x", False),
        ("/loans/<[0-9]+>", "/loans/17/more", False),
        ("/<a|b>/c", "/b/c", True),
        ("/<a|b>/c", "/a", False),
        ("<.*>", "/anything/at all", True),
        ("/<(?P<id>[0-9]+)>", "/5", True),
        ("/a.b", "/axb", False),
        ("/a.b", "/a.b", True),
        ("/a+<.>", "/a+x", True),
        ("/todos", "/todos\n", False),
    ],
)
def test_paths_match_exactly_except_in_angle_brackets(resource, path, expected):
    assert allowed([{"id": "p", "resources": [resource]}], path=path) is expected


def test_system_is_allowed_unless_denied():
    system = Auth("system", "system", roles=["system"])
    assert allowed([], system, method="DELETE")
    assert not allowed([{"id": "d", "effect": "deny", "subjects": ["system"]}], system)
    for user_id, username, roles in (
        ("1", "System", ["system"]), ("u7", "system", ["system"]), ("system", "system", ["user"]),
        ("system", "system", []), ("system2", "system2", ["system"]),
    ):  # fmt: skip
        assert not allowed([], Auth(user_id, username, roles=roles))


def test_names_of_identities_are_not_patterns():
    assert not allowed([{"id": "p", "subjects": ["ann"]}], Auth("1", "<.*>"))
    assert not allowed([{"id": "p", "subjects": ["a.n"]}])


def test_request_without_an_identity_is_401():
    with pytest.raises(NotAuthenticated):
        allowed([FULL], None)


@given(st.lists(st.builds(dict, id=st.uuids().map(str), effect=st.sampled_from(["allow", "deny"]),
                          subjects=st.lists(st.sampled_from(["ann", "bob"])),
                          roles=st.lists(st.sampled_from(["user", "admin"])))))  # fmt: skip
def test_decision_equals_the_rules(policies):
    hit = [
        policy["effect"]
        for policy in policies
        if (not policy["subjects"] or "ann" in policy["subjects"])
        and (not policy["roles"] or "user" in policy["roles"])
    ]
    assert allowed(policies) is ("allow" in hit and "deny" not in hit)


@pytest.mark.parametrize(
    ("policies", "policy", "field"),
    [
        (["text"], "number 1", "policy"),
        ([FULL, {}], "number 2", "id"),
        ([{"id": ""}], "number 1", "id"),
        ([{**FULL, "subjets": ["ann"]}], "p", "subjets"),
        ([{**FULL, "effect": "maybe"}], "p", "effect"),
        ([{**FULL, "roles": "user"}], "p", "roles"),
        ([{**FULL, "roles": [1]}], "p", "roles"),
        ([{**FULL, "roles": [""]}], "p", "roles"),
        ([{**FULL, "resources": ["/<(>"]}], "p", "resources"),
        ([{**FULL, "resources": ["/admin/<.*"]}], "p", "resources"),
        ([{**FULL, "resources": ["/admin/.*>"]}], "p", "resources"),
        ([{**FULL, "resources": ["/<[0-9]{1,<}>"]}], "p", "resources"),
        ([{**FULL, "resources": ["/admin/<a)|(?:.*>"]}], "p", "resources"),
        ([FULL, FULL], "p", "id"),
        ("text", "file", "policies"),
        (None, "file", "policies"),
    ],
)
def test_invalid_policy_is_named_with_its_field(policies, policy, field):
    with pytest.raises(PolicyError) as caught:
        ACLProvider({"policies": policies})
    assert (caught.value.policy, caught.value.field) == (policy, field)
    assert policy in str(caught.value)
    assert field in str(caught.value)


@pytest.mark.parametrize("shape", [{"policies": [FULL]}, [FULL]])
def test_policies_are_read_from_a_file_or_a_list(tmp_path, shape):
    file = tmp_path / "acl.json"
    file.write_text(json.dumps(shape))
    assert [policy.id for policy in ACLProvider(str(file)).policies] == ["p"]
    assert [policy.id for policy in ACLProvider(shape).policies] == ["p"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read"),
        ("{", "not JSON"),
        ("5", "list of policies"),
        ('[{"id": "p", "effect": "deny", "effect": "allow"}]', "not JSON: duplicate member name"),
        ('{"policies": [], "policies": []}', "not JSON: duplicate member name"),
    ],
)
def test_unusable_policy_file_is_named(tmp_path, content, reason):
    file = tmp_path / "acl.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(PolicyError, match=reason):
        ACLProvider(file)
