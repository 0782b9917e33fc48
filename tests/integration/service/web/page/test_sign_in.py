"""Signing in and out: the cookie, where it is accepted, forged forms, guesses, and where a sign-in leads."""

import json
import time

import pytest
from prometheus_client import REGISTRY

from security.secret_hash import hash_secret
from service.errors import ServiceBusy
from service.web.page.blueprint import MAX_FORM_BYTES
from service.web.page.token_cookie import MAX_TOKEN_CHARS
from tests.integration.service.web.page.conftest import CLIENT, COOKIE, ID, SECRET, SECURE_COOKIE
from tests.support.application import build_app

pytestmark = pytest.mark.shared_ledger

HTTPS = {"X-Forwarded-Prefix": "/loaner", "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}


def cookie_of(reply) -> dict[str, str]:
    """Return the attributes of the cookie that a reply sets, with its name and its value."""
    first, *others = reply.headers["Set-Cookie"].split("; ")
    name, _, value = first.partition("=")
    return {"name": name, "value": value, **{each.partition("=")[0]: each.partition("=")[2] for each in others}}


@pytest.mark.parametrize("way", ["client", "token"])
def test_a_person_signs_in_and_gets_a_cookie_for_the_page_alone(client, make_token, way):
    form = CLIENT if way == "client" else {"token": make_token()}
    reply = client.post("/app/sign-in", data={**form, "next": "/app/loan/1?date=2020-07-01"})
    assert (reply.status_code, reply.headers["Location"]) == (303, "/app/loan/1?date=2020-07-01")
    cookie = cookie_of(reply)
    assert cookie["name"] == COOKIE
    assert (cookie["Path"], cookie["SameSite"]) == ("/app", "Strict")
    assert "HttpOnly" in cookie
    assert 3590 <= int(cookie["Max-Age"]) <= 3600
    assert "Secure" not in cookie  # over plain HTTP, a browser would not keep it
    assert client.get("/app").status_code == 200


def test_over_https_behind_a_gateway_the_cookie_is_secure_and_belongs_to_the_prefix(bare):
    reply = bare.post("/app/sign-in", data={**CLIENT, "next": "/app/loan/1"}, headers=HTTPS)
    assert reply.headers["Location"] == "/loaner/app/loan/1"
    cookie = cookie_of(reply)
    assert (cookie["name"], cookie["Path"]) == (SECURE_COOKIE, "/loaner/app")
    assert "Secure" in cookie
    headers = {**HTTPS, "Cookie": f"{SECURE_COOKIE}={cookie['value']}"}
    page = bare.get("/app", headers=headers)
    assert page.status_code == 200
    assert 'href="/loaner/app/static/page.css?v=' in page.text
    assert 'href="/loaner/app/loan/1"' in page.text
    # The plain name could have been set over plain HTTP by anybody on the network.
    assert bare.get("/app", headers={**HTTPS, "Cookie": f"{COOKIE}={cookie['value']}"}).status_code == 303
    refused = bare.get("/app/loan/1?date=2020-07-01", headers=HTTPS)
    assert refused.headers["Location"] == "/loaner/app/sign-in?next=%2Fapp%2Floan%2F1%3Fdate%3D2020-07-01"


def test_a_token_of_a_client_that_may_write_only_reads(app_with, tmp_path):
    clients = tmp_path / "clients.json"
    clients.write_text(json.dumps({"clients": [{"client_id": "both", "secret_hash": hash_secret(SECRET),
                                                "scopes": ["api:read", "api:write"]}]}))  # fmt: skip
    client = app_with(clients_file=str(clients))
    reply = client.post("/app/sign-in", data={"client_id": "both", "client_secret": SECRET})
    assert reply.status_code == 303, reply.text
    headers = {"Authorization": f"Bearer {cookie_of(reply)['value']}"}
    assert client.get("/api/v1/loan/1", headers=headers).status_code == 200
    assert client.post("/api/v1/loan", json={}, headers=headers).status_code == 403


API = ["/api/v1/loan/1", "/1/2020-01-01", "/api/v1/loans", "/status", "/api/v1/portfolio/2020-01-01"]


@pytest.mark.parametrize("path", API)
def test_the_api_does_not_accept_the_cookie(bare, make_token, path):
    headers = {"Cookie": f"{COOKIE}={make_token()}; {SECURE_COOKIE}={make_token()}"}
    for scheme in ("http", "https"):
        assert bare.get("/app", headers=headers, base_url=f"{scheme}://localhost").status_code == 200
        assert bare.get(path, headers=headers, base_url=f"{scheme}://localhost").status_code == 401


def test_the_api_does_not_accept_the_cookie_for_postings(bare, make_token):
    headers = {"Cookie": f"{COOKIE}={make_token(scopes='api:read api:write')}"}
    assert bare.post("/api/v1/loan/1/events", json={"events": []}, headers=headers).status_code == 401


def test_the_page_ignores_an_authorization_header(signed_in, bare, bearer):
    assert signed_in.get("/app", headers={"Authorization": "Bearer x"}).status_code == 200
    assert bare.get("/app", headers=bearer).status_code == 303


@pytest.mark.parametrize(
    ("claims", "shown"),
    [({"exp": 1_600_000_000}, "expired"), ({"scopes": "other"}, "lacks the scope"), ({"exp": None}, "not accepted")],
)
def test_a_token_that_does_not_open_the_page_is_not_kept(client, make_token, claims, shown):
    reply = client.post("/app/sign-in", data={"token": make_token(**claims)})
    assert reply.status_code in (401, 403)
    assert shown in reply.text
    assert "Set-Cookie" not in reply.headers


def test_a_token_is_accepted_as_it_is_usually_copied(client, make_token):
    token = make_token()
    broken = f"{token[:40]}\n{token[40:]}"
    for text in (f"Bearer {token}", f"  {token}\n", f"Authorization: Bearer {token}", f"'{token}'", broken):
        assert client.post("/app/sign-in", data={"token": text}).status_code == 303, text


@pytest.mark.parametrize("text", ["", "x y!", "<script>alert(1)</script>", "a\x00b", "ä", "a;b=c", "=="])
def test_a_text_that_is_no_token_is_refused_without_being_repeated(client, text):
    reply = client.post("/app/sign-in", data={"token": text})
    assert reply.status_code in (400, 401)
    assert "Set-Cookie" not in reply.headers
    assert "<script>" not in reply.text


def test_a_token_that_does_not_fit_into_a_cookie_is_refused_with_the_reason(client, make_token):
    token = make_token(organizations="x" * MAX_TOKEN_CHARS)
    reply = client.post("/app/sign-in", data={"token": token})
    assert reply.status_code == 400
    assert f"This token has {len(token):,} characters" in reply.text
    assert "Set-Cookie" not in reply.headers
    assert client.post("/app/sign-in", data={"token": "x" * MAX_FORM_BYTES}).status_code == 413


def test_an_expired_or_unknown_token_leads_to_the_sign_in_and_back(client, make_token):
    client.set_cookie(COOKIE, make_token(exp=int(time.time()) - 120), path="/app")
    reply = client.get("/app/loan/1?date=2020-07-01")
    assert reply.status_code == 303
    assert reply.headers["Location"] == "/app/sign-in?next=%2Fapp%2Floan%2F1%3Fdate%3D2020-07-01&ended=true"
    assert cookie_of(reply)["Max-Age"] == "0"
    page = client.get(reply.headers["Location"])
    assert "Your sign-in has ended" in page.text
    assert 'name="next" value="/app/loan/1?date=2020-07-01"' in page.text
    # A form that could not be sent is opened again at its address, which has to lead on as well.
    action = "/app/sign-in?next=%2Fapp%2Floan%2F1%3Fdate%3D2020-07-01"
    assert page.text.count(f'action="{action}"') == 2
    back = client.post(action, data={**CLIENT, "next": "/app/loan/1?date=2020-07-01"})
    assert client.post(action, data=CLIENT).headers["Location"] == back.headers["Location"]
    assert client.get(back.headers["Location"]).status_code == 200


def test_without_permission_the_page_says_so(client, make_token):
    client.set_cookie(COOKIE, make_token(scopes="other"), path="/app")
    reply = client.get("/app/loan/1")
    assert (reply.status_code, reply.mimetype) == (403, "text/html")
    assert "lacks the scope api:read" in reply.text
    assert "Sign out" in reply.text


HOSTILE = [
    "https://evil.example",
    "//evil.example",
    "/\\evil.example",
    "\\/evil.example",
    "/app\\..\\..\\evil",
    "/app/../evil",
    "/app/..//evil.example",
    "/app/%2e%2e/evil",
    "/app/%2e%2e%2fevil",
    "/app/%5cevil",
    "javascript:alert(1)",
    "/apple",
    "/app@evil.example",
    "/app.evil.example",
    "app",
    "",
    " /app",
    "/app\r\nSet-Cookie: x=y",
    "/app%0d%0aX: y",
    "/app?\nx",
    "/app/sign-out",
    "/app/sign-in?next=/app/sign-in",
    "/app/static/page.css",
    "/api/v1/loan/1",
    "/app//evil.example",
    "/app/\u2024\u2024/x",
    "/app/loan/1#@evil.example",
    "/app?" + "x" * 3000,
    "///app",
    "/app/%00",
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_sign_in_leads_to_views_of_the_page_only(client, hostile):
    reply = client.post("/app/sign-in", data={**CLIENT, "next": hostile})
    assert (reply.status_code, reply.headers["Location"]) == (303, "/app")
    page = client.get("/app/sign-in", query_string={"next": hostile})
    assert page.status_code == 200
    assert 'name="next" value="/app"' in page.text


SITES = [
    ({"Sec-Fetch-Site": "same-origin"}, True),
    ({"Sec-Fetch-Site": "none"}, True),
    ({"Sec-Fetch-Site": "cross-site"}, False),
    ({"Sec-Fetch-Site": "same-site"}, False),
    ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, False),
    ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, True),  # what browsers send under no-referrer
    ({"Origin": "http://localhost"}, True),
    ({"Origin": "http://localhost:81"}, False),
    ({"Origin": "https://localhost"}, False),
    ({"Origin": "https://evil.example"}, False),
    ({"Origin": "null"}, False),
    ({}, True),  # not a browser
]


