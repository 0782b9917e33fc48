"""What HTTP obliges a server to refuse in the head of a request."""

import tracemalloc

import pytest

from service.errors import RequestRefused
from service.web.door.framing import check_framing, has_body, is_host, read_headers


def scope(method="GET", path="/", version="1.1", headers=((b"host", b"loans.example"),)):
    return {"method": method, "path": path, "http_version": version, "headers": list(headers)}


def check(**changes):
    given = scope(**changes)
    check_framing(given, read_headers(given))


def test_header_names_with_underscores_are_dropped():
    given = scope(headers=[(b"host", b"a"), (b"x_forwarded_for", b"1.2.3.4"), (b"content_length", b"5"), (b"_", b"")])
    assert read_headers(given) == {b"host": b"a"}


def test_repeated_list_fields_are_joined_in_order():
    """RFC 9110, section 5.2: the combined value consists of the values in order, each separated by a comma."""
    given = scope(headers=[(b"accept", b"a"), (b"cookie", b"x=1"), (b"accept", b"b"), (b"cookie", b"y=2")])
    assert read_headers(given) == {b"accept": b"a, b", b"cookie": b"x=1; y=2"}


@pytest.mark.parametrize("name", [b"host", b"authorization", b"content-type", b"idempotency-key", b"if-match"])
def test_a_repeated_field_that_is_not_a_list_is_refused(name):
    """RFC 9110, section 5.3: a sender must not generate several fields with a name that is not a list."""
    with pytest.raises(RequestRefused, match=f"repeated header: {name.decode()}") as caught:
        read_headers(scope(headers=[(name, b"a"), (name, b"a")]))
    assert (caught.value.status, caught.value.closes) == (400, True)


def test_equal_lengths_count_once():
    """RFC 9110, section 8.6: a recipient may replace identical values with a single one."""
    assert read_headers(scope(headers=[(b"content-length", b"5")] * 2)) == {b"content-length": b"5"}


@pytest.mark.parametrize("method", ["get", "Get", "gET", "post", "foo"])
def test_a_method_that_is_not_in_capitals_is_refused(method):
    """RFC 9110, section 9.1: the method token is case-sensitive."""
    with pytest.raises(RequestRefused, match="capitals"):
        check(method=method)


@pytest.mark.parametrize("method", ["GET", "POST", "PROPFIND", "M-SEARCH"])
def test_a_method_in_capitals_passes(method):
    check(method=method)


@pytest.mark.parametrize("path", ["", "*", "loan", "example.com:80"])
def test_a_target_without_a_slash_is_refused(path):
    """RFC 9112, section 3.2.1: the origin form begins with a slash."""
    with pytest.raises(RequestRefused, match="begins with a slash"):
        check(path=path)


@pytest.mark.parametrize(
    "host",
    [b"loans.example", b"loans.example:8080", b"127.0.0.1", b"[::1]", b"[2001:db8::1]:443", b"a_b", b"x:", b"a%20b"],
)
def test_a_host_passes(host):
    check(headers=[(b"host", host)])


@pytest.mark.parametrize(
    "host",
    [
        b"", b" ", b"a b", b"a/b", b"user@a", b"a:b", b"a:0", b"a:65536", b"a:1:2", b"[::1", b"[::1]x", b"[1.2.3.4]",
        b"::1", b"a%2", b"\xe9", b"a\\b", b"[::g]",
    ],
)  # fmt: skip
def test_a_malformed_host_is_refused(host):
    """RFC 9112, section 3.2: a server must respond with 400 to an invalid Host field value."""
    with pytest.raises(RequestRefused, match="Host"):
        check(headers=[(b"host", host)])


def test_only_http_1_0_does_without_a_host():
    """RFC 9112, section 3.2: a server must respond with 400 to an HTTP/1.1 request without a Host field."""
    check(version="1.0", headers=[])
    check(version="1.0", headers=[(b"host", b"")])
    with pytest.raises(RequestRefused, match="Host"):
        check(headers=[])
    with pytest.raises(RequestRefused, match="Host"):
        check(version="1.0", headers=[(b"host", b"a b")])


@pytest.mark.parametrize("coding", [b"", b"gzip", b"chunked, chunked", b"gzip, chunked", b"identity", b"chunked;q=1"])
def test_a_transfer_coding_other_than_chunked_is_refused(coding):
    """RFC 9112, section 7: a sender must not apply the chunked transfer coding more than once."""
    with pytest.raises(RequestRefused, match="Transfer-Encoding"):
        check(headers=[(b"host", b"a"), (b"transfer-encoding", coding)])


def test_two_transfer_codings_are_refused():
    with pytest.raises(RequestRefused, match="Transfer-Encoding"):
        check(headers=[(b"host", b"a"), *[(b"transfer-encoding", b"chunked")] * 2])


def test_chunked_passes_in_http_1_1_only():
    """RFC 9112, section 6.1: an HTTP/1.0 message with Transfer-Encoding has faulty framing."""
    headers = [(b"host", b"a"), (b"transfer-encoding", b"Chunked")]
    check(headers=headers)
    with pytest.raises(RequestRefused, match="Transfer-Encoding"):
        check(headers=headers, version="1.0")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, False), ({b"content-length": b"0"}, False), ({b"content-length": b"1"}, True),
        ({b"transfer-encoding": b"chunked"}, True),
    ],
)  # fmt: skip
def test_a_body_is_announced_by_its_length_or_coding(headers, expected):
    assert has_body(headers) == expected


def test_the_longest_name_is_a_host():
    name = b"a" * 255
    assert is_host(name + b":65535")
    assert not is_host(name + b"a:65535")


def test_no_long_host_stays_in_memory():
    """A client may send a head of 400 kB, and thousands of them."""
    is_host(b"warm-up")
    tracemalloc.start()
    try:
        for number in range(100):
            assert not is_host(b"%d" % number + b"a" * 300_000)
        assert tracemalloc.get_traced_memory()[0] < 300_000
    finally:
        tracemalloc.stop()
