"""The address that the service listens on."""

import errno
import socket
import time
from typing import Literal

from service.errors import SettingsError
from service.net.urls import with_port
from service.settings import ServerSettings, TlsSettings

PREDECESSOR_TIMEOUT_S = 3  # the workers of a killed parent need a moment to release the port


def scheme(tls: TlsSettings) -> Literal["http", "https"]:
    """Return the scheme of the service's URLs."""
    return "http" if tls.cert is None else "https"


def host_and_port(settings: ServerSettings) -> str:
    """Return the address as it appears in a URL."""
    return with_port(settings.listen_host, settings.port)


def local_url(settings: ServerSettings, tls: TlsSettings) -> str:
    """Return the URL of the service on this machine."""
    wildcards = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
    return f"{scheme(tls)}://{with_port(wildcards.get(settings.listen_host, settings.listen_host), settings.port)}"


def check_address(settings: ServerSettings) -> None:
    """Check that the service can listen on its address.

    The server itself would share a port that is already in use, and receive only some of the requests.

    Raises:
        SettingsError: If the address is in use, or does not belong to this machine.
    """
    family = socket.AF_INET6 if ":" in settings.listen_host else socket.AF_INET
    deadline = time.monotonic() + PREDECESSOR_TIMEOUT_S
    while True:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((settings.listen_host, settings.port))
                return
            except OSError as err:
                if err.errno == errno.EADDRNOTAVAIL:
                    raise SettingsError(
                        f"LISTEN_HOST: {settings.listen_host} is not an address of this machine"
                    ) from err
                if err.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                    raise SettingsError(f"PORT: cannot listen on {host_and_port(settings)}: {err.strerror}") from err
        time.sleep(0.1)
