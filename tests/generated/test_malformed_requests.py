"""Ambiguous, malformed and hostile requests, beyond what a schema describes."""

import gzip
import re

import pytest

from service.web.app import MAX_BODY_BYTES
from tests.conftest import sql
from tests.generated.generated_requests import DOCUMENT, is_problem, list_operations
from tests.support.application import build_app

JSON = "application/json"
PATH_VALUES = {"loan_id": "1", "date": "2020-02-29"}


@pytest.fixture
def app(served):
    return build_app(served)


@pytest.fixture
def send(app, make_token):
    """Sends a request with a token that has all scopes. Checks that an error is a problem document, or OAuth2's."""
    client = app.test_client()
    headers = {"Authorization": f"Bearer {make_token(scopes='api:read api:write')}"}

    def send(method, path, **options):
        reply = client.open(path, method=method, **{**options, "headers": {**headers, **options.get("headers", {})}})
        assert reply.status_code < 500, (method, path, options, reply.text)
        assert reply.headers["X-Request-ID"]
        if reply.status_code >= 400:
            assert reply.json["code"] == reply.status_code
            assert is_problem(reply.content_type, reply.json, reply.status_code) or path == "/token", (
                method,
                path,
                options,
                reply.text,
            )
        return reply

    return send


@pytest.fixture
def operations(app):
    """The method, path of an existing resource, and members of each operation."""
    document = app.test_client().get(DOCUMENT).json
    return [(method, path.format(**PATH_VALUES), operation) for method, path, operation in list_operations(document)]


def query_parameters(operation):
    return [each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"]


def check_unknown_parameters_are_rejected(send, method, path):
    for query in ("unknown=1", "unknown", "=1", "unknown=1&unknown2=2"):
        reply = send(method, path, query_string=query)
        assert reply.status_code == 400, (method, path, query)
        expected = [part.partition("=")[0] for part in query.split("&")]
        assert [error["field"] for error in reply.json["errors"]] == expected, (method, path, query)
        assert {error["detail"] for error in reply.json["errors"]} == {"unknown parameter"}, (method, path, query)


def test_every_documented_operation_rejects_unknown_parameters(send, operations, posting):
    before = sql(posting, "SELECT (SELECT count(*) FROM loan_events), (SELECT count(*) FROM loans)")
    for method, path, operation in operations:
        if path != "/token":  # RFC 6749, section 3.2
            check_unknown_parameters_are_rejected(send, method, path)
            for name in query_parameters(operation):
                assert send(method, path, query_string={name.upper(): "1"}).status_code == 400, (path, name)
    assert sql(posting, "SELECT (SELECT count(*) FROM loan_events), (SELECT count(*) FROM loans)") == before


def test_every_route_of_the_application_rejects_unknown_parameters(bare_app, send):
    values = {**PATH_VALUES, "filename": "css/swagger-ui.css"}
    checked = set()
    for rule in bare_app.url_map.iter_rules():
        if rule.endpoint == "token.token" or rule.endpoint.startswith("page."):  # which replies with pages
            continue
        path = re.sub(r"<(?:[a-z]+:)?([a-z_]+)>", lambda name: values[name[1]], rule.rule)
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            check_unknown_parameters_are_rejected(send, method, path)
            checked.add(rule.endpoint)
    assert {"documentation.home", "documentation.static", "operations.healthcheck", "posting.create_loan"} <= checked


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/balances?known_at=2001-01-01T00:00:00Z", {"loan_ids": [1], "dates": ["2020-02-29"]}),
        (
            "/api/v1/loan/1/events?dry_run=true",
            {"events": [{"event_type": "fee", "post_date": "2020-03-02", "amt": "1.50"}]},
        ),
        ("/api/v1/loan?dry_run=true", {"loan_id": 50, "start_date": "2020-01-01", "initial_amt": "100.00"}),
    ],
)
def test_a_valid_body_does_not_excuse_an_unknown_parameter(send, posting, path, body):
    before = sql(posting, "SELECT (SELECT count(*) FROM loan_events), (SELECT count(*) FROM loans)")
    assert send("POST", path, json=body).status_code == 400
    assert sql(posting, "SELECT (SELECT count(*) FROM loan_events), (SELECT count(*) FROM loans)") == before


def test_a_repeated_parameter_is_rejected(send, operations):
    for method, path, operation in operations:
        for name in query_parameters(operation):
            reply = send(method, path, query_string=f"{name}=1&{name}=1")
            assert (reply.status_code, reply.json["detail"]) == (400, f"{name}: duplicate parameter"), path


