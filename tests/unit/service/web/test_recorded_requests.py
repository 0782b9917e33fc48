"""What the front door records of requests to applications that fail or stream."""

import asyncio
import logging
from types import SimpleNamespace

from service.observability.logging import request_id
from service.observability.request_log import RequestLog
from service.web.door.body import BodyLimits, BodyReader
from service.web.door.bounded_pool import BoundedPool
from service.web.door.forwarding import TrustedProxies
from service.web.door.wsgi_bridge import WsgiBridge
from service.web.front_door import FrontDoor, Pools

NO_BALANCES = SimpleNamespace(match=lambda *_: None)


def request(application, path="/a", headers=(), host=b"a"):
    """Send a request through a front door, and return the messages of the reply."""
    pools = [BoundedPool(name, 1, 0) for name in ("general", "tokens", "probes")]
    door = FrontDoor(
        WsgiBridge(application),
        NO_BALANCES,
        TrustedProxies("127.0.0.1"),
        BodyReader(BodyLimits(10, 10, 1, 1)),
        Pools(*pools),
        RequestLog(),
    )
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": path,
        "raw_path": path.encode(), "query_string": b"secret=x", "headers": [(b"host", host), *headers],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
    }  # fmt: skip
    sent = []

    async def receive():
        await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    try:
        asyncio.run(door(scope, receive, send))
    finally:
        for pool in pools:
            pool._executor.shutdown()
    return sent


def test_a_request_is_recorded_even_if_the_application_fails(caplog):
    def fail(environ, start_response):
        raise LookupError

    with caplog.at_level(logging.INFO):
        [head, _] = request(fail, "//a")
    assert head["status"] == 500
    assert " 127.0.0.1 GET /a 500 " in caplog.text


def test_a_request_is_recorded_even_if_its_reply_fails_midway(caplog):
    def fail_midway(environ, start_response):
        start_response("200 OK", [])
        yield b"a"
        raise LookupError

    with caplog.at_level(logging.INFO):
        messages = request(fail_midway)
    assert messages[-1]["more_body"], "the reply must not look whole"
    assert " 127.0.0.1 GET /a 200 " in caplog.text


def test_a_refused_request_is_recorded_with_the_address_of_the_peer(caplog):
    with caplog.at_level(logging.INFO):
        [head, _] = request(None, host=b"a b")
    assert head["status"] == 400
    assert " 127.0.0.1 GET /a 400 " in caplog.text


def test_log_lines_of_a_streamed_reply_have_its_request_id(caplog):
    ids = []

    def stream(environ, start_response):
        start_response("200 OK", [("X-Other", "1")])
        ids.append(request_id.get())
        return (ids.append(request_id.get()) or b"a" for _ in range(2))

    with caplog.at_level(logging.INFO):
        head, *_ = request(stream, headers=[(b"kong-request-id", b"7dd8#3"), (b"x-request-id", b"not one")])
    assert ids == ["7dd8#3"] * 3
    assert {(b"x-request-id", b"7dd8#3"), (b"x-other", b"1")} <= set(head["headers"])
    assert "[7dd8#3] 127.0.0.1 GET /a 200 " in caplog.text
    assert "secret" not in caplog.text
