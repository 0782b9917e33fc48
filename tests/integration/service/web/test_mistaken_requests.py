"""Requests that people try: each reply says what would have been right."""

import pytest

from service.web.near_miss import find_near_miss
from tests.support.application import build_app
from tests.support.settings import with_changes

pytestmark = pytest.mark.shared_ledger

BEHIND = {"X-Forwarded-Prefix": "/loaner"}
DOCUMENTATION = "ocumentation is at /loaner/api/v1"


@pytest.mark.parametrize(
    ("method", "path", "status", "meant"),
    [
        ("GET", "/loan", 404, "GET /loaner/api/v1/loans"),
        ("GET", "/loans", 404, "GET /loaner/api/v1/loans"),
        ("GET", "/1", 404, "GET /loaner/api/v1/loan/1"),
        ("GET", "/loan/1", 400, "GET /loaner/api/v1/loan/1"),
        ("GET", "/api/v1/loans/1", 404, "GET /loaner/api/v1/loan/1"),
        ("GET", "/api/v2/loan/1", 404, "GET /loaner/api/v1/loan/1"),
        ("GET", "/API/v1/Loan/1", 404, "GET /loaner/api/v1/loan/1"),
        ("GET", "/api/v1/loan/1/", 404, "GET /loaner/api/v1/loan/1"),
        ("GET", "/api/v1/loan/1/2020-07-01/", 404, "GET /loaner/api/v1/loan/1/2020-07-01"),
        ("GET", "/1/2020-07-01/", 404, "GET /loaner/1/2020-07-01"),
        ("GET", "/1/2020/7/1", 404, "GET /loaner/1/2020-07-01"),
        ("GET", "/1/20200701", 400, "GET /loaner/1/2020-07-01"),
        ("GET", "/api/v1/balance", 404, "POST /loaner/api/v1/balances"),
        ("GET", "/api/v1/balance/1/2020-07-01", 404, "GET /loaner/api/v1/loan/1/2020-07-01"),
        ("GET", "/api/v1/loan/1/balance", 400, "GET /loaner/api/v1/loan/1"),
        ("GET", "/api/v1/loan/1/statements", 400, "GET /loaner/api/v1/loan/1/statement"),
        ("GET", "/api/v1/loan", 405, "GET /loaner/api/v1/loans"),
        ("POST", "/api/v1/loans", 405, "POST /loaner/api/v1/loan"),
        ("POST", "/loans/1/events", 404, "POST /loaner/api/v1/loan/1/events"),
        ("POST", "/oauth/token", 405, "POST /loaner/token"),
        ("DELETE", "/api/v1/loans/1", 404, "GET /loaner/api/v1/loan/1"),
        ("GET", "/health", 404, "GET /loaner/healthcheck"),
        ("GET", "/api/v1/status", 404, "GET /loaner/status"),
    ],
)
def test_a_near_miss_is_named(client, bearer, method, path, status, meant):
    reply = client.open(path, method=method, headers={**bearer, **BEHIND})
    assert reply.status_code == status
    assert reply.content_type == "application/problem+json"
    assert reply.json["message"] == reply.json["detail"]
    text = reply.json["detail"]
    assert f"did you mean {meant}?" in text or f", or {meant};" in text
    # What is named is right: it leads to a route. Its caller may lack a body or a scope.
    method, _, place = meant.partition(" /loaner")
    assert client.open(place, method=method, headers=bearer).status_code in {200, 400, 403, 415}


@pytest.mark.parametrize(
    "path", ["/favicon.ico", "/a/b/c", "/<script>", "/%0A", "/a" * 3000, "/api/v1/swagger/x", "/é"]
)
def test_a_path_that_is_near_nothing_leads_to_the_documentation(client, path):
    reply = client.get(path, headers=BEHIND)
    assert (reply.status_code, reply.json["detail"]) == (404, f"not found; the d{DOCUMENTATION}")


