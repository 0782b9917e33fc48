"""Every reply of the page: headers, errors, files, links below a prefix, and the setting that switches it off."""

import re
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from html import unescape

import pytest

from security.errors import SecurityException
from service.postgres.connect import connect
from service.web.page.headers import CONTENT_SECURITY_POLICY
from tests.support.application import build_app
from tests.support.settings import with_changes

pytestmark = pytest.mark.shared_ledger

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
PREFIX = {"X-Forwarded-Prefix": "/loaner", "X-Forwarded-For": "203.0.113.9"}
PAGES = ["/app", "/app/", "/app/sign-in", "/app/loan/1", "/app/loan/77", "/app/loan/x", "/app/nothing/here", "/app/x",
         "/app//loan/1", "/app?date=2020-02-30", "/app/api/v1/loans", "/app/api/v1/loans?format=csv"]  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_every_reply_has_the_security_headers(signed_in, path):
    reply = signed_in.get(path, headers={"Sec-Fetch-Site": "same-origin"})
    assert reply.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert reply.headers["Referrer-Policy"] == "no-referrer"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert reply.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_the_policy_allows_no_inline_code_and_no_other_site():
    rules = dict(rule.split(" ", 1) for rule in CONTENT_SECURITY_POLICY.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["base-uri"] == rules["frame-ancestors"] == "'none'"
    assert {rules[name] for name in ("script-src", "style-src", "img-src", "form-action")} == {"'self'"}


@pytest.mark.parametrize("path", ["/app", "/app/sign-in", "/app/loan/1", "/app/loan/77"])
def test_no_view_has_inline_code(signed_in, path):
    text = signed_in.get(path).text
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)


@pytest.mark.parametrize(
    ("base", "policy"),
    [("http://10.0.0.7:5555", "same-origin"), ("https://10.0.0.7", "no-referrer"),
     ("http://localhost:5555", "no-referrer"), ("http://[::1]:5555", "no-referrer")],
)  # fmt: skip
def test_forms_name_their_origin_where_nothing_else_shows_it(client, base, policy):
    """Under no-referrer they send `Origin: null`, and Safari before 16.4 never sends Sec-Fetch-Site."""
    reply = client.get("/app/sign-in", base_url=base, headers={"Sec-Fetch-Site": "none"})
    assert reply.headers["Referrer-Policy"] == policy
    assert client.get("/app/sign-in", base_url=base).headers["Referrer-Policy"] == "same-origin"


ERRORS = [
    ("/app/loan/77", 404, "No loan 77"),
    ("/app/loan/x", 400, "expected a whole number"),
    ("/app/loan/9999999999999999999999", 400, "expected a whole number"),
    ("/app/loan/1?date=2020-02-30", 400, "expected a date that exists"),
    ("/app/loan/1?date=<script>", 400, "expected a date written YYYY-MM-DD"),
    ("/app/loan/1?unknown=1", 400, "unknown parameter"),
    ("/app/loan/1?date=2020-01-01&date=2020-01-02", 400, "duplicate parameter"),
    ("/app/nothing/here", 404, "Nothing is here"),
    ("/app/nothing", 404, "Nothing is here"),
    ("/app/loans/1", 404, 'Did you mean <a href="/app/loan/1">'),
    ("/app/static/nothing.css", 404, "Nothing is here"),
    ("/app/static/../base.html", 404, "Nothing is here"),
    ("/app/static/%2e%2e/%2e%2e/app.py", 404, "Nothing is here"),
]


@pytest.mark.parametrize(("path", "status", "shown"), ERRORS)
def test_an_error_is_a_page_that_says_so_and_leads_on(signed_in, path, status, shown):
    reply = signed_in.get(path)
    assert (reply.status_code, reply.mimetype) == (status, "text/html")
    assert shown in reply.text.replace("&lt;", "<").replace("&gt;", ">") or shown in reply.text
    assert "<script>" not in reply.text
    assert 'href="/app"' in reply.text
    assert "Traceback" not in reply.text


