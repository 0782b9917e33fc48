"""Several servers that do one thing, as a setting names them: those of a database, those of a cache."""

import re
from dataclasses import dataclass
from ipaddress import ip_address

from service.net.urls import with_port

_EXPECTED = "expected hosts with commas between, such as db1, db2:5433, [2001:db8::1]:5432"
_PORT_BEHIND = re.compile(r"(?P<name>\[[^\]]+\]|[^:\[\]]+):(?P<port>[0-9]{1,5})")
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_.])?")  # of a machine, or of a container, which may have a _


@dataclass(frozen=True)
class Host:
    """Where one server listens. name: a name, an address, or the folder of its Unix socket."""

    name: str
    port: int

    def __str__(self) -> str:
        return with_port(self.name, self.port)


def parse_hosts(text: str, default_port: int) -> tuple[Host, ...]:
    """The hosts in their order. default_port: of those that name none.

    Raises: ValueError saying what was expected.
    """
    hosts = tuple(Host(name, port or default_port) for name, port in _parts(text))
    for number, host in enumerate(hosts):
        if host in hosts[:number]:
            raise ValueError(f"{host} is there twice; {_EXPECTED}")
    return hosts


def normalized(text: str, default_port: int) -> str:
    """The same hosts, written in one way. Raises: ValueError."""
    parse_hosts(text, default_port)
    return ", ".join(with_port(name, port) if port else name for name, port in _parts(text))


def _parts(text: str) -> list[tuple[str, int | None]]:
    return [_part(part.strip()) for part in text.split(",")]


def _part(text: str) -> tuple[str, int | None]:
    match = _PORT_BEHIND.fullmatch(text)
    if match is None:
        return _name(text), None
    port = int(match["port"])
    if not 1 <= port <= 65535:
        raise ValueError(f"{port} is no port; {_EXPECTED}")
    return _name(match["name"]), port


def _name(text: str) -> str:
    if text.startswith("/") and text.isprintable():
        return text
    inner = text[1:-1] if re.fullmatch(r"\[.*:.*\]", text) else text
    try:
        # what ends in a number is an address, as in a URL: so a port without a host is not taken for a name
        if ":" in inner or re.fullmatch(r"(?:.*\.)?[0-9]+", inner):
            return str(ip_address(inner))
    except ValueError:
        raise ValueError(_EXPECTED) from None
    if not _NAME.fullmatch(inner.lower()):
        raise ValueError(_EXPECTED)
    return inner.lower()
