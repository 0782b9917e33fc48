"""Loans and balances over HTTP, access to the routes, and problem documents."""

from datetime import UTC, date, datetime, timedelta

import pytest

from service.web.routes.docs import DOCUMENT_ALIASES, PAGE_ALIASES
from tests.support.application import build_app
from tests.support.settings import with_changes

pytestmark = pytest.mark.shared_ledger

PROBLEM = "application/problem+json"


@pytest.mark.parametrize("form", ["/api/v1/loan/{}/{}", "/{}/{}"])
@pytest.mark.parametrize(
    ("loan", "day", "balance", "version"),
    [
        (1, "2019-12-04", "0.00", 3),
        (1, "2019-12-05", "1000.00", 3),
        (1, "2020-01-30", "1000.00", 3),
        (1, "2020-01-31", "1010.00", 3),
        (1, "2020-02-29", "899.50", 3),
        (1, "2020-03-01", "899.55", 3),
        (1, "9999-12-31", "899.55", 3),
        (1, "0001-01-01", "0.00", 3),
        (2, "2020-02-01", "-500.00", 1),
        (3, "2021-01-01", "50.00", 0),
    ],
)
def test_a_balance_is_exact_on_each_day(client, bearer, form, loan, day, balance, version):
    reply = client.get(form.format(loan, day), headers=bearer)
    assert reply.status_code == 200
    assert reply.content_type == "application/json"
    expected = {"loan_id": loan, "date": day, "balance": balance, "currency": "USD", "version": version}
    assert reply.json == expected


def test_a_loan_has_its_terms_and_the_balance_today(client, bearer):
    reply = client.get("/api/v1/loan/1", headers=bearer)
    assert reply.status_code == 200
    members = dict(reply.json)
    assert date.fromisoformat(members.pop("date")) - datetime.now(UTC).date() <= timedelta(days=1)
    assert members == {
        "loan_id": 1, "start_date": "2019-12-05", "initial_amt": "1000.00", "balance": "899.55",
        "currency": "USD", "version": 3,
    }  # fmt: skip


@pytest.mark.parametrize("path", ["/api/v1/loan/999/2020-01-01", "/999/2020-01-01", "/api/v1/loan/999"])
def test_an_unknown_loan_is_404(client, bearer, path):
    reply = client.get(path, headers=bearer)
    assert (reply.status_code, reply.content_type) == (404, PROBLEM)
    assert reply.json["type"] == "urn:loaner:problem:unknown-loan"
    assert (reply.json["code"], reply.json["message"]) == (404, "no such loan: 999")


@pytest.mark.parametrize(
    ("path", "field", "expected"),
    [
        ("/api/v1/loan/1/2021-02-30", "date", "expected a date that exists"),
        ("/1/2021-02-30", "date", "expected a date that exists"),
        ("/api/v1/loan/1/yesterday", "date", "expected a date written YYYY-MM-DD"),
        ("/api/v1/loan/1/20210215", "date", "expected a date written YYYY-MM-DD"),
        ("/api/v1/loan/1/1613347200", "date", "expected a date written YYYY-MM-DD"),
        ("/api/v1/loan/0/2021-02-15", "loan_id", "expected a whole number"),
        ("/api/v1/loan/-1/2021-02-15", "loan_id", "expected a whole number"),
        ("/api/v1/loan/1.0/2021-02-15", "loan_id", "expected a whole number"),
        ("/api/v1/loan/1%27%20OR%201=1/2021-02-15", "loan_id", "expected a whole number"),
        ("/api/v1/loan/9223372036854775808/2021-02-15", "loan_id", "expected a whole number"),
        ("/api/v1/loan/%00/2021-02-15", "loan_id", "expected a whole number"),
        ("/api/v1/loan/%EF%BC%91/2021-02-15", "loan_id", "expected a whole number"),
        ("/api/v1/loan/one", "loan_id", "expected a whole number"),
    ],
)
def test_an_invalid_path_is_400_and_names_the_field(client, bearer, path, field, expected):
    reply = client.get(path, headers=bearer)
    assert (reply.status_code, reply.content_type) == (400, PROBLEM)
    [error] = reply.json["errors"]
    assert error["field"] == field
    assert error["detail"].startswith(expected)
    assert reply.json["code"] == 400


