"""A WSGI application behind the front door: whole replies, streams, and readers that leave."""

import asyncio
import threading
from io import BytesIO

import pytest

from service.errors import ServiceBusy
from service.observability.logging import request_id
from service.web.door.bounded_pool import BoundedPool
from service.web.door.exchange import Exchange
from service.web.door.forwarding import Origin
from service.web.door.wsgi_bridge import ReaderLeft, WsgiBridge, build_environ

ORIGIN = Origin("203.0.113.7", True, "https", b"loans.example", "/loaner")


class Client:
    """Receives a reply."""

    def __init__(self) -> None:
        self.sent = []
        self.left = asyncio.Event()

    async def receive(self):
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)

    @property
    def body(self):
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def has_ended(self):
        return self.sent[-1]["type"] == "http.response.body" and not self.sent[-1].get("more_body")


def respond(application, client=None, pool=None, environ=None):
    async def run():
        chosen = client or Client()
        exchange = Exchange(chosen.receive, chosen.send, "id-1")
        bridge, threads = WsgiBridge(application), pool or BoundedPool("test", 1, 0)
        call = await bridge.start({"wsgi.input": BytesIO(), **(environ or {})}, exchange, threads)
        await bridge.reply(call, exchange, threads)
        return chosen

    return asyncio.run(run())


class Body:
    """An iterable that notes what happens to it."""

    def __init__(self, *parts):
        self.parts = list(parts)
        self.closed = 0

    def __iter__(self):
        for part in self.parts:
            if isinstance(part, Exception):
                raise part
            yield part() if callable(part) else part

    def close(self):
        self.closed += 1


def application(body, *headers):
    def call(environ, start_response):
        start_response("200 OK", list(headers))
        return body

    return call


def test_a_reply_with_a_length_is_sent_whole():
    body = Body(b"abc")
    client = respond(application(body, ("Content-Length", "3"), ("X-Other", "é")))
    head, rest = client.sent
    assert head["status"] == 200
    assert head["headers"] == [(b"content-length", b"3"), (b"x-other", b"\xe9"), (b"x-request-id", b"id-1")]
    assert rest == {"type": "http.response.body", "body": b"abc"}
    assert body.closed == 1


def test_a_reply_without_a_length_is_streamed():
    body = Body(b"ab", b"c")
    client = respond(application(body))
    assert (client.body, client.has_ended, body.closed) == (b"abc", True, 1)
    assert len(client.sent) == 4


@pytest.mark.parametrize("parts", [(b"", b"ab", b"c"), (b"ab", b"", b"c"), (b"ab", b"c", b"")])
@pytest.mark.parametrize("headers", [(), (("Content-Length", "3"),)])
def test_an_empty_part_does_not_end_a_reply(parts, headers):
    body = Body(*parts)
    client = respond(application(body, *headers))
    assert (client.body, client.has_ended, body.closed) == (b"abc", True, 1)


def test_a_body_of_a_request_is_not_held_while_the_reply_is_streamed():
    given = BytesIO(b"x" * 1000)

    def call(environ, start_response):
        start_response("200 OK", [("Length", str(len(environ["wsgi.input"].read())))])
        return Body(b"a", lambda: b"closed" if given.closed else b"open")

    client = respond(call, environ={"wsgi.input": given})
    assert client.sent[0]["headers"][0] == (b"length", b"1000")
    assert client.body == b"aclosed"


def test_an_error_before_the_reply_is_raised():
    with pytest.raises(LookupError):
        respond(application(Body(LookupError())))


def test_a_reply_that_fails_midway_does_not_end():
    client, body = Client(), Body(b"ab", LookupError())
    with pytest.raises(LookupError):
        respond(application(body), client)
    assert client.body == b"ab"
    assert not client.has_ended
    assert body.closed == 1


def test_a_reply_that_fails_after_its_last_byte_is_not_sent():
    client = Client()
    with pytest.raises(LookupError):
        respond(application(Body(b"abc", LookupError()), ("Content-Length", "3")), client)
    assert client.sent == []


def test_the_application_is_closed_when_the_reader_leaves():
    client = Client()
    body = Body(b"a", lambda: client.left.set() or b"b", *[b"c"] * 1000)
    with pytest.raises(ReaderLeft):
        respond(application(body), client)
    assert body.closed == 1
    assert len(client.body) < 1000
    assert not client.has_ended


def test_a_slow_reader_holds_no_thread():
    pool = BoundedPool("test", 1, 0)

    class SlowClient(Client):
        async def send(self, message):
            await super().send(message)
            if message.get("more_body"):
                assert await pool.run(lambda: "free") == "free"

    assert respond(application(Body(b"a", b"b")), SlowClient(), pool).body == b"ab"


def test_a_full_pool_refuses_what_has_not_begun():
    async def run():
        pool, may_end = BoundedPool("test", 1, 1), threading.Event()
        waiting = [asyncio.ensure_future(pool.run(may_end.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(ServiceBusy):
            await pool.run(may_end.wait)
        continued = asyncio.ensure_future(pool.run(may_end.wait, is_admitted=True))
        may_end.set()
        assert await asyncio.gather(*waiting, continued) == [True] * 3
        assert await pool.run(lambda: 1) == 1

    asyncio.run(run())


def test_all_parts_run_in_the_context_of_the_request():
    ids = []

    def call(environ, start_response):
        start_response("200 OK", [])
        ids.append(request_id.get())
        return (ids.append(request_id.get()) or b"x" for _ in range(3))

    respond(call)
    assert ids == ["id-1"] * 4
    assert request_id.get() == "-"


def test_the_environment_describes_the_request_alone(monkeypatch):
    monkeypatch.setenv("HTTP_X_FORWARDED_FOR", "6.6.6.6")
    scope = {
        "method": "POST", "raw_path": b"/a%20b/%C3%A9%ff", "query_string": b"x=%41", "http_version": "1.1",
        "server": ("127.0.0.1", "5555"),
    }  # fmt: skip
    headers = {
        b"host": b"inner", b"content-type": b"text/plain", b"content-length": b"9", b"transfer-encoding": b"chunked",
        b"x-a": b"\xe9",
    }  # fmt: skip
    environ = build_environ(scope, headers, ORIGIN, b"body")
    assert environ.pop("wsgi.input").read() == b"body"
    assert "HTTP_X_FORWARDED_FOR" not in environ
    expected = {
        "REQUEST_METHOD": "POST", "SCRIPT_NAME": "/loaner", "PATH_INFO": "/a b/\xc3\xa9\xff", "QUERY_STRING": "x=%41",
        "REMOTE_ADDR": "203.0.113.7", "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "5555", "CONTENT_TYPE": "text/plain",
        "SERVER_PROTOCOL": "HTTP/1.1", "CONTENT_LENGTH": "4", "HTTP_HOST": "loans.example", "HTTP_X_A": "\xe9",
        "wsgi.url_scheme": "https",
    }  # fmt: skip
    assert {name: value for name, value in environ.items() if name in expected} == expected
    assert {name for name in environ if name.startswith("HTTP_")} == {"HTTP_HOST", "HTTP_X_A"}
