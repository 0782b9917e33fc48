"""What HTTP obliges a server to refuse in the head of a request, and the server below lets through."""

import re
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Any

from service.errors import RequestRefused

Scope = dict[str, Any]  # a request's connection scope (ASGI 3.0)
Headers = dict[bytes, bytes]  # by lower-case name

# RFC 3986, section 3.2: a registered name or an address, and a port. Userinfo is forbidden in Host (RFC 9110, 4.2.4).
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)(?::([0-9]{0,5}))?")
MAX_HOST = 261  # a name of 255 characters (RFC 3986, section 3.2.2), a colon and a port
_HTTP_1_0 = ("1.0", "1")  # as ASGI writes it, and as the server does
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"))
# Fields that are not lists. A request that repeats one says two things (RFC 9110, section 5.3).
_SINGULAR = frozenset((b"host", b"authorization", b"content-type", b"idempotency-key", b"if-none-match", b"if-match"))


def read_headers(scope: Scope) -> Headers:
    """Return the headers of a request.

    Names with an underscore are dropped: in CGI and WSGI they have the same variables as names with a hyphen, so a
    client could override what a proxy has set. Repeated fields are joined (RFC 9110, section 5.2).

    Raises:
        RequestRefused: If a field that must occur once is repeated.
    """
    fields = scope["headers"]
    headers = dict(fields)
    if len(headers) == len(fields) and b"_" not in b"".join(headers):
        return headers
    headers = {}
    for name, value in fields:
        if b"_" in name:
            continue
        if name in headers:
            if name in _SINGULAR:
                raise RequestRefused(400, f"repeated header: {name.decode('ascii', 'replace')}", closes=True)
            if name == b"content-length" and value == headers[name]:
                continue  # RFC 9110, section 8.6; the server refuses different ones
            value = headers[name] + (b"; " if name == b"cookie" else b", ") + value
        headers[name] = value
    return headers


def check_framing(scope: Scope, headers: Headers) -> None:
    """Check the method, the target, the host and the transfer coding.

    Raises:
        RequestRefused: If the request is malformed, or could be read differently by a proxy in front.
    """
    method = scope["method"]
    if method not in _METHODS and method != method.upper():
        # RFC 9110, section 9.1: methods are case-sensitive.
        raise RequestRefused(400, "expected a method in capitals, such as GET", closes=True)
    if not scope["path"].startswith("/"):  # also "*", which only a server as a whole answers
        raise RequestRefused(
            400, "expected a request target that begins with a slash", closes=True
        )  # RFC 9112, section 3.2
    host = headers.get(b"host", b"")  # the server makes a missing one empty
    if not is_host(host) and (host or scope["http_version"] not in _HTTP_1_0):
        # RFC 9112, section 3.2. Only HTTP/1.0 does without.
        raise RequestRefused(400, "expected a Host header such as example.com:80", closes=True)
    coding = headers.get(b"transfer-encoding")
    if coding is not None:
        if coding.lower() != b"chunked":
            raise RequestRefused(
                400, "expected exactly one Transfer-Encoding: chunked", closes=True
            )  # RFC 9112, section 6.1
        if scope["http_version"] in _HTTP_1_0:
            raise RequestRefused(400, "HTTP/1.0 has no Transfer-Encoding", closes=True)  # RFC 9112, section 6.1


def is_host(value: bytes) -> bool:
    """Return whether a value is a host, and optionally a port (RFC 9110, section 7.2)."""
    return len(value) <= MAX_HOST and _is_host(value)  # clients choose what is cached, so it must be short


@lru_cache(1024)
def _is_host(value: bytes) -> bool:
    match = _HOST.fullmatch(value)
    if match is None or int(match[2] or 1) not in range(1, 65536):
        return False
    if value.startswith(b"["):
        try:
            IPv6Address(match[1][1:-1].decode())
        except ValueError:
            return False
    return True


def has_body(headers: Headers) -> bool:
    """Return whether a request has a body (RFC 9112, section 6.3)."""
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
