"""What a client sends cannot pass for what a proxy has set, and what a proxy sends is taken only if it is plausible.

The service runs with variables in its environment that CGI would take for request headers (RFC 3875, section 4.1.18).
"""

import json
import re
from itertools import count

import pytest

from tests.support.door import FORM, JSON, TOKEN_FORM, Door, open_door
from tests.support.raw_http import RawReply, chunk, request_bytes

FORGED = "203.0.113.99"
DOCUMENTATION = "/api/v1"
BALANCES = json.dumps({"loan_ids": [1], "dates": ["2020-02-29"]}).encode()
UNKNOWN_LOAN = [{"loan_id": 1, "date": "2020-02-29", "error": "unknown-loan"}]  # the ledger is empty
_numbers = count(1)


@pytest.fixture(scope="module")
def door(databases, keys_dir, make_token):
    inherited = {
        "HTTP_X_FORWARDED_FOR": FORGED, "HTTP_X_FORWARDED_PREFIX": "/forged", "HTTP_X_FORWARDED_PROTO": "https",
        "HTTP_X_FORWARDED_HOST": "forged.test", "HTTP_X_REQUEST_ID": "forged", "HTTP_HOST": "forged.test",
        "HTTP_AUTHORIZATION": f"Bearer {make_token()}", "HTTP_VIA": "forged", "HTTP_IF_NONE_MATCH": "*",
        "HTTP_CONTENT_TYPE": "application/json", "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": "5",
        "REMOTE_ADDR": FORGED, "SCRIPT_NAME": "/forged", "QUERY_STRING": "forged=1", "HTTP_ACCEPT": "text/csv",
    }  # fmt: skip
    with databases.create() as settings, open_door(settings, keys_dir, **inherited) as door:
        yield door


@pytest.fixture(scope="module")
def authorization(make_token) -> str:
    return f"Bearer {make_token()}"


def logged_address(door: Door, headers: list[tuple[str, str]]) -> str:
    """Send a request with these headers and return the address in the access log."""
    name = f"address-{next(_numbers)}"
    reply = door.send(request_bytes("GET", "/version", [*headers, ("X-Request-ID", name)]))
    assert reply is not None
    assert reply.status == 200
    return door.access_line(name).split("] ")[1].split(" ")[0]


def page(door: Door, headers: list[tuple[str, str]]) -> RawReply:
    reply = door.send(request_bytes("GET", DOCUMENTATION, headers))
    assert reply is not None
    return reply


def base_of(reply: RawReply) -> str:
    """Return the path that relative links of the documentation refer to."""
    assert reply.status == 200, reply
    return re.search(rb'<base href="([^"]*)"', reply.body)[1].decode()


# Names with underscores: RFC 9110, section 5.1, makes X_Forwarded_For a field that is not X-Forwarded-For, while
# CGI and WSGI (RFC 3875, section 4.1.18) turn both into one variable.


@pytest.mark.parametrize("name", ["X_Forwarded_For", "X-Forwarded_For", "x_forwarded_for", "X_FORWARDED-FOR"])
def test_an_underscore_does_not_choose_the_address(door, name):
    assert logged_address(door, [(name, FORGED)]) == "127.0.0.1"
    assert logged_address(door, [("X-Forwarded-For", "198.51.100.1"), (name, FORGED)]) == "198.51.100.1"
    assert logged_address(door, [(name, FORGED), ("X-Forwarded-For", "198.51.100.1")]) == "198.51.100.1"


@pytest.mark.parametrize("name", ["X_Request_ID", "X-Request_Id", "X_Kong_Request_Id", "Kong_Request_ID"])
def test_an_underscore_does_not_choose_the_request_id(door, name):
    reply = door.get("/version", {name: "forged"})
    assert reply.header("X-Request-ID") not in (None, "forged")


