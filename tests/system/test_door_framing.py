"""What RFC 9110 and RFC 9112 oblige a server to refuse is refused, and no byte sequence counts as two requests.

Each request is followed by LAST on the same connection, which has the status 404 and ends the connection. So the list
of statuses shows how many requests the service has seen, and whether it closed the connection before LAST.
"""

import contextlib
import json

import pytest

from tests.support.door import JSON, Door, open_door
from tests.support.raw_http import RawReply, chunk, read_replies, request_bytes

LAST_STATUS = 404
LAST = b"GET /no/such/page/here HTTP/1.1\r\nHost: loaner.test\r\nConnection: close\r\n\r\n"
BALANCES = json.dumps({"loan_ids": [], "dates": []}).encode()  # 400 with a problem document that names `loan_ids`
SMUGGLED = b"GET /version HTTP/1.1\r\nHost: smuggled.test\r\n\r\n"  # would be 200


@pytest.fixture(scope="module")
def door(databases, keys_dir):
    with databases.create() as settings, open_door(settings, keys_dir) as door:
        yield door


@pytest.fixture(scope="module")
def authorization(make_token) -> str:
    return f"Bearer {make_token()}"


def exchange(door: Door, data: bytes) -> list[RawReply]:
    """Send a request and LAST; return all replies."""
    with door.connect(timeout_s=10) as connection:
        connection.send(data + LAST)
        return read_replies(connection)


def statuses(door: Door, data: bytes) -> list[int]:
    return [reply.status for reply in exchange(door, data)]


def healthcheck(*lines: str, version: str = "1.1", method: str = "GET", target: str = "/healthcheck") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/{version}", *lines, "", ""]).encode("latin-1")


# Host

VALID_HOSTS = [
    "loaner", "loaner.", "loaner:", "loaner:80", "loaner.example:65535", "192.0.2.1", "192.0.2.1:5555", "[::1]",
    "[2001:db8::1]:443", "a_b", "a%41", "LOANER", "xn--bcher-kva.example",
]  # fmt: skip
# RFC 9110, section 7.2: Host = uri-host [ ":" port ], by RFC 3986, section 3.2.
INVALID_HOSTS = {
    "empty": "", "a space": "a b", "a list": "a, b", "a slash": "a/b", "a scheme": "http://a", "a quote": '"a"',
    "user information": "u@a", "a query": "a?b", "a fragment": "a#b", "a backslash": "a\\b", "brackets": "a<b>",
    "a port that is no number": "a:http", "a negative port": "a:-1", "a port above 65535": "a:65536",
    "two ports": "a:1:2", "a port only": ":80", "an open bracket": "[::1", "a closing bracket": "::1]",
    "no IPv6 in brackets": "[zz]", "IPv4 in brackets": "[127.0.0.1]", "IPv6 without brackets": "2001:db8::1",
    "text after brackets": "[::1]a", "a bad escape": "a%zz", "a cut escape": "a%4", "not ASCII": "é",
}  # fmt: skip


@pytest.mark.parametrize("host", VALID_HOSTS)
def test_a_valid_host_is_accepted(door, host):
    assert statuses(door, healthcheck(f"Host: {host}")) == [200, LAST_STATUS]


@pytest.mark.parametrize("host", INVALID_HOSTS.values(), ids=INVALID_HOSTS)
def test_an_invalid_host_is_400(door, host):
    """RFC 9112, section 3.2: a server must respond with 400 to an invalid Host. RFC 9110, 4.2.1: an empty one is."""
    assert statuses(door, healthcheck(f"Host: {host}"))[0] == 400


@pytest.mark.parametrize(
    "lines",
    [(), ("Host: a", "Host: b"), ("Host: a", "Host: a"), ("Host: a", "hOST: a"), ("Host: a", "Host:")],
    ids=["none", "two that differ", "two that are equal", "two in different case", "a second one that is empty"],
)  # fmt: skip
def test_a_request_without_host_or_with_two_is_400(door, lines):
    """RFC 9112, section 3.2: a server must respond with 400 to both."""
    assert statuses(door, healthcheck(*lines))[0] == 400


def test_http_1_0_needs_no_host(door):
    """RFC 9112, section 3.2, requires Host of HTTP/1.1 requests only; health checks of load balancers use 1.0."""
    assert statuses(door, healthcheck(version="1.0"))[0] == 200
    assert statuses(door, healthcheck("Host: a b", version="1.0"))[0] == 400


