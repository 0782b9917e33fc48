"""Lines of the log as JSON: one object a line, for any content of the texts."""

import json
import logging
import re
import sys
import threading
from contextvars import copy_context
from datetime import UTC, datetime

import pytest

from service.observability import log_json
from service.observability.logging import configure_logging
from service.observability.request_line import MAX_PATH
from service.observability.request_log import RequestLog
from service.observability.request_marks import RequestMarks, current_request
from tests.support.marks import marks

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
ODD = 'a\nb\u2028"\\\x1bé'


@pytest.fixture
def lines(output, monkeypatch):
    """Configure the log, and return a function that returns its lines so far."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    configure_logging("INFO", "json")
    return lambda: [json.loads(line) for line in output.getvalue().split("\n")[:-1]]


def in_request(action):
    marks = RequestMarks("some-id")
    marks.trace_id = TRACE
    context = copy_context()
    context.run(current_request.set, marks)
    context.run(action)


def test_a_line_states_its_time_in_utc(lines):
    before = datetime.now(UTC)
    logging.getLogger("a.b").warning("%d of %s", 1, "two")
    [line] = lines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert abs((datetime.fromisoformat(line.pop("time")) - before).total_seconds()) < 5
    assert line == {"level": "WARNING", "logger": "a.b", "message": "1 of two"}


def test_a_line_of_a_request_has_its_id_and_trace(lines):
    in_request(lambda: logging.getLogger("a").info("x"))
    [line] = lines()
    assert (line["request_id"], line["trace_id"]) == ("some-id", TRACE)


def test_an_exception_is_one_member(lines):
    try:
        raise LookupError(ODD)
    except LookupError:
        logging.getLogger("a").exception("failed")
    [line] = lines()
    assert line["message"] == "failed"
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert "LookupError: a\nb" in line["exception"]


def test_any_text_is_one_object_on_one_line(lines, output):
    logging.getLogger("a").info("%s", ODD)
    assert [line["message"] for line in lines()] == [ODD]
    assert output.getvalue().count("\n") == 1


def test_a_text_that_is_not_unicode_is_escaped():
    line = log_json.format_line(0, "INFO", "a", "the file \udcff", exception="\ud800")
    assert line.isascii()
    assert json.loads(line)["message"] == "the file \udcff"


def test_a_request_is_one_object(lines):
    log = RequestLog()
    log.record("::1", "GET", "/7/2020-01-31", "/<loan_id>/<date>", 200, 0.0012345, marks("some-id", TRACE, "alice"))
    [line] = lines()
    del line["time"]
    assert line == {
        "level": "INFO", "logger": "service.access", "message": "GET /7/2020-01-31 200", "request_id": "some-id",
        "trace_id": TRACE, "method": "GET", "route": "/<loan_id>/<date>", "path": "/7/2020-01-31", "status": 200,
        "milliseconds": 1.234, "client": "::1", "caller": "alice",
    }  # fmt: skip


def test_what_clients_send_is_bounded_and_printable(lines):
    RequestLog().record("nonsense", "GET", "/" + ODD + "x" * 5000, None, 401, 0, marks("i", "", ODD, ODD))
    [line] = lines()
    assert "client" not in line
    for name in ("path", "caller", "rejection"):
        assert line[name].isprintable()
    assert len(line["path"]) < MAX_PATH + 100


def test_text_states_a_rejection_on_the_line_of_the_request(output):
    RequestLog().record("::1", "GET", "/a", None, 401, 0, marks("i", rejection="one\ntwo"))
    assert output.getvalue().endswith(" INFO service.access [i] ::1 GET /a 401 0.0 ms; rejected a token: 'one\\ntwo'\n")


def test_errors_that_nothing_catches_are_objects(lines):
    def fail():
        raise LookupError("in a thread")

    thread = threading.Thread(target=fail, name="worker-of-a-test")
    thread.start()
    thread.join()
    try:
        raise LookupError("at the end")
    except LookupError:
        sys.excepthook(*sys.exc_info())
    in_thread, at_the_end = lines()
    assert in_thread["message"] == "unexpected error; the thread worker-of-a-test ends"
    assert in_thread["exception"].endswith("LookupError: in a thread")
    assert at_the_end["exception"].endswith("LookupError: at the end")