UNREADABLE = [
    b"", b"{", b"null", b"[]", b'"text"', b"1", b"NaN", b'{"a": NaN}', b'{"a": 1, "a": 1}', b'{"a": "\\ud800"}',
    b'{"a": "\x00"}', b"\xff", b"\xef\xbb\xbf{}", '{"a": 1}'.encode("utf-16"), b"[" * 100_000, b'{"a":' * 100_000,
    b'{"a": 1e999}', b"<xml/>", b"a=b", gzip.compress(b"{}"), b"{}" + b" " * 10 + b"{}",
]  # fmt: skip


def test_an_ambiguous_or_invalid_body_is_rejected(send, operations):
    for method, path, operation in operations:
        if JSON in operation.get("requestBody", {"content": ()})["content"]:
            for body in UNREADABLE:
                assert send(method, path, data=body, content_type=JSON).status_code == 400, (path, body[:20])


def test_a_body_of_another_media_type_or_encoding_is_rejected(send, operations):
    for method, path, operation in operations:
        content = operation.get("requestBody", {"content": ()})["content"]
        if set(content) == {JSON}:
            for content_type in ("text/plain", "application/jsonx", "application/x-www-form-urlencoded", "", "\xff"):
                assert send(method, path, data=b"{}", content_type=content_type).status_code == 415, (
                    path,
                    content_type,
                )
            compressed = send(
                method, path, data=gzip.compress(b"{}"), content_type=JSON, headers={"Content-Encoding": "gzip"}
            )
            assert compressed.status_code == 415, path


def test_a_body_that_is_too_large_is_rejected(send, operations):
    for method, path, operation in operations:
        if "requestBody" in operation:
            assert send(method, path, data=b" " * (MAX_BODY_BYTES + 1), content_type=JSON).status_code == 413, path


ODD = [
    "\x00", "\ud800", "1\x00", " ", "", "1e3", "1.0", "+1", "-1", "0x1", "١", "1" * 5000, "NaN", "null", "true", "0",
    "9223372036854775808", "2020-02-30", "0000-00-00", "10000-01-01", "2020-02-29T00:00", "{{7*7}}",
    "'; DROP TABLE loans", "../../etc/passwd", "a" * 100_000,
]  # fmt: skip


def percent_encoded(text):
    """Percent-encode a text, including unpaired surrogates."""
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogatepass"))


def test_odd_values_in_queries_are_parsed_or_rejected(send, operations):
    one_each = {name: (method, path) for method, path, operation in operations for name in query_parameters(operation)}
    for name, (method, path) in one_each.items():
        for odd in ODD:
            assert send(method, path, query_string=f"{name}={percent_encoded(odd)}").status_code in (200, 400, 412), (
                name,
                odd,
            )


def test_odd_values_in_paths_are_parsed_or_rejected(send, operations):
    for method, path, _ in operations:
        for value in PATH_VALUES.values():
            if value in path:
                for odd in ODD:
                    reply = send(method, path.replace(value, percent_encoded(odd), 1))
                    assert reply.status_code in (200, 308, 400, 404, 405), (path, odd)  # 308 for repeated slashes


ODD_HEADERS = [
    ("Authorization", "Bearer " + "a" * 100_000), ("Authorization", "Basic \xff"), ("Authorization", "Basic ="),
    ("Authorization", "Basic YQ=="), ("Authorization", "Basic /w=="), ("Authorization", "\xff"), ("Authorization", " "),
    ("Idempotency-Key", "k" * 100_000), ("Idempotency-Key", "\x00"), ("Accept", "*" * 100_000),
    ("Accept", "text/csv;q=nan, */*;q=-1"), ("If-None-Match", '"' * 100_000), ("If-None-Match", "W/"),
    ("X-Forwarded-For", "x" * 100_000), ("Host", "\x00"), ("Range", "bytes=5-1"), ("Cookie", "a=" + "b" * 100_000),
    ("Content-Length", "-1"), ("Content-Length", "x"), ("Transfer-Encoding", "chunked"), ("Expect", "200-ok"),
    ("Content-Type", "application/json; charset=\xff"), ("Content-Type", "multipart/form-data"),
]  # fmt: skip


def test_odd_headers_cause_no_server_error(send, operations):
    for method, path, _ in operations:
        for name, value in ODD_HEADERS:
            send(method, path, headers={name: value})


def test_credentials_that_are_not_ascii_are_ignored(send):
    assert send("POST", "/token", headers={"Authorization": "Basic \xff"}).status_code == 400
