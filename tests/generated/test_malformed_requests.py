"""What no document can say: requests that could be read in two ways, or that are there to do harm."""

import gzip

import pytest

from service.runtime.bootstrap import build_app
from service.web.app import MAX_BODY_BYTES
from tests.generated.generated_requests import DOCUMENT, is_problem, operations_of

JSON = "application/json"
PLACES = {"loan_id": "1", "date": "2020-02-29"}


@pytest.fixture
def app(served):
    return build_app(served)


@pytest.fixture
def ask(app, make_token):
    """Sends a request with a token that may do everything. A refusal is a problem document, or OAuth2's."""
    client = app.test_client()
    headers = {"Authorization": f"Bearer {make_token(scopes='api:read api:write')}"}

    def send(method, path, **said):
        reply = client.open(path, method=method, **{**said, "headers": {**headers, **said.get("headers", {})}})
        assert reply.status_code < 500, (method, path, said, reply.text)
        assert reply.headers["X-Request-ID"]
        if reply.status_code >= 400:
            assert reply.json["code"] == reply.status_code
            assert is_problem(reply.content_type, reply.json, reply.status_code) or path == "/token", (
                method,
                path,
                said,
                reply.text,
            )
        return reply

    return send


@pytest.fixture
def operations(app):
    """(method, path with something in it that is there, operation) for each of the document."""
    document = app.test_client().get(DOCUMENT).json
    return [(method, path.format(**PLACES), operation) for method, path, operation in operations_of(document)]


def queries(operation):
    return [each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"]


def test_a_parameter_that_is_not_known_is_refused(ask, operations):
    for method, path, operation in operations:
        if names := queries(operation):
            reply = ask(method, path, query_string={names[0] + "x": "1"})
            assert reply.status_code == 400, path
            assert [error["field"] for error in reply.json["errors"]] == [names[0] + "x"]


def test_a_parameter_that_is_there_twice_is_refused(ask, operations):
    for method, path, operation in operations:
        for name in queries(operation):
            reply = ask(method, path, query_string=f"{name}=1&{name}=1")
            assert (reply.status_code, reply.json["detail"]) == (400, f"{name}: is there twice"), path


UNREADABLE = [
    b"", b"{", b"null", b"[]", b'"text"', b"1", b"NaN", b'{"a": NaN}', b'{"a": 1, "a": 1}', b'{"a": "\\ud800"}',
    b'{"a": "\x00"}', b"\xff", b"\xef\xbb\xbf{}", '{"a": 1}'.encode("utf-16"), b"[" * 100_000, b'{"a":' * 100_000,
    b'{"a": 1e999}', b"<xml/>", b"a=b", gzip.compress(b"{}"), b"{}" + b" " * 10 + b"{}",
]  # fmt: skip


def test_a_body_that_has_no_one_meaning_is_refused(ask, operations):
    for method, path, operation in operations:
        if JSON in operation.get("requestBody", {"content": ()})["content"]:
            for body in UNREADABLE:
                assert ask(method, path, data=body, content_type=JSON).status_code == 400, (path, body[:20])


def test_a_body_of_another_kind_is_refused(ask, operations):
    for method, path, operation in operations:
        content = operation.get("requestBody", {"content": ()})["content"]
        if set(content) == {JSON}:
            for content_type in ("text/plain", "application/jsonx", "application/x-www-form-urlencoded", "", "\xff"):
                assert ask(method, path, data=b"{}", content_type=content_type).status_code == 415, (path, content_type)
            packed = ask(
                method, path, data=gzip.compress(b"{}"), content_type=JSON, headers={"Content-Encoding": "gzip"}
            )
            assert packed.status_code == 415, path


def test_a_body_beyond_all_measure_is_refused(ask, operations):
    for method, path, operation in operations:
        if "requestBody" in operation:
            assert ask(method, path, data=b" " * (MAX_BODY_BYTES + 1), content_type=JSON).status_code == 413, path


ODD = [
    "\x00", "\ud800", "1\x00", " ", "", "1e3", "1.0", "+1", "-1", "0x1", "١", "1" * 5000, "NaN", "null", "true", "0",
    "9223372036854775808", "2020-02-30", "0000-00-00", "10000-01-01", "2020-02-29T00:00", "{{7*7}}",
    "'; DROP TABLE loans", "../../etc/passwd", "a" * 100_000,
]  # fmt: skip


def raw(text):
    """As bytes on the wire would say it, half characters as well."""
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogatepass"))


def test_odd_values_in_queries_are_read_or_refused(ask, operations):
    once = {name: (method, path) for method, path, operation in operations for name in queries(operation)}
    for name, (method, path) in once.items():
        for odd in ODD:
            assert ask(method, path, query_string=f"{name}={raw(odd)}").status_code in (200, 400, 412), (name, odd)


def test_odd_values_in_paths_are_read_or_refused(ask, operations):
    for method, path, _ in operations:
        for place in PLACES.values():
            if place in path:
                for odd in ODD:
                    reply = ask(method, path.replace(place, raw(odd), 1))
                    assert reply.status_code in (200, 308, 400, 404, 405), (path, odd)  # 308: of several slashes


ODD_HEADERS = [
    ("Authorization", "Bearer " + "a" * 100_000), ("Authorization", "Basic \xff"), ("Authorization", "Basic ="),
    ("Authorization", "Basic YQ=="), ("Authorization", "Basic /w=="), ("Authorization", "\xff"), ("Authorization", " "),
    ("Idempotency-Key", "k" * 100_000), ("Idempotency-Key", "\x00"), ("Accept", "*" * 100_000),
    ("Accept", "text/csv;q=nan, */*;q=-1"), ("If-None-Match", '"' * 100_000), ("If-None-Match", "W/"),
    ("X-Forwarded-For", "x" * 100_000), ("Host", "\x00"), ("Range", "bytes=5-1"), ("Cookie", "a=" + "b" * 100_000),
    ("Content-Length", "-1"), ("Content-Length", "x"), ("Transfer-Encoding", "chunked"), ("Expect", "200-ok"),
    ("Content-Type", "application/json; charset=\xff"), ("Content-Type", "multipart/form-data"),
]  # fmt: skip


def test_odd_headers_break_nothing(ask, operations):
    for method, path, _ in operations:
        for name, value in ODD_HEADERS:
            ask(method, path, headers={name: value})


def test_a_client_of_no_ascii_is_nobody(ask):
    assert ask("POST", "/token", headers={"Authorization": "Basic \xff"}).status_code == 400
