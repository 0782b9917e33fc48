"""Optimistic concurrency: `If-Match` and `expected_version` of a posting."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from service.web.schemas.if_match import IfMatch, parse_if_match
from tests.conftest import sql

EVENTS = "/api/v1/loan/1/events"
DIGEST = "0f1e2d3c4b5a69788796a5b4"
FEE = {"event_type": "fee", "post_date": "2020-03-02", "amt": "1.50"}


def tag(version):
    return f'"{version}-{DIGEST}"'


@pytest.fixture
def post(client, make_token):
    """Posts a fee to loan 1."""
    writer = {"Authorization": f"Bearer {make_token(scopes='api:read api:write')}"}

    def post(status, path=EVENTS, body=None, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        reply = client.post(path, json=body or {"events": [FEE]}, headers={**writer, **named})
        assert reply.status_code == status, reply.text
        return reply

    return post


def check_refused(reply, version):
    assert reply.json["type"] == "urn:loaner:problem:version-changed"
    assert (reply.json["loan_id"], reply.json["version"]) == (1, version)


@pytest.mark.parametrize(
    "path",
    ["/1/2020-02-29", "/api/v1/loan/1", "/api/v1/loan/1/history", "/api/v1/loan/1/statement", EVENTS],
)
def test_the_etag_of_each_reply_allows_one_posting(client, bearer, post, path):
    etag = client.get(path, headers=bearer).headers["ETag"]
    assert etag.startswith('"3-')
    made = post(201, If_Match=etag)
    check_refused(post(412, If_Match=etag), 4)
    assert made.headers["ETag"].startswith('"4-')
    post(201, If_Match=made.headers["ETag"])


def test_the_etag_of_a_csv_allows_a_posting(client, bearer, post):
    post(201, If_Match=client.get("/api/v1/loan/1/statement?format=csv", headers=bearer).headers["ETag"])


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("*", 201), (" * ", 201), (tag(3), 201), (f"{tag(1)}, {tag(3)}", 201), (f"{tag(3)},{tag(1)},", 201),
        (f'{tag(9)} ,\t,"x", {tag(3)}', 201), (f'"x", W/{tag(3)}, {tag(3)}', 201),
        (tag(2), 412), (tag(4), 412), (f"W/{tag(3)}", 412), (f'"{DIGEST}"', 412), ('""', 412), ('"3"', 412),
        (f'"03-{DIGEST}"', 412), (f"{tag(1)},{tag(2)}", 412), (tag(9999999999999999999), 412), (tag(2**63 - 1), 412),
        ("", 400), (",", 400), ("3", 400), (DIGEST, 400), ("*, *", 400), (f"{tag(3)} {tag(3)}", 400), ('"', 400),
        (f"w/{tag(3)}", 400), (f"*,{tag(3)}", 400), ('"' + "x" * 3000 + '"', 400),
    ],
)  # fmt: skip
def test_the_version_of_one_of_the_tags_must_be_current(post, posting, value, status):
    reply = post(status, If_Match=value)
    if status == 400:
        assert [error["field"] for error in reply.json["errors"]] == ["If-Match"]
    elif status == 412:
        check_refused(reply, 3)
    assert sql(posting, "SELECT version FROM loans WHERE loan_id = 1") == [(4 if status == 201 else 3,)]


def test_the_header_and_the_body_must_agree(post):
    for value in ("*", tag(3), f"{tag(1)}, {tag(3)}"):
        check_refused(post(412, body={"events": [FEE], "expected_version": 2}, If_Match="*"), 3)
        reply = post(400, body={"events": [FEE], "expected_version": 3}, If_Match=tag(2))
        assert [error["field"] for error in reply.json["errors"]] == ["If-Match"]
        assert value
    post(201, body={"events": [FEE], "expected_version": 3}, If_Match=f"{tag(1)}, {tag(3)}")


@pytest.mark.parametrize("value", [-1, 2**63, "3", 3.5, True, None])
def test_an_invalid_expected_version_is_400(post, value):
    reply = post(400, body={"events": [FEE], "expected_version": value})
    assert [error["field"] for error in reply.json["errors"]] == ["expected_version"]


def test_a_repeated_request_gets_its_first_reply_although_it_moved_the_version(post):
    first = post(201, If_Match=tag(3), Idempotency_Key="a")
    again = post(201, If_Match=tag(3), Idempotency_Key="a")
    assert (again.data, again.headers["Idempotent-Replayed"]) == (first.data, "true")
    assert again.headers["ETag"] == first.headers["ETag"]


def test_a_412_is_not_kept(post):
    check_refused(post(412, If_Match=tag(2), Idempotency_Key="a"), 3)
    check_refused(post(412, If_Match='"x"', Idempotency_Key="a"), 3)
    assert "Idempotent-Replayed" not in post(201, If_Match=tag(3), Idempotency_Key="a").headers


def test_an_unknown_loan_is_404(post):
    for value in ("*", tag(0), '"x"'):
        assert post(404, path="/api/v1/loan/999/events", If_Match=value).json["loan_id"] == 999


def test_creating_a_loan_rejects_if_match(post):
    loan = {"loan_id": 50, "start_date": "2020-01-01", "initial_amt": "100.00"}
    reply = post(400, path="/api/v1/loan", body=loan, If_Match="*")
    assert [error["field"] for error in reply.json["errors"]] == ["If-Match"]


def test_of_simultaneous_postings_to_one_version_one_succeeds(client, make_token):
    headers = {"Authorization": f"Bearer {make_token(scopes='api:write')}", "If-Match": tag(3)}

    def send(_):
        return client.application.test_client().post(EVENTS, json={"events": [FEE]}, headers=headers).status_code

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(send, range(4))) == [201, 412, 412, 412]


def test_parsing():
    assert parse_if_match("*") == IfMatch(None)
    assert parse_if_match(f'{tag(7)}, "x", {tag(2)}, {tag(7)}') == IfMatch((2, 7))
    assert parse_if_match(f"W/{tag(7)}") == IfMatch(())