@pytest.mark.parametrize("path", ["/api/v1/loan/1/01/07/2020", "/1/01/07/2020", "/1/1/7/2020/", "/1/01%2F07%2F2020"])
def test_a_date_with_slashes_is_recognized(client, bearer, path):
    reply = client.get(path, headers={**bearer, **BEHIND})
    assert reply.status_code == 404
    assert reply.json["detail"] == f"not found; a date is written YYYY-MM-DD, without slashes; the d{DOCUMENTATION}"


def test_a_date_that_cannot_be_guessed_names_its_form(client, bearer):
    reply = client.get("/1/01-07-2020", headers=bearer)
    assert (reply.status_code, reply.json["detail"]) == (400, "date: expected a date written YYYY-MM-DD")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("POST", "/1/2020-07-01", "GET"), ("GET", "/token", "POST"), ("GET", "/api/v1/balances", "POST")],
)
def test_the_right_method_is_named(client, method, path, allowed):
    reply = client.open(path, method=method, headers=BEHIND)
    assert (reply.status_code, allowed in reply.headers["Allow"]) == (405, True)
    assert reply.json["detail"] == f"the method is not allowed; expected {allowed}; the d{DOCUMENTATION}"


@pytest.mark.parametrize("authorization", [None, "Basic dTpw", "a-token-without-its-scheme"])
def test_a_request_without_a_token_learns_how_to_send_one(client, authorization):
    headers = {**BEHIND, **({"Authorization": authorization} if authorization else {})}
    reply = client.get("/1/2020-07-01", headers=headers)
    assert (reply.status_code, reply.content_type) == (401, "application/problem+json")
    assert reply.headers["WWW-Authenticate"] == 'Bearer realm="microkubes"'
    assert "`Authorization: Bearer TOKEN`" in reply.json["detail"]
    assert "POST /loaner/token issues tokens" in reply.json["detail"]
    assert DOCUMENTATION in reply.json["detail"]
    assert reply.json.keys() == {"type", "title", "status", "detail", "code", "message"}


def test_a_rejected_token_keeps_its_reason(client):
    reply = client.get("/1/2020-07-01", headers={"Authorization": "Bearer x"})
    assert reply.status_code == 401
    assert "Bearer TOKEN" not in reply.json["detail"]


def test_a_mistaken_path_is_named_without_a_token_too(client):
    assert "did you mean GET /api/v1/loan/1?" in client.get("/loan/1").json["detail"]


def test_a_service_that_issues_no_tokens_does_not_name_the_route(shared_served):
    client = build_app(with_changes(shared_served, secret="")).test_client()
    assert "/token" not in client.get("/1/2020-07-01").json["detail"]


def test_an_internal_route_says_why_it_is_not_found(client):
    for path in ("/metrics", "/ready"):
        reply = client.get(path, headers={"X-Forwarded-For": "203.0.113.7"})
        assert (reply.status_code, reply.json["detail"]) == (404, "not found through a proxy; ask the instance itself")


@pytest.mark.parametrize(
    "path", ["/", "/api", "/docs", "/docs/", "/swagger", "/swagger/index.html", "/redoc", "/api/docs", "/api/v1/docs"]
)
def test_where_people_look_for_the_documentation_it_is(client, path):
    reply = client.get(path, headers=BEHIND)
    assert (reply.status_code, reply.headers["Location"]) == (302, "/loaner/api/v1")


@pytest.mark.parametrize("path", ["/openapi.json", "/swagger.json", "/api/openapi.json", "/v3/api-docs"])
def test_where_programs_look_for_the_document_it_is(client, path):
    reply = client.get(path, headers=BEHIND)
    assert (reply.status_code, reply.headers["Location"]) == (302, "/loaner/api/v1/openapi.json")


def test_the_search_for_a_near_miss_is_bounded(bare_app, monkeypatch):
    """A path whose words all have other spellings costs no more than any other."""
    tried = []
    with bare_app.test_request_context("/"):
        monkeypatch.setattr("service.web.near_miss._match", lambda path, method: tried.append(path))
        assert find_near_miss("/balance" * 6, "GET") is None
    assert 0 < len(tried) <= 60 * 3
