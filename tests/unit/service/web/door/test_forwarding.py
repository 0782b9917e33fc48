"""Where a request came from, as proxies report it."""

import ipaddress
import tracemalloc

import pytest

from service.errors import RequestRefused
from service.web.door.forwarding import Origin, TrustedProxies

PROXIES = TrustedProxies("10.0.0.0/8, fd00::/8")


def origin(peer="10.0.0.1", **headers):
    encoded = {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in headers.items()}
    return PROXIES.origin(peer, "http", {b"host": b"inner", **encoded})


@pytest.mark.parametrize(
    ("forwarded_for", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:DB8::1", "2001:db8::1"),
        (" 203.0.113.7 , 10.0.0.2:80 ", "203.0.113.7"),
        ("6.6.6.6, 203.0.113.7:1, 10.0.0.3, [fd00::1]:2", "203.0.113.7"),
        ("unknown", ""),
        ("203.0.113.7:port", ""),
        ("203.0.113.7:4711x", ""),
        ("[2001:db8::1]443", ""),
        ("[2001:db8::1", ""),
        ("203.0.113.7, nonsense, 10.0.0.2", ""),
        ("", ""),
    ],
)
def test_the_client_is_the_last_address_outside_the_trusted_networks(forwarded_for, address):
    assert origin(x_forwarded_for=forwarded_for).address == address


def test_an_untrusted_peer_is_the_client():
    headers = {"x_forwarded_for": "1.2.3.4", "x_forwarded_proto": "https", "x_forwarded_host": "evil"}
    assert origin("192.0.2.1", **headers, x_forwarded_prefix="/x") == Origin("192.0.2.1", False, "http", b"inner", "")


def test_a_trusted_proxy_reports_scheme_host_and_prefix():
    reported = origin(x_forwarded_proto="HTTPS", x_forwarded_host="a.example:81", x_forwarded_prefix="/loaner/")
    assert reported == Origin("10.0.0.1", True, "https", b"a.example:81", "/loaner")


def test_the_nearest_proxy_counts():
    reported = origin(x_forwarded_proto="ftp, https", x_forwarded_prefix="//evil, /a")
    assert (reported.scheme, reported.prefix) == ("https", "/a")


@pytest.mark.parametrize(
    "prefix", ["//evil", "//evil.example/x", "loaner", "/a b", "/a?b", "/a#b", "/a\\b", "/..", "/a/./b", "/a//b", '/"x']
)
def test_a_prefix_that_is_not_a_plain_path_is_refused(prefix):
    with pytest.raises(RequestRefused, match="X-Forwarded-Prefix: expected a plain path") as caught:
        origin(x_forwarded_prefix=prefix)
    assert caught.value.status == 400


@pytest.mark.parametrize("prefix", ["", "/", "/loaner", "/api/loaner", "/a.b/c~d_e-f"])
def test_a_plain_path_is_a_prefix(prefix):
    assert origin(x_forwarded_prefix=prefix).prefix == prefix.rstrip("/")


@pytest.mark.parametrize("scheme", ["ftp", "javascript", "https:", "http, ftp"])
def test_a_scheme_other_than_http_and_https_is_refused(scheme):
    with pytest.raises(RequestRefused, match="X-Forwarded-Proto"):
        origin(x_forwarded_proto=scheme)


def test_a_malformed_forwarded_host_is_refused():
    with pytest.raises(RequestRefused, match="X-Forwarded-Host"):
        origin(x_forwarded_host="a/b")


def test_addresses_that_a_client_sent_are_not_parsed(monkeypatch):
    """Parsing 30,000 of them would keep the event loop busy for a tenth of a second."""
    parsed = []
    parse = ipaddress.ip_address
    monkeypatch.setattr(ipaddress, "ip_address", lambda text: parsed.append(text) or parse(text))
    sent = ", ".join(f"6.{number >> 8}.{number & 255}.6" for number in range(30_000))
    assert origin(x_forwarded_for=f"{sent}, 203.0.113.8, 10.0.0.4").address == "203.0.113.8"
    assert set(parsed) <= {"203.0.113.8", "10.0.0.4", "10.0.0.1"}


def test_more_proxies_than_are_plausible_are_not_followed():
    assert origin(x_forwarded_for=", ".join(["203.0.113.7", *["10.0.0.3"] * 20])).address == "203.0.113.7"
    assert origin(x_forwarded_for=", ".join(["6.6.6.6", "203.0.113.7", *["10.0.0.3"] * 20])).address == ""


@pytest.mark.parametrize("text", ["{}{}", "6.6.6.{}{}", "fe80::1%{}{}", "[fe80::1]:{}{}"])
def test_no_long_address_stays_in_memory(text):
    origin(x_forwarded_for="203.0.113.7")
    tracemalloc.start()
    try:
        for number in range(100):
            assert origin(x_forwarded_for=text.format(number, "1" * 100_000)).address == ""
        assert tracemalloc.get_traced_memory()[0] < 300_000
    finally:
        tracemalloc.stop()