@pytest.mark.parametrize(("headers", "accepted"), SITES)
def test_forms_of_other_sites_neither_sign_in_nor_sign_out(client, headers, accepted):
    reply = client.post("/app/sign-in", data=CLIENT, headers=headers)
    assert reply.status_code == (303 if accepted else 403)
    assert ("Set-Cookie" in reply.headers) == accepted
    client.post("/app/sign-in", data=CLIENT)
    reply = client.post("/app/sign-out", headers=headers)
    assert reply.status_code == (303 if accepted else 403)
    assert ("Set-Cookie" in reply.headers) == accepted


@pytest.mark.parametrize("gateway", [{}, {**HTTPS, "X-Forwarded-Host": "bank.example"}])
def test_safari_before_16_4_signs_in_over_https(bare, gateway):
    """It sends no Sec-Fetch-Site; and with a form `Origin: null` under no-referrer, otherwise the origin."""
    base = "https://bank.example" if not gateway else "http://localhost"
    page = bare.get("/app/sign-in", base_url=base, headers=gateway)
    origin = "null" if page.headers["Referrer-Policy"] == "no-referrer" else "https://bank.example"
    reply = bare.post("/app/sign-in", data=CLIENT, base_url=base, headers={**gateway, "Origin": origin})
    assert reply.status_code == 303
    assert cookie_of(reply)["name"] == SECURE_COOKIE


