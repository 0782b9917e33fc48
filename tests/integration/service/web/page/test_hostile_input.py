"""Input that no form sends: no reply is an error of the service, and every refusal is a page that leads on."""

import logging

import pytest

from tests.integration.service.web.page.conftest import COOKIE

pytestmark = pytest.mark.shared_ledger

PATHS = ["/app", "/app/loan/1", "/app/loan/1/why", "/app/book", "/app/sign-in", "/app/loan/1/event/1"]
NAMES = ["date", "from", "to", "known_at", "as_of_version", "page", "good_through", "q", "source_id", "currency",
         "state", "balance_from", "id_from", "limit", "cursor", "compute", "next", "%00", "date=&date"]  # fmt: skip
VALUES = ["%00", "a%00b", "%FF%FE", "%ED%A0%80", "9" * 400, "-" + "9" * 30, "0001-01-01", "9999-12-31", "0000-01-01",
          "10000-01-01", "2020-02-30", "%D9%A1", "%E2%80%AE", "<script>", "1e9", "NaN", "-0", "%0d%0aX:%20y",
          "0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00", "0001-01-01 00:00"]  # fmt: skip


@pytest.fixture(autouse=True)
def no_error_is_logged(caplog):
    yield
    assert [each.getMessage() for each in caplog.get_records("call") if each.levelno >= logging.ERROR] == []


def assert_sound(reply) -> None:
    assert reply.status_code < 500
    assert "X" not in reply.headers
    if reply.status_code >= 400:
        assert reply.mimetype == "text/html"
        assert 'href="/app"' in reply.text
        assert "<script>" not in reply.text


@pytest.mark.parametrize("path", PATHS)
def test_no_parameter_breaks_a_view(signed_in, path):
    for name in NAMES:
        for value in VALUES:
            assert_sound(signed_in.get(f"{path}?{name}={value}"))


@pytest.mark.parametrize("path", [*PATHS, "/app/", "/app/loan/1/", "/app/loan/%00", "/app/loan/%FF", "/app/loan/1%2F..",
                                  "/app/%2e%2e/x", "/app/loan/" + "9" * 5000, "/app/static/", "/app/numbers",
                                  "/app/sign-out", "/app/loan/%D9%A1", "/app/loan/-1"])  # fmt: skip
def test_no_method_breaks_a_path(signed_in, path):
    for method in ("HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "PROPFIND"):
        reply = signed_in.open(path, method=method)
        assert reply.status_code < 500
        assert method != "HEAD" or reply.data == b""
        assert (reply.status_code == 405) == (method not in ("HEAD", "OPTIONS"))
        assert method in ("HEAD", "OPTIONS") or "GET" in reply.headers["Allow"]


FORM, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"
FORMS = [
    (b"", FORM), (b"next=%00&locale=%00&client_id=%00&client_secret=%FF", FORM),
    (b"client_id=\xff&client_secret=\x00", FORM),
    (b"client_id=%ED%A0%80&client_secret=b", FORM), (b"client_id=" + b"a" * 9000 + b"&client_secret=b", FORM),
    (b"token=a&token=b", FORM), (b"token=%ED%A0%80", FORM), (b"a&" * 9000, FORM), (b"token=" + b"x" * 40_000, FORM),
    (b"client_id=a&client_secret=b", FORM + "; charset=utf-16"), (b"{}", "application/json"), (b"x", "text/plain"),
    (b"--x", MULTIPART), (b"--x", MULTIPART + "; boundary=x"),
]  # fmt: skip


@pytest.mark.parametrize("path", ["/app/sign-in", "/app/sign-out", "/app/numbers"])
@pytest.mark.parametrize(("body", "content_type"), FORMS)
def test_no_form_breaks_its_path(client, path, body, content_type):
    reply = client.post(path, data=body, content_type=content_type)
    assert_sound(reply)
    assert not reply.headers.get("Set-Cookie", "").startswith(f"{COOKIE}=e")


def test_no_cookie_breaks_a_view(bare, make_token):
    """Of two with one name, browsers send the one with the longer path first."""
    token, expired = make_token(), make_token(exp=1_600_000_000)
    for cookie, status in [
        (f"{COOKIE}={token}; {COOKIE}={expired}", 200), (f"{COOKIE}={expired}; {COOKIE}={token}", 303),
        (f"{COOKIE}={token}; loaner-numbers=\x01", 200), (f"{COOKIE}={token}; loaner-numbers={'x' * 3000}", 200),
        (f"{COOKIE}={token}x", 303), (f"{COOKIE}={'x' * 5000}", 303), (f"{COOKIE}=\xff", 303), (f"{COOKIE}", 303),
        (f"{COOKIE}=a.b.c", 303), (f"{COOKIE}=eyJhbGciOiJub25lIn0.e30.", 303), ("=;;=", 303),
    ]:  # fmt: skip
        assert bare.get("/app/loan/1", headers={"Cookie": cookie}).status_code == status, cookie