# Methods


@pytest.mark.parametrize("method", ["get", "Get", "gET", "head", "post"])
def test_a_method_is_case_sensitive(door, method):
    """RFC 9110, section 9.1: methods are case-sensitive, so `get` is not GET; an unknown one is 501 or 405."""
    assert statuses(door, healthcheck("Host: a", method=method))[0] in (400, 405, 501)


@pytest.mark.parametrize("method", ["PROPFIND", "M-SEARCH", "TRACE", "GETX", "A" * 100])
def test_an_unknown_method_is_an_error(door, method):
    """RFC 9110, section 9.1: 501 or 405. A TRACE that is answered would show credentials to scripts (9.3.8)."""
    assert statuses(door, healthcheck("Host: a", method=method))[0] in (400, 405, 501)


@pytest.mark.parametrize("method", ["G(T", "G/T", "G:T", "G\x00T", "Gé"])
def test_a_method_that_is_no_token_is_400(door, method):
    """RFC 9110, section 9.1, and RFC 9112, section 3: a method is a token, and an invalid request line is 400."""
    assert statuses(door, healthcheck("Host: a", method=method)) == [400]


# Targets


@pytest.mark.parametrize("target", ["http://loaner.test/healthcheck", "http://other.test:1234/healthcheck"])
def test_the_absolute_form_is_accepted(door, target):
    """RFC 9112, section 3.2.2: a server must accept it, and ignore Host in favor of the target."""
    assert statuses(door, healthcheck("Host: loaner.test", target=target)) == [200, LAST_STATUS]


@pytest.mark.parametrize("target", ["healthcheck", "loaner.test:80", "*", "?a=b", "http:healthcheck"])
def test_a_target_without_slash_is_400(door, target):
    """RFC 9112, section 3.2: origin-form starts with a slash; 3.2.3 and 3.2.4: other forms are for other methods."""
    assert statuses(door, healthcheck("Host: loaner.test", target=target))[0] == 400


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/%ff/2020-02-29", (401,)), ("/%C3/%28", (401,)), ("/%00", (404,)), ("/%2e%2e/healthcheck", (401, 404)),
        ("/%", (400, 404)), ("/%zz", (400, 404)), ("/\xff", (400, 404)), ("/healthcheck%", (400, 404)),
        ("/healthcheck?%ff=%ff", (400,)), ("/healthcheck?a=\xff", (400,)), ("//healthcheck", (200, 308, 404)),
        ("/healthcheck#fragment", (200, 400)), ("/healthcheck\x7f", (400, 404)), ("/healthcheck|", (400, 404)),
    ],
)  # fmt: skip
def test_an_odd_target_is_no_failure(door, target, expected):
    """RFC 3986, sections 2.1 and 3.3: octets that are not UTF-8 may be escaped; others must be."""
    assert statuses(door, healthcheck("Host: a", target=target))[0] in expected


def test_connect_is_an_error(door):
    """RFC 9110, section 9.3.6: an origin server that does not tunnel responds with an error."""
    reply = door.send(b"CONNECT loaner.test:80 HTTP/1.1\r\nHost: loaner.test:80\r\n\r\n")
    assert reply is not None
    assert 400 <= reply.status < 600


def test_options_of_the_server_is_no_failure(door):
    """RFC 9112, section 3.2.4: `*` is valid with OPTIONS; RFC 9110, section 9.3.7: it asks what the server can do."""
    assert statuses(door, healthcheck("Host: a", method="OPTIONS", target="*"))[0] in (200, 204, 400, 404, 405, 501)


@pytest.mark.parametrize(
    "line",
    [
        "GET  /healthcheck HTTP/1.1", "GET /healthcheck", "GET /health check HTTP/1.1", "GET\t/healthcheck HTTP/1.1",
        "GET /healthcheck HTTP/1.1 x", "GET /healthcheck HTTQ/1.1", "GET /healthcheck http/1.1", "/healthcheck",
    ],
)  # fmt: skip
def test_a_malformed_request_line_is_400(door, line):
    """RFC 9112, section 3: an invalid request line should be 400; it must not be corrected and then processed."""
    assert statuses(door, f"{line}\r\nHost: a\r\n\r\n".encode()) in ([400], [])


# Bodies


