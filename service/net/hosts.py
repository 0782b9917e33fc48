"""Parses the lists of servers in settings, such as `PSQL_HOST`."""

import re
from dataclasses import dataclass
from ipaddress import ip_address

from service.net.urls import with_port

_EXPECTED = "expected hosts separated by commas, such as db1, db2:5433, [2001:db8::1]:5432"
_HOST_AND_PORT = re.compile(r"(?P<name>\[[^\]]+\]|[^:\[\]]+):(?P<port>[0-9]{1,5})")
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_.])?")  # names of containers may contain underscores


@dataclass(frozen=True)
class Host:
    """Address of a server.

    Attributes:
        name: Host name, IP address, or directory of the server's Unix socket.
        port: Port number.
    """

    name: str
    port: int

    def __str__(self) -> str:
        return with_port(self.name, self.port)


def parse_hosts(text: str, default_port: int) -> tuple[Host, ...]:
    """Parse a comma-separated list of hosts, in its order.

    Args:
        text: Hosts, each with an optional port.
        default_port: Port of the hosts without one.

    Raises:
        ValueError: If an entry is malformed or listed twice. The message says what is expected.
    """
    hosts = tuple(Host(name, port or default_port) for name, port in _parse_entries(text))
    for number, host in enumerate(hosts):
        if host in hosts[:number]:
            raise ValueError(f"{host} is listed twice; {_EXPECTED}")
    return hosts


def normalized(text: str, default_port: int) -> str:
    """Return the canonical spelling of a list of hosts.

    Args:
        text: Hosts, each with an optional port.
        default_port: Port of the hosts without one; used only to detect duplicates.

    Raises:
        ValueError: If an entry is malformed or listed twice.
    """
    parse_hosts(text, default_port)
    return ", ".join(with_port(name, port) if port else name for name, port in _parse_entries(text))


def checked_name(text: str) -> str:
    """Return the name of one host as it is written.

    Raises:
        ValueError: If the text is not a host name or an IP address.
    """
    if text.startswith("/"):
        raise ValueError("expected a host name")
    _parse_name(text)
    return text


def _parse_entries(text: str) -> list[tuple[str, int | None]]:
    return [_parse_entry(entry.strip()) for entry in text.split(",")]


def _parse_entry(text: str) -> tuple[str, int | None]:
    match = _HOST_AND_PORT.fullmatch(text)
    if match is None:
        return _parse_name(text), None
    port = int(match["port"])
    if not 1 <= port <= 65535:
        raise ValueError(f"{port} is not a port number; {_EXPECTED}")
    return _parse_name(match["name"]), port


def _parse_name(text: str) -> str:
    if text.startswith("/") and text.isprintable():
        return text
    inner = text[1:-1] if re.fullmatch(r"\[.*:.*\]", text) else text
    try:
        # A name whose last label is a number is an IPv4 address, as in URLs. A port without a host is thus rejected.
        if ":" in inner or re.fullmatch(r"(?:.*\.)?[0-9]+", inner):
            return str(ip_address(inner))
    except ValueError:
        raise ValueError(_EXPECTED) from None
    if not _NAME.fullmatch(inner.lower()):
        raise ValueError(_EXPECTED)
    return inner.lower()
