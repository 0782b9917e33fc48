"""The address the service listens on."""

import errno
import socket
import time
from typing import Literal

from service.errors import SettingsError
from service.net.urls import with_port
from service.settings import ServerSettings, TlsSettings

PREDECESSOR_TIMEOUT_S = 3  # the workers of a killed parent need a moment to leave the port


def scheme(tls: TlsSettings) -> Literal["http", "https"]:
    """What is spoken at this address."""
    return "http" if tls.cert is None else "https"


def shown(settings: ServerSettings) -> str:
    """host:port, as it stands in a URL."""
    return with_port(settings.listen_host, settings.port)


def own_url(settings: ServerSettings, tls: TlsSettings) -> str:
    """Where this machine itself reaches the service."""
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
    return f"{scheme(tls)}://{with_port(anywhere.get(settings.listen_host, settings.listen_host), settings.port)}"


def check_address(settings: ServerSettings) -> None:
    """Raises: SettingsError when the address cannot be listened on.

    The server itself would share its port with whoever else does, and answer only some of the requests.
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
                    raise SettingsError(f"LISTEN_HOST: {settings.listen_host} is no address of this machine") from err
                if err.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                    raise SettingsError(f"PORT: {shown(settings)} cannot be used: {err.strerror}") from err
        time.sleep(0.1)