def post(*framing: str, content: bytes, authorization: str) -> bytes:
    headers = [("Authorization", authorization), *JSON.items()]
    head = request_bytes("POST", "/api/v1/balances", headers).removesuffix(b"\r\n")
    return head + "\r\n".join([*framing, "", ""]).encode("latin-1") + content


CHUNKED_BODY = chunk(BALANCES) + b"0\r\n\r\n"
SIZE = len(BALANCES)


@pytest.mark.parametrize(
    ("framing", "content"),
    [
        (["Transfer-Encoding: chunked"], CHUNKED_BODY),
        (["Transfer-Encoding: CHUNKED"], CHUNKED_BODY),  # RFC 9112, section 7: names are case-insensitive
        (["transfer-encoding:chunked \t"], CHUNKED_BODY),  # section 5: whitespace around a value is not part of it
        ([f"Content-Length: {SIZE}"], BALANCES),
        ([f"Content-Length: 000{SIZE}"], BALANCES),  # RFC 9110, section 8.6: 1*DIGIT
        (["Transfer-Encoding: chunked"], b"%x;a=b;c=\"d\"\r\n%s\r\n0;e\r\n\r\n" % (SIZE, BALANCES)),  # 7.1.1: ignored
        (["Transfer-Encoding: chunked"], b"000%X\r\n%s\r\n000\r\n\r\n" % (SIZE, BALANCES)),  # 7.1: 1*HEXDIG
        (["Transfer-Encoding: chunked"], chunk(BALANCES) + b"0\r\nA: b\r\nC: d\r\n\r\n"),  # 7.1.2: trailers
        (["Expect: 100-continue", f"Content-Length: {SIZE}"], BALANCES),  # RFC 9110, section 10.1.1
    ],
)  # fmt: skip
def test_valid_framing_is_read_exactly(door, authorization, framing, content):
    reply, last = exchange(door, post(*framing, content=content, authorization=authorization))
    assert (reply.status, last.status) == (400, LAST_STATUS)
    assert b"loan_ids" in reply.body  # the body was parsed


@pytest.mark.parametrize(
    "framing",
    [
        [f"Content-Length: {SIZE}", f"Content-Length: {SIZE + 1}"], [f"Content-Length: {SIZE}, {SIZE + 1}"],
        ["Content-Length: -1"], [f"Content-Length: +{SIZE}"], [f"Content-Length: {SIZE}x"], ["Content-Length:"],
        [f"Content-Length: 0x{SIZE:x}"], [f"Content-Length: {SIZE}.0"], [f"Content-Length: {SIZE} {SIZE}"],
        ["Content-Length: 99999999999999999999999"], ["Content-Length: ١"],
    ],
    ids=lambda framing: " ".join(framing).encode("ascii", "replace").decode(),
)  # fmt: skip
def test_an_invalid_content_length_is_400_and_ends_the_connection(door, authorization, framing):
    """RFC 9112, section 6.3: the error is unrecoverable; the server must respond with 400 and close."""
    framing = [line.encode().decode("latin-1") for line in framing]
    assert statuses(door, post(*framing, content=BALANCES, authorization=authorization)) == [400]


@pytest.mark.parametrize("framing", [[f"Content-Length: {SIZE}"] * 2, [f"Content-Length: {SIZE}, {SIZE}"]])
def test_a_repeated_content_length_is_400_or_counts_once(door, authorization, framing):
    """RFC 9112, section 6.3: the recipient rejects a list of equal values, or uses that value."""
    replies = exchange(door, post(*framing, content=BALANCES, authorization=authorization))
    assert replies[0].status == 400
    assert len(replies) == 1 or (b"loan_ids" in replies[0].body and replies[1].status == LAST_STATUS)


@pytest.mark.parametrize(
    "framing",
    [
        ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], ["Transfer-Encoding: chunked, chunked"],
        ["Transfer-Encoding: identity"], ["Transfer-Encoding: identity, chunked"], ["Transfer-Encoding: gzip, chunked"],
        ["Transfer-Encoding: gzip", "Transfer-Encoding: chunked"], ["Transfer-Encoding: chunked, identity"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"], ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding: chunked;a=b"], ["Transfer-Encoding: \x0bchunked"], ['Transfer-Encoding: "chunked"'],
        ["Transfer-Encoding: chunked,"], ["Transfer-Encoding: "],
    ],
    ids=lambda framing: " ".join(framing).replace("\x0b", "VT "),
)  # fmt: skip
def test_a_transfer_encoding_other_than_one_chunked_is_refused(door, authorization, framing):
    """RFC 9112, section 6.1: 501 for an unknown coding, and chunked at most once; 6.3: otherwise 400 and close."""
    replies = exchange(door, post(*framing, content=CHUNKED_BODY, authorization=authorization))
    assert [reply.status in (400, 501) for reply in replies] == [True]
    assert b"loan_ids" not in replies[0].body