def test_behind_a_gateway_the_origin_is_that_of_the_gateway(client):
    headers = {**HTTPS, "X-Forwarded-Host": "bank.example"}
    for origin, status in (("https://bank.example", 303), ("http://localhost", 403)):
        assert client.post("/app/sign-in", data=CLIENT, headers={**headers, "Origin": origin}).status_code == status


def test_signing_out_needs_a_form_and_removes_the_cookie(signed_in):
    assert signed_in.get("/app/sign-out").status_code in (404, 405)
    assert signed_in.get("/app").status_code == 200
    reply = signed_in.post("/app/sign-out")
    assert (reply.status_code, reply.headers["Location"]) == (303, "/app/sign-in")
    assert cookie_of(reply) | {"Max-Age": "0", "Path": "/app", "value": ""} == cookie_of(reply)
    assert signed_in.get("/app").status_code == 303


def test_a_link_on_another_site_opens_the_view_after_one_more_request(bare):
    """A browser keeps the cookie back after a link on another site (SameSite=Strict)."""
    reply = bare.get("/app/loan/1", headers={"Sec-Fetch-Site": "cross-site"})
    assert reply.status_code == 200
    assert '<meta http-equiv="refresh" content="0">' in reply.text
    assert "899.55" not in reply.text
    assert bare.get("/app/loan/1", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 303


def test_guesses_count_together_with_those_of_token(served):
    client = build_app(served).test_client()
    for _ in range(3):
        assert client.post("/app/sign-in", data={**CLIENT, "client_secret": "wrong"}).status_code == 401
    for _ in range(2):
        form = {"grant_type": "client_credentials", "client_id": ID, "client_secret": "wrong"}
        assert client.post("/token", data=form).status_code == 401
    reply = client.post("/app/sign-in", data=CLIENT)
    assert reply.status_code == 429
    assert 1 <= int(reply.headers["Retry-After"]) <= 60
    assert "Too many failed attempts" in reply.text
    assert client.post("/token", data={"grant_type": "client_credentials", **CLIENT}).status_code == 429


def test_a_sign_in_that_a_full_pool_refuses_is_counted_like_a_request_for_a_token(client, monkeypatch):
    async def full(*_, **__):
        raise ServiceBusy

    def counted():
        return REGISTRY.get_sample_value("loaner_token_requests_total", {"outcome": "slow_down"}) or 0

    monkeypatch.setattr("service.web.front_door.WsgiBridge.start", full)
    before = counted()
    reply = client.post("/app/sign-in", data=CLIENT)
    assert (reply.status_code, reply.mimetype, reply.headers["Retry-After"]) == (503, "text/html", "1")
    assert "The service is busy" in reply.text
    assert counted() == before + 1
    assert client.post("/token", data={"grant_type": "client_credentials", **CLIENT}).status_code == 429
    assert counted() == before + 2
    assert client.get("/app").status_code == client.get("/app/sign-in").status_code == 503
    assert counted() == before + 2


def test_a_wrong_secret_keeps_the_name_and_repeats_no_secret(client):
    reply = client.post("/app/sign-in", data={"client_id": 'a"><b>', "client_secret": "guess-7781"})
    assert reply.status_code == 401
    assert "The client’s id or its secret is wrong." in reply.text.replace("&#39;", "’")
    assert "a&#34;&gt;&lt;b&gt;" in reply.text
    assert "guess-7781" not in reply.text


def test_nothing_secret_is_logged(client, make_token, caplog):
    token = make_token()
    with caplog.at_level("DEBUG"):
        client.post("/app/sign-in", data={"token": token, "next": "/app/loan/1"})
        client.get("/app/sign-in?next=/app/loan/1%3Fdate=2020-07-01")
        client.get("/app")
        client.set_cookie(COOKIE, token[:-4], path="/app")
        client.get("/app")
        client.post("/app/sign-in", data={**CLIENT, "client_secret": "almost-" + SECRET})
        client.post("/app/sign-in", data=CLIENT)
    assert "GET /app/sign-in 200" in caplog.text
    for secret in (token, token[:-4], token.rpartition(".")[2][:40], SECRET, "2020-07-01"):
        assert secret not in caplog.text


def test_the_log_names_who_looked(signed_in, caplog):
    with caplog.at_level("INFO"):
        signed_in.get("/app/loan/1")
    assert "/app/loan/1 200" in caplog.text


def test_without_a_client_a_token_can_be_pasted(app_with, make_token):
    client = app_with(secret=None)
    page = client.get("/app/sign-in").text
    assert "Client secret" not in page
    assert "Access token" in page
    assert client.post("/app/sign-in", data=CLIENT).status_code == 404
    assert client.post("/app/sign-in", data={"token": make_token()}).status_code == 303


def test_open_loans_need_no_sign_in(app_with):
    client = app_with(secure_loans=False)
    assert client.get("/app/loan/1").status_code == 200
    assert client.get("/app/sign-in?next=/app/loan/2").headers["Location"] == "/app/loan/2"