def test_another_method_is_a_page_too(signed_in):
    reply = signed_in.put("/app/loan/1")
    assert (reply.status_code, reply.mimetype) == (405, "text/html")
    assert set(reply.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


def test_an_unavailable_ledger_is_a_page(served, make_token):
    broken = build_app(served.__class__(**{**vars(served), "postgres": served.postgres.replace(hosts="127.0.0.1:1")}))
    client = broken.test_client()
    assert client.post("/app/sign-in", data={"token": make_token()}).status_code == 303
    for path in ("/app", "/app/loan/1", "/app?q=1"):
        reply = client.get(path)
        assert (reply.status_code, reply.mimetype) == (503, "text/html"), path
        assert "The ledger cannot be reached" in reply.text
        assert reply.headers["Retry-After"]


def test_a_busy_ledger_is_not_an_unreachable_one(served, make_token):
    client = build_app(with_changes(served, psql_pool_size=1, psql_pool_timeout_s=0.1)).test_client()
    client.set_cookie("loaner", make_token(), path="/app")
    with closing(connect(served.postgres, "admin")) as owner, ThreadPoolExecutor() as threads:
        owner.cursor().execute("LOCK TABLE loans, loan_events")
        replies = [threads.submit(client.get, f"/app/loan/{loan_id}") for loan_id in (1, 2)]
        reply = next(as_completed(replies, 30)).result()
        owner.rollback()
    assert (reply.status_code, reply.mimetype, reply.headers["Retry-After"]) == (503, "text/html", "1")
    assert "The ledger is busy" in reply.text
    assert '<a class="button" href="">Try again</a>' in reply.text
    assert {each.result(30).status_code for each in replies} <= {200, 503}


def test_an_answer_that_takes_too_long_says_so(served, make_token):
    client = build_app(with_changes(served, psql_report_timeout_s=1.0)).test_client()
    client.set_cookie("loaner", make_token(), path="/app")
    with closing(connect(served.postgres, "admin")) as owner:
        owner.cursor().execute("LOCK TABLE loans, loan_events")
        reply = client.get("/app/book")
        owner.rollback()
    assert (reply.status_code, reply.headers["Retry-After"]) == (503, "1")
    assert "The ledger took too long" in reply.text


def test_a_token_that_cannot_be_checked_is_not_an_unreachable_ledger(signed_in, monkeypatch):
    def fail(*_):
        raise SecurityException("the token cannot be checked now", 503, {"Retry-After": "1"})

    monkeypatch.setattr("security.chain.SecurityChain.execute", fail)
    reply = signed_in.get("/app/loan/1")
    assert (reply.status_code, reply.mimetype, reply.headers["Retry-After"]) == (503, "text/html", "1")
    assert "Your sign-in cannot be checked" in reply.text
    reply = signed_in.post("/app/sign-in", data={"token": "abc"})
    assert (reply.status_code, reply.mimetype, reply.headers["Retry-After"]) == (503, "text/html", "1")
    assert "The token cannot be checked at the moment" in reply.text


def test_an_unexpected_error_is_a_page_without_details(shared_app, signed_in, monkeypatch, caplog):
    def fail(*_):
        raise RuntimeError("internal-detail")

    monkeypatch.setattr("service.web.page.find.find_loans", fail)
    reply = signed_in.get("/app")
    assert (reply.status_code, reply.mimetype) == (500, "text/html")
    assert "Something went wrong" in reply.text
    assert "internal-detail" not in reply.text
    assert "internal-detail" in caplog.text


def test_a_refusal_of_the_front_door_is_a_page(client):
    reply = client.post("/app/sign-in", data=b"x" * 6_000_001, headers=PREFIX)
    assert (reply.status_code, reply.mimetype) == (413, "text/html")
    assert 'href="/loaner/app"' in reply.text
    assert reply.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY


def test_errors_of_the_api_stay_problem_documents(client):
    for path in ("/api/v1/nothing", "/apple", "/nothing", "/application/2020-01-01"):
        assert client.get(path, headers=BROWSER).mimetype == "application/problem+json"


def test_files_are_cached_by_their_content(client):
    page = client.get("/app/sign-in").text
    address = re.search(r'href="(/app/static/page\.css\?v=\w+)"', page)[1]
    reply = client.get(address)
    assert reply.status_code == 200
    assert reply.mimetype == "text/css"
    assert reply.data.endswith(b"}\n")  # the whole file, which is closed then
    assert "immutable" in reply.headers["Cache-Control"]
    other = client.get("/app/static/page.css?v=other")
    assert other.data == reply.data
    assert other.headers["Cache-Control"] == "no-cache"
    etag = {"If-None-Match": other.headers["ETag"]}
    assert client.get("/app/static/page.css", headers=etag).status_code == 304


def test_the_root_leads_browsers_to_the_page_and_programs_to_the_documentation(client):
    assert client.get("/", headers=BROWSER).headers["Location"] == "/app"
    assert client.get("/", headers={**BROWSER, **PREFIX}).headers["Location"] == "/loaner/app"
    for accept in ("*/*", "application/json", ""):
        reply = client.get("/", headers={"Accept": accept})
        assert (reply.status_code, reply.headers["Location"]) == (302, "/api/v1")
        assert "Accept" in reply.headers["Vary"]


def test_a_setting_switches_the_page_off(app_with):
    client = app_with(page=False)
    assert client.get("/app").status_code == 404
    assert client.get("/app").mimetype == "application/problem+json"
    assert client.get("/app/static/page.css").status_code == 404
    assert client.get("/", headers=BROWSER).headers["Location"] == "/api/v1"


@pytest.mark.parametrize(
    ("accept", "shown"),
    [
        ("de-DE,de;q=0.9,en;q=0.5", '1<i data-as="."></i>000<i data-as=","><b>.</b></i>00'),
        ("en-US", '1<i data-as=","></i>000.00'),
        ("xx-YY, tlh", '1<i data-as=","></i>000.00'),
        ("*", '1<i data-as=","></i>000.00'),
        ("x" * 5000, '1<i data-as=","></i>000.00'),
    ],
)
def test_amounts_are_written_as_the_browser_prefers(signed_in, accept, shown):
    assert f'value="1000.00">{shown}</data>' in signed_in.get("/app", headers={"Accept-Language": accept}).text


def test_a_chosen_number_format_is_kept(signed_in):
    reply = signed_in.post("/app/numbers", data={"locale": "de-CH", "next": "/app?currency=USD"})
    assert (reply.status_code, reply.headers["Location"]) == (303, "/app?currency=USD")
    text = signed_in.get("/app", headers={"Accept-Language": "de-DE"}).text
    assert '1<i data-as="&#39;"></i>000.00' in text
    assert '<option value="de-CH" selected>' in text
    signed_in.post("/app/numbers", data={"locale": "../../etc"})
    assert '1<i data-as="."></i>000' in signed_in.get("/app", headers={"Accept-Language": "de-DE"}).text
    assert signed_in.post("/app/numbers", data={"next": "//evil.example"}).headers["Location"] == "/app"


@pytest.mark.parametrize("destination", ["/app/loan/1?date=2020-07-01", "/app?q=" + "%C3%A4" * 300])
def test_choosing_a_number_format_before_signing_in_keeps_where_one_was_going(client, destination):
    def chosen(text: str) -> str:
        [here] = re.findall(r'name="next" value="([^"]*)">\s*<label for="locale">', text)
        return client.post("/app/numbers", data={"locale": "de-DE", "next": unescape(here)}).headers["Location"]

    for reply in (
        client.get("/app/sign-in", query_string={"next": destination}),
        client.post("/app/sign-in", data={"client_id": "x", "client_secret": "wrong", "next": destination}),
    ):
        page = client.get(chosen(reply.text)).text
        assert f'name="next" value="{destination}"' in unescape(page)


@pytest.mark.parametrize(
    ("hostile", "target"),
    [
        ("/app/sign-in?next=//evil.example", "/app/sign-in"),
        ("/app/sign-in?next=%2Fapp%2F..%2Fevil", "/app/sign-in"),
        ("/app/sign-in?next=https://evil.example&x=1#y", "/app/sign-in"),
        ("/app/sign-in?next=/app/sign-in", "/app/sign-in"),
        ("/app/sign-in?x=1\r\nSet-Cookie: x=y", "/app/sign-in"),
        ("/app/sign-in/../../evil", "/app"),
        ("//app/sign-in?next=/app", "/app"),
        ("/app/sign-out", "/app"),
    ],
)
def test_choosing_a_number_format_leads_to_the_page_only(client, hostile, target):
    assert client.post("/app/numbers", data={"next": hostile}).headers["Location"] == target
