"""Where a request came from, as the proxies in front report it."""

import ipaddress
import logging
import re
from functools import lru_cache
from threading import Thread
from typing import NamedTuple

from service.errors import RequestRefused
from service.web.door.framing import Headers, is_host

log = logging.getLogger(__name__)

_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")
_FORWARDED = frozenset((b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-prefix"))
MAX_PROXIES = 20  # between the client and the service
MAX_ADDRESS = 100  # characters, with the zone and the port
_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")


class Origin(NamedTuple):
    """Where a request came from.

    Args:
        address: The client's IP address; empty if a proxy reported something else.
        trusted: Whether the peer is a trusted proxy.
        scheme: The scheme that the client used.
        host: The host that the client used; None if the request names none.
        prefix: The path under which the client reaches the service; empty without one.
    """

    address: str
    trusted: bool
    scheme: str
    host: bytes | None
    prefix: str


class TrustedProxies:
    """Applies X-Forwarded-For, -Proto, -Host and -Prefix of trusted networks.

    If several proxies have appended addresses, the client is the last one outside the trusted networks. Headers from
    other peers are ignored. The first such peer that sends a prefix is logged, since links are wrong behind a gateway
    that is not trusted.

    Args:
        networks: The trusted networks, separated by ", ".
    """

    def __init__(self, networks: str) -> None:
        self._networks = [ipaddress.ip_network(network) for network in networks.split(", ") if network]
        self._is_trusted = lru_cache(10_000)(self._contains)
        self._warned = False

    def origin(self, peer: str, scheme: str, headers: Headers) -> Origin:
        """Return where a request came from.

        Args:
            peer: The address that has connected.
            scheme: The scheme of the connection.
            headers: The headers of the request.

        Raises:
            RequestRefused: If a trusted proxy reports a scheme, a host or a prefix that cannot be used.
        """
        host = headers.get(b"host")
        if not self._is_trusted(peer):
            if not self._warned and b"x-forwarded-prefix" in headers:
                self._warned = True
                # A thread, because the event loop would wait while nothing reads standard error.
                message = "ignoring X-Forwarded-Prefix from %s, which is not in TRUSTED_PROXIES"
                Thread(target=log.warning, args=(message, peer), daemon=True).start()
            return Origin(peer, False, scheme, host, "")
        if _FORWARDED.isdisjoint(headers):
            return Origin(peer, True, scheme, host, "")
        forwarded_for = headers.get(b"x-forwarded-for")
        prefix = _last(headers, b"x-forwarded-prefix")
        if prefix and not (_PREFIX.fullmatch(prefix) and {".", ".."}.isdisjoint(prefix.split("/"))):
            raise RequestRefused(400, "X-Forwarded-Prefix: expected a plain path such as /loaner")
        forwarded_scheme = _last(headers, b"x-forwarded-proto").lower()
        if forwarded_scheme not in ("", "http", "https"):
            raise RequestRefused(400, "X-Forwarded-Proto: expected http or https")
        forwarded_host = _last(headers, b"x-forwarded-host").encode("latin-1")
        if forwarded_host and not is_host(forwarded_host):
            raise RequestRefused(400, "X-Forwarded-Host: expected a host such as example.com:80")
        return Origin(
            peer if forwarded_for is None else self._find_client(forwarded_for),
            True,
            forwarded_scheme or scheme,
            forwarded_host or host,
            prefix.rstrip("/"),
        )

    def _find_client(self, forwarded_for: bytes) -> str:
        """Return the address that connected to the first trusted proxy."""
        # A client may have sent very many addresses. Only those that trusted proxies have appended are read.
        *previous, nearest = forwarded_for.rsplit(b",", MAX_PROXIES)
        client = _parse_address(nearest)
        while previous and self._is_trusted(client):
            client = _parse_address(previous.pop())
        return client

    def _contains(self, peer: str) -> bool:
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)


def _last(headers: Headers, name: bytes) -> str:
    """Return the value that the nearest proxy has appended; empty without the header."""
    value = headers.get(name)
    return "" if value is None else value.decode("latin-1").rpartition(",")[2].strip()


def _parse_address(value: bytes) -> str:
    """Return an address without its port, which some proxies append; empty if it is not one."""
    value = value.strip()
    return _parse_short_address(value) if len(value) <= MAX_ADDRESS else ""


@lru_cache(10_000)
def _parse_short_address(value: bytes) -> str:
    text = value.decode("latin-1")
    match = _WITH_PORT.fullmatch(text)
    try:
        return str(ipaddress.ip_address(match[1] or match[2] if match else text))
    except ValueError:
        return ""
