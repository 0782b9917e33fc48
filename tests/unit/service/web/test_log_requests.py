"""The request log's middleware, around applications that fail or stream."""

import logging

import pytest
from service.web.middleware.request_log import LogRequests
from werkzeug.test import Client, create_environ

from service.observability.logging import request_id
from service.observability.request_log import RequestLog


def test_a_request_is_logged_even_if_the_application_fails(caplog):
    def failing_app(environ, start_response):
        raise LookupError

    with caplog.at_level(logging.INFO), pytest.raises(LookupError):
        LogRequests(failing_app, RequestLog())(create_environ("/a//b"), None)
    assert " GET /a//b 500 " in caplog.text


def test_log_lines_of_a_streamed_reply_have_its_request_id():
    ids = []

    def streaming_app(environ, start_response):
        start_response("200 OK", [("X-Other", "1")])
        ids.append(request_id.get())
        return (ids.append(request_id.get()) or b"" for _ in range(2))

    reply = Client(LogRequests(streaming_app, RequestLog())).get("/", buffered=True)
    assert ids == [reply.headers["X-Request-ID"]] * 3
    assert reply.headers["X-Other"] == "1"


@pytest.mark.parametrize(
    ("path", "shown"),
    [("/a b", "/a b"), ("//a", "/a"), ("/é", "/\\xe9"), ("/\n", "'/\\n'"), ("", "/"), ("/é\n", "'/é\\n'")],
)
def test_a_path_is_logged_on_one_line(caplog, path, shown):
    with caplog.at_level(logging.INFO):
        environ = create_environ("/") | {"PATH_INFO": path.encode().decode("latin1"), "REMOTE_ADDR": "::1"}
        LogRequests(lambda _, start: start("204 NO CONTENT", []), RequestLog())(environ, lambda *_: [])
    assert f"::1 GET {shown} 204 " in caplog.text