def test_the_trace_of_a_request_is_in_its_line(door):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    reply = door.get("/version", {"X-Request-ID": "traced", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    assert reply.header("X-Request-ID") == "traced"
    assert door.access_line(f"traced,trace_id={trace}")


def test_an_underscore_does_not_choose_the_prefix_scheme_or_host(door):
    names = {"X_Forwarded_Prefix": "/forged", "X_Forwarded_Proto": "https", "X_Forwarded_Host": "forged.test"}
    assert base_of(page(door, list(names.items()))) == base_of(page(door, []))


@pytest.mark.parametrize("headers", [{"Content_Length": "5"}, {"Transfer_Encoding": "chunked"}])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_an_underscore_does_not_frame_the_body(door, authorization, headers, is_chunked):
    """RFC 9112, section 6.3, names the two fields that frame a body."""
    sent = [*headers.items(), ("Authorization", authorization), *JSON.items()]
    if is_chunked:
        sent.append(("Transfer-Encoding", "chunked"))
        data = request_bytes("POST", "/api/v1/balances", sent) + chunk(BALANCES) + b"0\r\n\r\n"
    else:
        data = request_bytes("POST", "/api/v1/balances", sent, BALANCES)
    reply = door.send(data)
    assert reply is not None
    assert reply.status == 200
    assert json.loads(reply.body)["balances"] == UNKNOWN_LOAN  # the body was read


def test_an_underscore_does_not_set_the_content_type(door, authorization):
    headers = {"Authorization": authorization, "Content_Type": "application/json"}
    reply = door.send(request_bytes("POST", "/api/v1/balances", headers, BALANCES))
    assert reply is not None
    assert reply.status == 415


def test_attempts_do_not_count_for_an_address_that_the_client_chose(door):
    """Otherwise a client could lock out another one, or never be locked out."""
    body = TOKEN_FORM + b"-wrong"

    def guess(name: str, address: str) -> int:
        reply = door.send(request_bytes("POST", "/token", [*FORM.items(), (name, address)], body))
        assert reply is not None
        return reply.status

    statuses = [guess("X_Forwarded_For", f"203.0.113.{number}") for number in range(7)]
    assert statuses == [401] * 5 + [429] * 2
    assert guess("X-Forwarded-For", "203.0.113.1") == 401


# The environment of the process


def test_variables_of_the_environment_are_no_headers(door):
    assert logged_address(door, []) == "127.0.0.1"
    assert door.get("/version").header("X-Request-ID") not in (None, "forged")
    assert "forged" not in base_of(page(door, []))
    assert door.get("/1/2020-02-29").status == 401  # the environment has a valid token
    assert door.get("/ready").status == 200  # 404 through a proxy, which `Via` shows
    reply = door.send(request_bytes("POST", "/token", [], TOKEN_FORM))
    assert reply is not None
    assert reply.status == 400  # the body has no type


# Trailers


def test_a_trailer_is_no_header(door, authorization):
    """RFC 9110, section 6.5.1: a recipient must not merge a trailer into the headers without knowing it is safe."""
    name = f"trailer-{next(_numbers)}"
    headers = {
        "Authorization": authorization, **JSON, "Transfer-Encoding": "chunked", "X-Request-ID": name,
        "Trailer": "X-Forwarded-For, X-Request-ID, Content-Type, Content-Length",
    }  # fmt: skip
    trailers = f"X-Forwarded-For: {FORGED}\r\nX-Request-ID: forged\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n"
    data = request_bytes("POST", "/api/v1/balances", headers) + chunk(BALANCES) + b"0\r\n" + trailers.encode() + b"\r\n"
    reply = door.send(data)
    assert reply is not None
    assert (reply.status, reply.header("X-Request-ID")) == (200, name)
    assert door.access_line(name).split("] ")[1].startswith("127.0.0.1 ")


# What trusted proxies send; 127.0.0.1 is one


@pytest.mark.parametrize(
    ("values", "address"),
    [
        (["203.0.113.7"], "203.0.113.7"), (["2001:db8::1"], "2001:db8::1"), (["2001:0DB8::1"], "2001:db8::1"),
        (["203.0.113.7:4711"], "203.0.113.7"), (["[2001:db8::1]:443"], "2001:db8::1"),
        (["[2001:db8::1]"], "2001:db8::1"),
        (["198.51.100.1, 203.0.113.7:4711"], "203.0.113.7"), (["203.0.113.7:4711, 127.0.0.1:80"], "203.0.113.7"),
        (["203.0.113.7, [::1]:80"], "203.0.113.7"), (["198.51.100.1", "203.0.113.7:1"], "203.0.113.7"),
        (["nonsense"], "-"), (["203.0.113.7:http"], "-"), (["203.0.113.7:"], "-"), (["[2001:db8::1"], "-"),
        (["unknown"], "-"), ([""], "-"), (["203.0.113.7 ERROR forged"], "-"), (["[203.0.113.7]x"], "-"),
        (["_hidden"], "-"), (["203.0.113.7:4711:1"], "-"),
    ],
)  # fmt: skip
def test_the_client_is_the_last_address_outside_the_trusted_networks(door, values, address):
    assert logged_address(door, [("X-Forwarded-For", value) for value in values]) == address


@pytest.mark.parametrize("prefix", ["/loaner", "/a/b-c_d.e~1"])
def test_a_plain_path_is_a_prefix(door, prefix):
    assert base_of(page(door, [("X-Forwarded-Prefix", prefix)])) == f"{prefix}{DOCUMENTATION}/"


@pytest.mark.parametrize(
    "prefix",
    [
        "//evil.test", "https://evil.test", "javascript:alert(1)", "evil.test", '/a"><script>', "/a b", "/a?b", "/a#b",
        "/\\evil.test", "/a//b", "/../a", "/a/./b", "/%2f%2fevil.test", "/a\tb", "/é", "/a;b", "/a@b", "/a:b",
    ],
)  # fmt: skip
def test_another_prefix_is_400(door, prefix):
    reply = page(door, [("X-Forwarded-Prefix", prefix)])
    assert reply.status == 400
    assert prefix.encode() not in reply.body


@pytest.mark.parametrize("scheme", ["ftp", "javascript", "https:", "https://a", "ht tp", "httpss", '"https"', "é"])
def test_a_scheme_other_than_http_or_https_is_400(door, scheme):
    assert page(door, [("X-Forwarded-Proto", scheme)]).status == 400


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_http_and_https_are_schemes(door, scheme):
    assert page(door, [("X-Forwarded-Proto", scheme)]).status == 200


@pytest.mark.parametrize("host", ["a b", "a/b", "u@a", "a:b", "[::1", "a:99999"])
def test_a_malformed_forwarded_host_is_400(door, host):
    assert page(door, [("X-Forwarded-Host", host)]).status == 400


@pytest.mark.parametrize("name", ["X-Request-ID", "X-Kong-Request-Id", "Kong-Request-ID"])
def test_the_id_of_a_trusted_proxy_is_kept(door, name):
    assert door.get("/version", {name: "abc#1"}).header("X-Request-ID") == "abc#1"


def test_the_documentation_restricts_what_it_loads(door):
    """Content Security Policy Level 3, section 6: without `base-uri`, injected markup could redirect links."""
    policy = page(door, []).header("Content-Security-Policy")
    assert policy is not None
    directives = {each.split()[0] for each in policy.split(";") if each.strip()}
    assert {"default-src", "base-uri", "frame-ancestors"} <= directives
    assert "unsafe-eval" not in policy


@pytest.mark.parametrize(
    "path", ["/a%0aINFO%20forged", "/a%0d%0aINFO%20forged", "/%1b[31mforged", "/%c2%85INFO%20forged"]
)
def test_a_path_cannot_forge_log_lines(door, path):
    name = f"path-{next(_numbers)}"
    assert door.get(path, {"X-Request-ID": name}).status == 404
    assert door.access_line(name).isprintable()
    assert "\nINFO" not in door.read_log()


@pytest.mark.parametrize("given", ["a b", "x" * 129, '"', "a, b", "é", ""])
def test_an_id_that_does_not_suit_a_log_line_is_replaced(door, given):
    found = door.get("/version", {"X-Request-ID": given}).header("X-Request-ID")
    assert found not in (None, given)


def test_two_ids_are_replaced(door):
    reply = door.send(request_bytes("GET", "/version", [("X-Request-ID", "first"), ("X-Request-ID", "second")]))
    assert reply is not None
    assert reply.header("X-Request-ID") not in ("first", "second")
