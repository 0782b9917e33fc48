"""The lines of requests, compared with those that the logging library writes."""

import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.observability.request_line import Request, format_request

LIBRARY = logging.Formatter("%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s")
PIECES = ["/", "a", "ready", "é", "\n", "\x1b", "\x7f", "'", '"', "\\", "€", "😀", "\ufffd", " ", "/" * 1000, "b" * 999]
PATHS = st.lists(st.sampled_from(PIECES) | st.characters(codec="utf-8"), max_size=8).map("".join)
NOW = 1_764_273_600.25


def request(path: str = "/a", address: str = "127.0.0.1", status: int = 204, duration_s: float = 0.0) -> Request:
    return Request(NOW, address, "GET", path, "other", status, duration_s, "some-id")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PATHS, st.floats(0, 1e5))
def test_a_line_equals_that_of_the_logging_library(output, path, duration_s):
    shown = "/" + path.lstrip("/")[:1000]
    if not shown.isprintable():
        shown = repr(shown)
    elif not shown.isascii():
        shown = shown.encode("ascii", "backslashreplace").decode()
    message = "%s %s %s %s %.1f ms"
    record = logging.LogRecord(
        "service.access", 20, "", 0, message, ("127.0.0.1", "GET", shown, "204", duration_s * 1000), None
    )
    record.created, record.msecs, record.request_id = NOW, 250, "some-id"
    line = format_request(request(path, duration_s=duration_s))
    assert line == LIBRARY.format(record)
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/a b", "/a b"), ("//a", "/a"), ("/é", "/\\xe9"), ("/\n", "'/\\n'"), ("", "/"), ("/é\n", "'/é\\n'"),
        ("/" * 2000 + "x" * 2000, "/" + "x" * 1000),
    ],
)  # fmt: skip
def test_a_path_is_shown_on_one_line(output, path, shown):
    assert f" GET {shown} 204 " in format_request(request(path))


@pytest.mark.parametrize("path", ["/ready", "/healthcheck", "//ready"])
def test_probes_are_shown_if_they_fail_or_at_the_level_debug(output, path):
    assert format_request(request(path, status=200)) is None
    assert " INFO service.access [some-id] " in format_request(request(path, status=503))
    logging.root.setLevel(logging.DEBUG)
    assert " DEBUG service.access [some-id] " in format_request(request(path, status=200))


def test_the_log_level_excludes_requests(output):
    logging.root.setLevel(logging.WARNING)
    assert format_request(request(status=500)) is None


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("203.0.113.7", "203.0.113.7"), ("2001:DB8::1", "2001:db8::1"), ("", "-"), ("unknown", "-"), ("1.2.3.4 x", "-"),
        ("fe80::1%eth0", "fe80::1"), ("fe80::1%x GET forged 200", "fe80::1"),
    ],
)  # fmt: skip
def test_only_an_address_is_shown_as_one(output, address, shown):
    assert f"[some-id] {shown} GET /a 204 " in format_request(request(address=address))
