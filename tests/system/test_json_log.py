"""A running service with LOG_FORMAT=json: every line is an object, and a request is one line."""

import json
import os
import re
import signal
import time

import pytest

from tests.support.door import FORM, TOKEN_FORM, open_door
from tests.support.processes import started
from tests.support.raw_http import request_bytes
from tests.support.waiting import PATIENCE_S, wait_until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(scope="module")
def door(databases, keys_dir):
    with databases.create() as settings, open_door(settings, keys_dir, LOG_FORMAT="json") as door:
        yield door


def lines_of(door, request_id):
    """Return the lines of a request, as soon as the last one is written."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        lines = [json.loads(line) for line in door.read_log().splitlines()]
        found = [line for line in lines if line.get("request_id") == request_id]
        if any(line["logger"] == "service.access" for line in found):
            return found
        time.sleep(0.05)
    raise AssertionError(door.read_log())


def test_a_request_is_one_object_with_its_caller_and_trace(door, make_token):
    headers = {
        "Authorization": f"Bearer {make_token(userId='alice')}", "X-Request-ID": "first",
        "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01",
    }  # fmt: skip
    reply = door.get("/api/v1/loan/1/2020-02-29", headers)
    assert reply.status == 404
    assert TRACE.encode() not in repr(reply).encode(), "a trace is returned to nobody"
    [line] = lines_of(door, "first")
    assert re.fullmatch(r"[\d-]{10}T[\d:]{8}\.\d{3}Z", line.pop("time"))
    assert line.pop("milliseconds") > 0
    assert line == {
        "level": "INFO", "logger": "service.access", "message": "GET /api/v1/loan/1/2020-02-29 404",
        "request_id": "first", "trace_id": TRACE, "method": "GET", "route": "/api/v1/loan/<loan_id>/<date>",
        "path": "/api/v1/loan/1/2020-02-29", "status": 404, "client": "127.0.0.1", "caller": "alice",
    }  # fmt: skip


def test_a_rejected_token_is_one_line(door):
    assert door.get("/1/2020-02-29", {"Authorization": "Bearer x", "X-Request-ID": "rejected"}).status == 401
    [line] = lines_of(door, "rejected")
    assert (line["status"], line.get("caller")) == (401, None)
    assert line["rejection"].startswith("JWTProvider: the token is not three parts joined by dots")


def test_the_client_of_a_token_request_is_its_caller(door):
    headers = {**FORM, "X-Request-ID": "token", "Content-Length": str(len(TOKEN_FORM))}
    assert door.send(request_bytes("POST", "/token", headers) + TOKEN_FORM).status == 200
    [line] = lines_of(door, "token")
    assert line["caller"] == "loaner-client"


def test_lines_of_the_server_and_of_the_start_are_objects(door):
    [worker] = door.workers()
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: "Unexpected exit from worker" in door.read_log(), read_log=door.read_log)
    lines = [json.loads(line) for line in door.read_log().splitlines()]
    assert {line["logger"] for line in lines} >= {"_granian", "service.runtime.server"}
    [started] = [line for line in lines if line["message"].startswith("serving on")]
    assert started["message"].endswith(" with 1 worker")


def test_a_failed_start_is_an_object():
    with started(LOG_FORMAT="json", SERVICE_DISCOVERY="none", KEYS_DIR="/nowhere") as (process, read_log):
        assert process.wait(30) == 1
        *_, last = [json.loads(line) for line in read_log().splitlines()]
    assert last["level"] == "CRITICAL"
    assert "KEYS_DIR" in last["message"]
