"""Clients request tokens as in RFC 6749, or with Loaner's JSON."""

import base64
import re
from urllib.parse import quote, quote_plus

import pytest

from service.web.app import MAX_BODY_BYTES
from tests.support.application import build_app
from tests.support.settings import with_changes

ID, SECRET = "loaner-client", "s3cret-of-the-client"


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def form(**changes) -> dict[str, str]:
    base = {"grant_type": "client_credentials", "client_id": ID, "client_secret": SECRET}
    return {name: value for name, value in {**base, **changes}.items() if value is not None}


@pytest.mark.parametrize(
    "request_",
    [
        {"data": form()},
        {"data": form(scope="api:read")},
        {"data": {"grant_type": "client_credentials"}, "headers": basic(ID, SECRET)},
        {"json": {"user": ID, "pw": SECRET}},
    ],
    ids=["form", "form with scope", "basic", "json"],
)
def test_a_client_gets_a_valid_token(client, request_):
    reply = client.post("/token", **request_)
    assert reply.status_code == 200
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.json["token_type"] == "Bearer"
    assert reply.json["expires_in"] == 3600
    assert reply.json["scope"] == "api:read"
    headers = {"Authorization": f"Bearer {reply.json['access_token']}"}
    assert client.get("/1/2020-01-01", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("request_", "status", "error"),
    [
        ({"data": form(client_secret="wrong")}, 401, "invalid_client"),
        ({"data": form(client_id="other")}, 401, "invalid_client"),
        ({"data": form(client_secret=None)}, 401, "invalid_client"),
        ({"data": form(client_id="système", client_secret="é")}, 401, "invalid_client"),
        ({"data": {"grant_type": "client_credentials"}, "headers": basic(ID, "wrong")}, 401, "invalid_client"),
        ({"data": form(grant_type=None)}, 400, "invalid_request"),
        ({"data": form(grant_type="password")}, 400, "unsupported_grant_type"),
        ({"data": form(scope="api:write")}, 400, "invalid_scope"),
        ({"data": form(scope="api:read api:write")}, 400, "invalid_scope"),
        ({"json": {"user": ID, "pw": "wrong"}}, 401, "invalid_client"),
        ({"json": {"user": ID}}, 400, "invalid_request"),
        ({"json": {"user": 1, "pw": 2}}, 400, "invalid_request"),
        ({"json": [1]}, 400, "invalid_request"),
        ({"data": b'{"user":"\\ud800","pw":"x"}', "content_type": "application/json"}, 400, "invalid_request"),
        ({"data": b"[" * 200_000, "content_type": "application/json"}, 400, "invalid_request"),
        ({"data": "{", "content_type": "application/json"}, 400, "invalid_request"),
        ({}, 400, "invalid_request"),
        ({"data": {**form(), "grant_type": ["client_credentials", "x"]}}, 400, "invalid_request"),
    ],
)
def test_errors_follow_rfc_6749(client, request_, status, error):
    reply = client.post("/token", **request_)
    assert (reply.status_code, reply.json["error"]) == (status, error)
    assert reply.json["code"] == status
    assert reply.json["message"]
    assert reply.headers["Cache-Control"] == "no-store"
    assert ("WWW-Authenticate" in reply.headers) == (status == 401)
    assert SECRET not in reply.text


def test_unknown_parameters_are_ignored_beside_a_form_and_rejected_beside_json(client):
    for query in ("unknown=1", "unknown=1&unknown=2", "client_secret=wrong"):
        assert client.post(f"/token?{query}", data=form(unknown="1")).status_code == 200, query
        reply = client.post(f"/token?{query}", json={"user": ID, "pw": SECRET})
        assert (reply.status_code, reply.json["error"]) == (400, "invalid_request"), query


def test_credentials_in_the_query_do_not_count(client):
    reply = client.post("/token", query_string=form())
    assert (reply.status_code, reply.json["error"]) == (400, "invalid_request")


def test_a_form_is_not_challenged_for_basic_authentication(client):
    assert client.post("/token", data=form(client_secret="x")).headers["WWW-Authenticate"] == 'Form realm="loaner"'
    refused = client.post("/token", data={"grant_type": "client_credentials"}, headers=basic(ID, "x"))
    assert refused.headers["WWW-Authenticate"] == 'Basic realm="loaner"'


def test_secrets_are_not_logged(client, caplog):
    with caplog.at_level("DEBUG"):
        client.post("/token", data=form())
        client.post("/token", data=form(client_secret="almost-" + SECRET))
    assert SECRET not in caplog.text


def test_without_a_client_tokens_are_not_issued(served):
    assert build_app(with_changes(served, secret=None)).test_client().post("/token").status_code == 404


def test_without_a_signing_key_tokens_are_not_issued(served, keys_dir, tmp_path):
    (tmp_path / "default.pub").write_bytes((keys_dir / "default.pub").read_bytes())
    app = build_app(with_changes(served, keys_dir=str(tmp_path)))
    assert app.test_client().post("/token", data=form()).status_code == 404


def test_a_body_that_is_too_large_is_rejected(client):
    reply = client.post("/token", data={"grant_type": "x" * MAX_BODY_BYTES})
    assert (reply.status_code, reply.content_type) == (413, "application/problem+json")


@pytest.mark.parametrize(
    "secret", ["50% off + tax", "a+b", "a%2Bb", "%", "p@ss:w/rd&=", "\u00a3\u20ac", "a b", "plain-._~"]
)
def test_secret_in_basic_may_contain_any_character(served, secret):
    """RFC 6749, section 2.3.1: the id and the secret are form-encoded; many clients send them as they are."""
    client = build_app(with_changes(served, secret=secret)).test_client()
    in_lower_case = re.sub("%..", lambda escape: escape[0].lower(), quote_plus(secret))
    for shown in (quote_plus(secret), quote(secret, safe=""), in_lower_case, secret):
        reply = client.post("/token", data={"grant_type": "client_credentials"}, headers=basic(ID, shown))
        assert reply.status_code == 200, shown
    encoded_id = basic(ID.replace("-", "%2D"), quote_plus(secret))
    assert client.post("/token", data={"grant_type": "client_credentials"}, headers=encoded_id).status_code == 200
    # A form is decoded once, and JSON is not encoded.
    assert client.post("/token", data=form(client_secret=secret)).status_code == 200
    assert client.post("/token", json={"user": ID, "pw": secret}).status_code == 200
    if quote_plus(secret) != secret:
        assert client.post("/token", data=form(client_secret=quote_plus(secret))).status_code == 401
        assert client.post("/token", json={"user": ID, "pw": quote_plus(secret)}).status_code == 401


def test_secret_with_two_readings_counts_as_two_guesses(served):
    client = build_app(served).test_client()
    statuses = [
        client.post("/token", data={"grant_type": "client_credentials"}, headers=basic(ID, f"a+{n}")).status_code
        for n in range(5)
    ]
    assert statuses == [401, 401, 401, 429, 429]


def test_scopes_may_be_separated_by_commas(client):
    assert client.post("/token", data=form(scope="api:read,api:read")).json["scope"] == "api:read"
    assert client.post("/token", data=form(scope="api:read,api:write")).json["error"] == "invalid_scope"
    assert client.post("/token", data=form(scope="api:read\tapi:read")).json["error"] == "invalid_scope"
    assert (
        client.post("/token", json={"user": ID, "pw": SECRET, "scope": ["api:read"]}).json["error"] == "invalid_scope"
    )