@pytest.mark.parametrize(
    "framing",
    [
        ["Content-Length: 5", "Transfer-Encoding: chunked"], ["Transfer-Encoding: chunked", "Content-Length: 5"],
        ["Transfer-Encoding: chunked", "Content-Length: 0"], ["Content-Length: 500", "Transfer-Encoding: chunked"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_the_connection_ends_after_content_length_beside_chunked(door, authorization, framing):
    """RFC 9112, section 6.1: the server processes it by Transfer-Encoding alone or rejects it, and must close."""
    content = CHUNKED_BODY + SMUGGLED
    assert statuses(door, post(*framing, content=content, authorization=authorization)) == [400]


def test_a_chunked_request_of_http_1_0_ends_the_connection(door, authorization):
    """RFC 9112, section 6.1: its framing counts as faulty, even with Content-Length; the server must close."""
    data = post(
        "Transfer-Encoding: chunked", "Connection: keep-alive", content=CHUNKED_BODY, authorization=authorization
    )
    assert statuses(door, data.replace(b"HTTP/1.1", b"HTTP/1.0", 1) + SMUGGLED) in ([400], [])


MALFORMED_CHUNKS = {
    "bare LF": b"%x\n%s\n0\n\n",
    "bare LF after a chunk": b"%x\r\n%s\n0\r\n\r\n",
    "bare LF after an extension": b"%x;\n%s\r\n0\r\n\r\n",
    "a chunk that is longer than its size": b"%x\r\n%sX\r\n0\r\n\r\n",
    "a hexadecimal prefix": b"0x%x\r\n%s\r\n0\r\n\r\n",
    "a sign": b"+%x\r\n%s\r\n0\r\n\r\n",
    "an empty line before the size": b"\r\n%x\r\n%s\r\n0\r\n\r\n",
    "a size of 68 bits": b"1%016x\r\n%s\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("content", MALFORMED_CHUNKS.values(), ids=MALFORMED_CHUNKS)
def test_malformed_chunks_are_400_and_end_the_connection(door, authorization, content):
    """RFC 9112, sections 7.1 and 7.1.1; with a lenient proxy in front, each is a way to smuggle a request."""
    content %= (SIZE, BALANCES)
    replies = exchange(door, post("Transfer-Encoding: chunked", content=content, authorization=authorization))
    assert [reply.status for reply in replies] == [400]
    assert b"loan_ids" not in replies[0].body


# Header fields


@pytest.mark.parametrize(
    "lines",
    [
        ("Host : a",), ("Host: a", "Content-Length : 0"), ("Host: a", "Transfer-Encoding : chunked"),  # 5.1
        ("Host: a", "A: b", " folded: c"), ("Host: a", "A: b", "\tfolded"),  # 5.2
        (" Host: a",), ("Host: a", "no colon"), ("Host: a", ": b"), ("Host: a", "A b: c"), ("Host: a", "A(b): c"),  # 5
        ("Host: a", "A: b\x00c"), ("Host: a", "A: b\rc"),  # RFC 9110, section 5.5
    ],
    ids=lambda lines: repr(lines[-1]),
)  # fmt: skip
def test_a_malformed_header_line_is_400_or_has_no_effect(door, lines):
    """RFC 9112, sections 5 to 5.2, and RFC 9110, section 5.5: 400; folding may also be replaced by a space."""
    assert statuses(door, healthcheck(*lines)) in ([400], [])


@pytest.mark.parametrize(
    "name", ["Authorization", "Cookie", "Content-Type", "X-Forwarded-For", "X-Request-ID", "Accept", "If-None-Match",
             "Connection", "Via", "Idempotency-Key", "Origin", "User-Agent"],
)  # fmt: skip
@pytest.mark.parametrize("value", ["\xff\xfe", "é", "", ",", ";=", '"', "a" * 4000])
def test_an_odd_value_is_no_failure(door, name, value):
    """RFC 9110, section 5.5: octets above 127 are opaque data."""
    assert statuses(door, healthcheck("Host: a", f"{name}: {value}"))[0] == 200
    assert statuses(door, healthcheck("Host: a", f"{name}: {value}", target="/1/2020-02-29"))[0] == 401


@pytest.mark.parametrize("name", ["Authorization", "Content-Type", "Idempotency-Key", "If-Match"])
def test_a_repeated_field_that_is_no_list_is_400(door, authorization, name):
    """RFC 9110, section 5.3: a sender must not repeat such a field; a proxy may have judged another one of them."""
    first = authorization if name == "Authorization" else "application/json"
    lines = ["Host: a", f"{name}: {first}", f"{name}: other"]
    assert statuses(door, healthcheck(*lines, method="POST", target="/api/v1/loan"))[0] == 400


@pytest.mark.parametrize("protocol", ["websocket", "h2c", "HTTP/2.0", "TLS/1.0"])
def test_an_upgrade_is_ignored_or_refused(door, protocol):
    """RFC 9110, section 7.8: a server may ignore Upgrade; 101 is never the reply."""
    lines = [
        "Host: a", "Connection: Upgrade, HTTP2-Settings", f"Upgrade: {protocol}", "HTTP2-Settings: AAMAAABk",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13",
    ]  # fmt: skip
    first, last = statuses(door, healthcheck(*lines))
    assert (first, last) == (400 if protocol == "websocket" else 200, LAST_STATUS)  # the framework routes no websocket


def test_a_bare_line_feed_does_not_hide_a_request(door):
    """RFC 9112, section 2.2: a recipient may accept a bare LF as the end of a line."""
    found = statuses(door, b"GET /healthcheck HTTP/1.1\nHost: a\n\n")
    assert found in ([200, LAST_STATUS], [400])


def test_an_empty_line_before_a_request_is_ignored(door):
    """RFC 9112, section 2.2: a server should ignore at least one CRLF before the request line."""
    assert statuses(door, b"\r\n" + healthcheck("Host: a")) == [200, LAST_STATUS]


@pytest.mark.parametrize(
    "data",
    [
        healthcheck("Host: a", *(f"A{number}: b" for number in range(150))),
        healthcheck("Host: a", f"A: {'b' * 2_000_000}"),
        healthcheck("Host: a", target=f"/{'a' * 2_000_000}"),
    ],
    ids=["150 fields", "a long field", "a long target"],
)
def test_a_head_that_is_too_large_is_refused(door, data):
    """RFC 6585, section 5: 431; RFC 9112, section 3: 414."""
    with door.connect(timeout_s=10) as connection:
        with contextlib.suppress(OSError):  # the service ends the connection before it has read everything
            connection.send(data)
        reply = connection.read_reply()
        assert reply is None or reply.status in (400, 414, 431)
        assert connection.is_ended(within_s=5)


OTHER_PROTOCOLS = {
    "the HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/2.0": healthcheck("Host: a", version="2.0"),
    "a TLS handshake": b"\x16\x03\x01\x02\x00\x01\x00",
    "zeros": b"\x00" * 100,
    "no ASCII": b"\xff" * 100,
}


@pytest.mark.parametrize("data", OTHER_PROTOCOLS.values(), ids=OTHER_PROTOCOLS)
def test_other_protocols_are_refused(door, data):
    """RFC 9110, section 15.6.6: 505; RFC 9112, section 2.2: what is no request is 400, and the connection ends."""
    with door.connect(timeout_s=10) as connection:
        connection.send(data + b"\r\n\r\n")
        reply = connection.read_reply()
        assert reply is None or reply.status in (400, 505)
        assert connection.is_ended(within_s=5)


def test_pipelined_requests_are_answered_in_order(door):
    """RFC 9112, section 9.3.2."""
    paths = ["/healthcheck", "/version", "/healthcheck", "/no/such/page"] * 5
    data = b"".join(healthcheck("Host: a", target=path) for path in paths)
    expected = [404 if path.startswith("/no") else 200 for path in paths]
    assert statuses(door, data) == [*expected, LAST_STATUS]


def test_the_service_is_intact_afterwards(door):
    assert door.get("/healthcheck").status == 200
    assert len(door.workers()) == 1
