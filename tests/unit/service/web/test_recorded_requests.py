"""What the front door records of requests to applications that fail or stream."""

import asyncio
import logging
import re
from contextlib import suppress
from types import SimpleNamespace

import pytest

from security import Introspector, InvalidToken, JwksKeys, SecurityException
from service.observability.request_log import RequestLog
from service.observability.request_marks import current_request
from service.web.door.body import BodyLimits, BodyReader
from service.web.door.bounded_pool import BoundedPool
from service.web.door.forwarding import TrustedProxies
from service.web.door.received_ids import ReceivedIds
from service.web.door.wsgi_bridge import WsgiBridge
from service.web.front_door import FrontDoor, Pools
from tests.fakes.http_server import serving

NO_BALANCES = SimpleNamespace(match=lambda *_: None)


def request(application, path="/a", headers=(), host=b"a", client="127.0.0.1", id_header=None):
    """Send a request through a front door, and return the messages of the reply."""
    pools = [BoundedPool(name, 1, 0) for name in ("general", "tokens", "probes")]
    door = FrontDoor(
        WsgiBridge(application),
        NO_BALANCES,
        TrustedProxies("127.0.0.1"),
        BodyReader(BodyLimits(10, 10, 1, 1)),
        Pools(*pools),
        RequestLog(),
        ReceivedIds(id_header),
    )
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": path,
        "raw_path": path.encode(), "query_string": b"secret=x", "headers": [(b"host", host), *headers],
        "client": (client, 1), "server": ("127.0.0.1", 2),
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
        ids.append(current_request.get().id)
        return (ids.append(current_request.get().id) or b"a" for _ in range(2))

    with caplog.at_level(logging.INFO):
        head, *_ = request(stream, headers=[(b"kong-request-id", b"7dd8#3"), (b"x-request-id", b"not one")])
    assert ids == ["7dd8#3"] * 3
    assert {(b"x-request-id", b"7dd8#3"), (b"x-other", b"1")} <= set(head["headers"])
    assert "[7dd8#3] 127.0.0.1 GET /a 200 " in caplog.text
    assert "secret" not in caplog.text


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = (b"traceparent", f"00-{TRACE}-00f067aa0ba902b7-01".encode())


def ids_of(application, caplog, headers, **options):
    """Return the id in the reply, and what the access line has in brackets."""
    caplog.clear()
    with caplog.at_level(logging.INFO):
        [head, _] = request(application, headers=headers, **options)
    bracket = re.search(r" service\.access \[([^]]+)\] \S+ GET /a 200 ", caplog.text)
    return dict(head["headers"])[b"x-request-id"].decode(), bracket[1]


def answer(environ, start_response):
    request = current_request.get()
    logging.getLogger("app").warning("in %s of %s", request.id, request.trace_id)
    start_response("200 OK", [])
    return [b""]


SENT = [
    (b"kong-request-id", b"kong"), (b"x-kong-request-id", b"x-kong"), (b"x-request-id", b"x"), (b"x-trail", b"trail"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("id_header", "sent", "expected"),
    [
        ("X-Trail", SENT, "trail"),
        (None, SENT, "x"),
        (None, SENT[:2], "x-kong"),
        (None, SENT[:1], "kong"),
        ("Kong-Request-ID", SENT, "kong"),
        ("X-Trail", SENT[:3], "x"),
        ("X-Trail", [*SENT[:3], (b"x-trail", b"not an id")], "x"),
    ],
)
def test_the_header_of_the_operator_names_the_request(caplog, id_header, sent, expected):
    assert ids_of(answer, caplog, sent, id_header=id_header) == (expected, expected)


@pytest.mark.parametrize(
    "header",
    [
        TRACEPARENT,
        (b"b3", f"{TRACE}-e457b5a2e4d86bd1-1".encode()),
        (b"x-b3-traceid", TRACE.encode()),
    ],
)
def test_every_line_of_a_request_has_its_trace(caplog, header):
    expected = ("mine", f"mine,trace_id={TRACE}")
    assert ids_of(answer, caplog, [(b"x-request-id", b"mine"), header]) == expected
    assert f"in mine of {TRACE}" in caplog.text


def test_a_trace_does_not_replace_the_generated_id(caplog):
    id_, label = ids_of(answer, caplog, [TRACEPARENT])
    assert re.fullmatch("[0-9a-f]{32}", id_)
    assert label == f"{id_},trace_id={TRACE}"


def test_ids_and_traces_of_untrusted_peers_are_ignored(caplog):
    id_, label = ids_of(answer, caplog, [*SENT, TRACEPARENT], client="10.0.0.1", id_header="X-Trail")
    assert re.fullmatch("[0-9a-f]{32}", id_)
    assert label == id_


STATE = (b"tracestate", b"a=1,b=2")


@pytest.mark.parametrize(
    ("sent", "client", "passed_on"),
    [
        ([TRACEPARENT, STATE], "127.0.0.1", {"traceparent": TRACEPARENT[1], "tracestate": STATE[1]}),
        ([TRACEPARENT, (b"tracestate", b"a=\xff")], "127.0.0.1", {"traceparent": TRACEPARENT[1]}),
        ([(b"traceparent", b"00-1-2-3"), (b"tracestate", b"a=1")], "127.0.0.1", {}),
        ([(b"b3", f"{TRACE}-e457b5a2e4d86bd1-1".encode()), (b"tracestate", b"a=1")], "127.0.0.1", {}),
        ([TRACEPARENT], "10.0.0.1", {}),
        ([], "127.0.0.1", {}),
    ],
)
def test_the_trace_of_a_trusted_proxy_is_passed_on_to_introspection_and_key_servers(sent, client, passed_on):
    received = []

    def answer_json(method, path, headers, body):
        names = {name.lower(): value.encode("latin-1") for name, value in headers.items()}
        received.append((path, {name: names[name] for name in ("traceparent", "tracestate") if name in names}))
        return 200, b'{"keys": [], "active": false}'

    with serving(answer_json) as url:
        keys, introspector = JwksKeys(f"{url}/keys"), Introspector(f"{url}/introspect", "me", "secret")

        def ask(environ, start_response):
            with suppress(InvalidToken):
                introspector.verify("a.b.c")
            with suppress(SecurityException):  # the set is empty
                keys.candidates("a")
            start_response("200 OK", [])
            return [b""]

        head, *_ = request(ask, headers=sent, client=client)
    assert head["status"] == 200
    assert received == [("/introspect", passed_on), ("/keys", passed_on)]
    assert {b"traceparent", b"tracestate"}.isdisjoint(dict(head["headers"]))
