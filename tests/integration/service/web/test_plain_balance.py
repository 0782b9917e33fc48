"""The front door and the routes give the same balances; revalidation and versions of replies."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from service.web.door.wsgi_bridge import WsgiBridge
from tests.support.application import build_app
from tests.support.settings import with_changes

pytestmark = pytest.mark.shared_ledger

THROUGH_FLASK = {"min_version": "0"}  # requests with a query are not plain
FORMS = ["/api/v1/loan/{}/{}", "/{}/{}"]


def comparable(reply):
    varying = ("x-request-id", "as-of", "date")
    headers = [(name.lower(), value) for name, value in reply.headers if name.lower() not in varying]
    return reply.status_code, headers, reply.data


@pytest.fixture
def flask_requests(monkeypatch):
    """The paths of the requests that the framework sees."""
    seen = []
    start = WsgiBridge.start
    monkeypatch.setattr(
        WsgiBridge,
        "start",
        lambda bridge, environ, *more: seen.append(environ["PATH_INFO"]) or start(bridge, environ, *more),
    )
    return seen


LOANS = ("1", "01", "2", "3", "999", "0", "9223372036854775807", "9223372036854775808")
DAYS = ("2020-02-29", "0001-01-01", "9999-12-31", "2021-02-30", "2020-1-1", "----------")


@pytest.mark.parametrize("form", FORMS)
def test_both_paths_give_the_same_reply(client, bearer, form):
    for path in (form.format(loan, day) for loan in LOANS for day in DAYS):
        fast = client.get(path, headers=bearer)
        assert comparable(fast) == comparable(client.get(path, headers=bearer, query_string=THROUGH_FLASK)), path


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "headers",
    [
        {}, {"Authorization": ""}, {"Authorization": "Bearer"}, {"Authorization": "Bearer x.y.z"},
        {"Authorization": "Basic dTpw"}, {"Authorization": "Bearer é"},
    ],
)  # fmt: skip
def test_both_paths_reject_invalid_credentials_alike(client, form, headers):
    path = form.format(1, "2020-02-29")
    fast = client.get(path, headers=headers)
    assert fast.status_code == 401
    assert comparable(fast) == comparable(client.get(path, headers=headers, query_string=THROUGH_FLASK))


@pytest.mark.parametrize("claims", [{"scopes": "api:write"}, {"exp": 1}, {"key": "unknown"}])
def test_both_paths_reject_tokens_alike(client, make_token, keys_dir, claims):
    headers = {"Authorization": f"Bearer {make_token(**claims)}"} if "key" not in claims else {}
    fast = client.get("/1/2020-02-29", headers=headers)
    assert fast.status_code in (401, 403)
    assert comparable(fast) == comparable(client.get("/1/2020-02-29", headers=headers, query_string=THROUGH_FLASK))


def test_both_paths_give_the_same_reply_without_postgres(served, bearer):
    client = build_app(with_changes(served, psql_port=1)).test_client()
    fast = client.get("/1/2020-02-29", headers=bearer)
    assert (fast.status_code, fast.headers["Retry-After"]) == (503, "1")
    assert comparable(fast) == comparable(client.get("/1/2020-02-29", headers=bearer, query_string=THROUGH_FLASK))


def test_a_rejected_token_is_logged_once(client, caplog):
    caplog.set_level("INFO")
    client.get("/1/2020-02-29", headers={"Authorization": "Bearer x.y.z"})
    assert caplog.text.count("rejected a token") == 1


def test_the_framework_does_not_see_plain_requests(client, bearer, flask_requests):
    client.get("/1/2020-02-29", headers=bearer)  # verifies the token
    flask_requests.clear()
    assert client.get("/1/2020-02-29", headers=bearer).status_code == 200
    assert client.get("/api/v1/loan/999/2020-02-29", headers=bearer).status_code == 404
    assert flask_requests == []
    client.get("/1/2020-02-29")
    client.get("/1/2020-02-29", headers=bearer, query_string=THROUGH_FLASK)
    client.head("/1/2020-02-29", headers=bearer)
    client.get("/1/2021-02-30", headers=bearer)
    client.post("/1/2020-02-29", headers=bearer)
    assert len(flask_requests) == 5


def test_head_is_get_without_the_body(client, bearer):
    get, head = (send("/1/2020-02-29", headers=bearer) for send in (client.get, client.head))
    assert head.data == b""
    assert [sorted(part) for part in comparable(head)[1:2]] == [sorted(part) for part in comparable(get)[1:2]]


def test_public_routes_need_no_token_on_either_path(served):
    client = build_app(with_changes(served, secure_loans=False)).test_client()
    fast = client.get("/1/2020-02-29")
    assert fast.status_code == 200
    assert comparable(fast) == comparable(client.get("/1/2020-02-29", query_string=THROUGH_FLASK))


# Validators and versions

LEDGER_PATHS = [
    "/1/2020-02-29", "/api/v1/loan/1/2020-02-29", "/api/v1/loan/1", "/api/v1/loan/1/history",
    "/api/v1/loan/1/statement",
]  # fmt: skip


@pytest.mark.parametrize("path", LEDGER_PATHS)
def test_a_matching_if_none_match_is_304(client, bearer, path):
    first = client.get(path, headers=bearer)
    tag = first.headers["ETag"]
    again = client.get(path, headers={**bearer, "If-None-Match": tag})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
    assert "As-Of" in again.headers
    for other in ('"another"', 'W/"another", "more"'):
        assert client.get(path, headers={**bearer, "If-None-Match": other}).status_code == 200
    assert client.get(path, headers={**bearer, "If-None-Match": f'"x", W/{tag}'}).status_code == 304


def test_different_versions_dates_and_loans_have_different_tags(client, bearer, posting):
    paths = ("/1/2020-02-29", "/1/2020-02-28", "/2/2020-02-29", "/api/v1/loan/1")
    tags = [client.get(path, headers=bearer).headers["ETag"] for path in paths]
    with posting, posting.cursor() as cursor:
        cursor.execute("SELECT post_events(ARRAY[1], ARRAY['fee'], ARRAY['2021-01-01'::date], ARRAY[1.00])")
    tags.append(client.get("/1/2020-02-29", headers=bearer).headers["ETag"])  # the balance has not changed
    assert len(set(tags)) == 5


def test_as_of_is_the_time_of_the_read(client, bearer):
    reply = client.get("/1/2020-02-29", headers=bearer)
    as_of = datetime.fromisoformat(reply.headers["As-Of"])
    assert abs(datetime.now(UTC) - as_of) < timedelta(seconds=2)
    assert reply.headers["As-Of"].endswith("Z")
    assert reply.headers["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize("path", LEDGER_PATHS)
def test_a_version_that_the_loan_has_not_reached_is_412(client, bearer, path):
    assert client.get(path, headers=bearer, query_string={"min_version": 3}).status_code == 200
    reply = client.get(path, headers=bearer, query_string={"min_version": 4})
    assert reply.status_code == 412
    assert (reply.json["type"], reply.json["loan_id"], reply.json["version"]) == (
        "urn:loaner:problem:version-not-reached", 1, 3,
    )  # fmt: skip


@pytest.mark.parametrize("value", ["-1", "1.0", "x", "", "9223372036854775808", "１"])
def test_an_invalid_version_is_400_and_names_the_parameter(client, bearer, value):
    reply = client.get("/1/2020-02-29", headers=bearer, query_string={"min_version": value})
    assert (reply.status_code, reply.json["errors"][0]["field"]) == (400, "min_version")


@pytest.fixture
def blocked_log():
    """A log whose next line waits, as on a standard error that nothing reads, until the end of the test."""

    class Blocked(logging.Handler):
        waiting, may_end = threading.Event(), threading.Event()

        def emit(self, record):
            self.waiting.set()
            self.may_end.wait()

    handler = Blocked()
    logging.getLogger("service").addHandler(handler)
    yield handler
    handler.may_end.set()
    logging.getLogger("service").removeHandler(handler)


def fail(*arguments):
    raise LookupError


@pytest.mark.parametrize("cause", ["no Postgres", "unexpected error", "untrusted proxy"])
def test_a_log_line_that_cannot_be_written_delays_no_other_request(served, bearer, blocked_log, monkeypatch, cause):
    headers = {**bearer, "X-Forwarded-Prefix": "/x"} if cause == "untrusted proxy" else bearer
    app = build_app(with_changes(served, psql_port=1, trusted_proxies="") if cause == "no Postgres" else served)
    client = app.test_client()
    blocked_log.may_end.set()
    assert client.get("/version", headers=bearer).status_code == 200
    client.get("/1/2020-02-29", headers=bearer)  # the token is known from now on
    blocked_log.may_end.clear()
    blocked_log.waiting.clear()
    if cause == "unexpected error":
        monkeypatch.setattr(app.door._balances, "get_cached", fail)
    with ThreadPoolExecutor(2) as callers:
        try:
            peer = {"REMOTE_ADDR": "192.0.2.1"}
            waiting = callers.submit(client.get, "/1/2020-02-29", headers=headers, environ_base=peer)
            assert blocked_log.waiting.wait(10)
            other = callers.submit(app.test_client().get, "/healthcheck")
            assert other.result(5).status_code == 200
        finally:
            blocked_log.may_end.set()
        assert waiting.result(10).status_code == {"no Postgres": 503, "unexpected error": 500}.get(cause, 200)
