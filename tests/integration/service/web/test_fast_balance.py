"""Plain questions, which the framework never sees, and the same ones asked through it: one reply."""

from datetime import UTC, datetime, timedelta

import pytest

from service.runtime.bootstrap import build_app
from tests.support.settings import with_changes

THROUGH_FLASK = {"min_version": "0"}  # a query is more than a plain question
FORMS = ["/api/v1/loan/{}/{}", "/{}/{}"]


def shown(reply):
    changing = ("X-Request-ID", "As-Of", "Date")
    return reply.status_code, sorted(item for item in reply.headers if item[0] not in changing), reply.data


@pytest.fixture
def flask_counts(client, monkeypatch):
    """How many requests the framework was asked to dispatch."""
    seen = []
    dispatch = client.application.dispatch_request
    monkeypatch.setattr(client.application, "dispatch_request", lambda: seen.append(1) or dispatch())
    return seen


LOANS = ("1", "01", "2", "3", "999", "0", "9223372036854775807", "9223372036854775808")
DAYS = ("2020-02-29", "0001-01-01", "9999-12-31", "2021-02-30", "2020-1-1", "----------")


@pytest.mark.parametrize("form", FORMS)
def test_the_reply_is_the_same(client, bearer, form):
    for path in (form.format(loan, day) for loan in LOANS for day in DAYS):
        plain = client.get(path, headers=bearer)
        assert shown(plain) == shown(client.get(path, headers=bearer, query_string=THROUGH_FLASK)), path


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "headers",
    [
        {}, {"Authorization": ""}, {"Authorization": "Bearer"}, {"Authorization": "Bearer x.y.z"},
        {"Authorization": "Basic dTpw"}, {"Authorization": "Bearer é"},
    ],
)  # fmt: skip
def test_the_refusal_is_the_same(client, form, headers):
    path = form.format(1, "2020-02-29")
    plain = client.get(path, headers=headers)
    assert plain.status_code == 401
    assert shown(plain) == shown(client.get(path, headers=headers, query_string=THROUGH_FLASK))


@pytest.mark.parametrize("claims", [{"scopes": "api:write"}, {"exp": 1}, {"key": "unknown"}])
def test_the_refusal_of_a_token_is_the_same(client, make_token, keys_dir, claims):
    headers = {"Authorization": f"Bearer {make_token(**claims)}"} if "key" not in claims else {}
    plain = client.get("/1/2020-02-29", headers=headers)
    assert plain.status_code in (401, 403)
    assert shown(plain) == shown(client.get("/1/2020-02-29", headers=headers, query_string=THROUGH_FLASK))


def test_without_postgres_the_reply_is_the_same(served, bearer):
    client = build_app(with_changes(served, psql_port=1)).test_client()
    plain = client.get("/1/2020-02-29", headers=bearer)
    assert (plain.status_code, plain.headers["Retry-After"]) == (503, "1")
    assert shown(plain) == shown(client.get("/1/2020-02-29", headers=bearer, query_string=THROUGH_FLASK))


def test_a_refused_token_is_told_of_once_in_the_log(client, caplog):
    caplog.set_level("INFO")
    client.get("/1/2020-02-29", headers={"Authorization": "Bearer x.y.z"})
    assert caplog.text.count("rejected a token") == 1


def test_the_framework_never_sees_a_plain_question(client, bearer, flask_counts):
    client.get("/1/2020-02-29", headers=bearer)
    client.get("/api/v1/loan/999/2020-02-29", headers=bearer)
    client.get("/1/2020-02-29")
    assert flask_counts == []
    client.get("/1/2020-02-29", headers=bearer, query_string=THROUGH_FLASK)
    client.head("/1/2020-02-29", headers=bearer)
    client.get("/1/2021-02-30", headers=bearer)
    client.post("/1/2020-02-29", headers=bearer)
    assert len(flask_counts) >= 3


def test_a_head_is_a_get_without_its_body(client, bearer):
    get, head = (ask("/1/2020-02-29", headers=bearer) for ask in (client.get, client.head))
    assert head.data == b""
    assert shown(head)[:2] == shown(get)[:2]


def test_opened_routes_need_no_token_either_way(served):
    client = build_app(with_changes(served, secure_loans=False)).test_client()
    plain = client.get("/1/2020-02-29")
    assert plain.status_code == 200
    assert shown(plain) == shown(client.get("/1/2020-02-29", query_string=THROUGH_FLASK))


# What replies say of themselves

LEDGER_PATHS = [
    "/1/2020-02-29", "/api/v1/loan/1/2020-02-29", "/api/v1/loan/1", "/api/v1/loan/1/history",
    "/api/v1/loan/1/statement",
]  # fmt: skip


@pytest.mark.parametrize("path", LEDGER_PATHS)
def test_a_reply_that_is_known_is_not_sent_again(client, bearer, path):
    first = client.get(path, headers=bearer)
    tag = first.headers["ETag"]
    again = client.get(path, headers={**bearer, "If-None-Match": tag})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
    assert "As-Of" in again.headers
    for other in ('"another"', 'W/"another", "more"'):
        assert client.get(path, headers={**bearer, "If-None-Match": other}).status_code == 200
    assert client.get(path, headers={**bearer, "If-None-Match": f'"x", W/{tag}'}).status_code == 304


def test_another_version_date_or_loan_has_another_tag(client, bearer, posting):
    paths = ("/1/2020-02-29", "/1/2020-02-28", "/2/2020-02-29", "/api/v1/loan/1")
    tags = [client.get(path, headers=bearer).headers["ETag"] for path in paths]
    with posting, posting.cursor() as cursor:
        cursor.execute("SELECT post_events(ARRAY[1], ARRAY['fee'], ARRAY['2021-01-01'::date], ARRAY[1.00])")
    tags.append(client.get("/1/2020-02-29", headers=bearer).headers["ETag"])  # the balance is as it was
    assert len(set(tags)) == 5


def test_as_of_is_the_time_of_the_read(client, bearer):
    reply = client.get("/1/2020-02-29", headers=bearer)
    told = datetime.fromisoformat(reply.headers["As-Of"])
    assert abs(datetime.now(UTC) - told) < timedelta(seconds=2)
    assert reply.headers["As-Of"].endswith("Z")
    assert reply.headers["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize("path", LEDGER_PATHS)
def test_a_version_that_the_loan_does_not_have_is_412(client, bearer, path):
    assert client.get(path, headers=bearer, query_string={"min_version": 3}).status_code == 200
    reply = client.get(path, headers=bearer, query_string={"min_version": 4})
    assert reply.status_code == 412
    assert (reply.json["type"], reply.json["loan_id"], reply.json["version"]) == (
        "urn:loaner:problem:version-not-reached", 1, 3,
    )  # fmt: skip


@pytest.mark.parametrize("wrong", ["-1", "1.0", "x", "", "9223372036854775808", "１"])
def test_a_version_that_is_none_is_400_and_named(client, bearer, wrong):
    reply = client.get("/1/2020-02-29", headers=bearer, query_string={"min_version": wrong})
    assert (reply.status_code, reply.json["errors"][0]["field"]) == (400, "min_version")