def test_two_invalid_fields_are_both_named(client, bearer):
    reply = client.get("/api/v1/loan/x/y", headers=bearer)
    assert [error["field"] for error in reply.json["errors"]] == ["loan_id", "date"]


@pytest.mark.parametrize("path", ["/api/v1/loan/1/2020-01-01", "/1/2020-01-01", "/api/v1/loan/1", "/status"])
def test_without_a_token_a_secured_route_is_401(client, path):
    reply = client.get(path)
    assert (reply.status_code, reply.content_type) == (401, PROBLEM)
    assert reply.headers["WWW-Authenticate"].startswith("Bearer ")
    assert (reply.json["status"], reply.json["code"]) == (401, 401)


@pytest.mark.parametrize("path", ["/api/v1/loan/1/2021-02-30", "/api/v1/loan/x", "/api/v1/loan/999"])
def test_requests_without_a_token_are_rejected_before_parsing(client, path):
    assert client.get(path).status_code == 401


@pytest.mark.parametrize("scopes", ["", "api:write", "api:readonly"])
def test_a_token_without_api_read_is_403(client, make_token, scopes):
    reply = client.get("/1/2020-01-01", headers={"Authorization": f"Bearer {make_token(scopes=scopes)}"})
    assert (reply.status_code, reply.content_type) == (403, PROBLEM)
    assert "api:read" in reply.json["message"]


def test_every_route_is_secured_unless_it_is_listed_as_public(served, bare_app):
    public_routes = {
        "/",
        *PAGE_ALIASES,
        *DOCUMENT_ALIASES,
        "/token",
        "/healthcheck",
        "/version",
        "/ready",
        "/metrics",
        "/api/v1",
        "/api/v1/openapi.json",
        "/.well-known/jwks.json",
        # of the page; these show no loan
        "/app/static/<path:filename>",
        "/app/sign-in",
        "/app/sign-out",
        "/app/numbers",
        "/app/<path:unknown>",
    }
    client = build_app(served).test_client()
    for rule in bare_app.url_map.iter_rules():
        if rule.rule in public_routes or rule.endpoint == "documentation.static":
            continue
        path = rule.rule
        for argument in rule.arguments:
            path = path.replace(f"<{argument}>", "1")
        for method in rule.methods - {"OPTIONS"}:
            reply = client.open(path, method=method)
            if rule.endpoint.startswith("page."):
                assert reply.headers["Location"].startswith("/app/sign-in?next="), (method, rule.rule)
            else:
                assert reply.status_code == 401, (method, rule.rule)


def test_loan_routes_can_be_made_public(served):
    client = build_app(with_changes(served, secure_loans=False)).test_client()
    assert client.get("/1/2020-01-01").status_code == 200
    assert client.get("/status").status_code == 401


def test_unknown_paths_and_methods_are_problem_documents(client, bearer):
    for method, path, status in (("GET", "/no/such/path/at/all", 404), ("POST", "/status", 405)):
        reply = client.open(path, method=method, headers=bearer)
        assert (reply.status_code, reply.content_type) == (status, PROBLEM)
        assert reply.json["code"] == status
    assert "GET" in client.post("/status", headers=bearer).headers["Allow"]


def test_an_unavailable_database_is_503_with_retry_after(served, bearer):
    client = build_app(with_changes(served, psql_port=1)).test_client()
    reply = client.get("/1/2020-01-01", headers=bearer)
    assert (reply.status_code, reply.content_type) == (503, PROBLEM)
    assert reply.headers["Retry-After"] == "1"
    assert "127.0.0.1" not in reply.text


def test_an_unexpected_error_reveals_no_details(served, bearer, monkeypatch, caplog):
    def fail(*_):
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr("service.ledger.timeline_lookup.TimelineLookup.get", fail)
    reply = build_app(served).test_client().get("/1/2020-01-01", headers=bearer)
    assert (reply.status_code, reply.content_type) == (500, PROBLEM)
    assert "hunter2" not in reply.text
    assert "Traceback" not in reply.text
    assert "hunter2" in caplog.text
