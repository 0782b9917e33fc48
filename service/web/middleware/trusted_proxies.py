"""Applies the X-Forwarded-* headers of trusted proxies."""

import ipaddress
import logging
from collections.abc import Iterable
from typing import Any

from werkzeug.middleware.proxy_fix import ProxyFix

log = logging.getLogger(__name__)


class TrustedProxies:
    """WSGI middleware that applies X-Forwarded-For, -Proto, -Host and -Prefix from trusted networks.

    If several proxies have appended addresses, the client is the last one outside the trusted networks. Headers from
    other peers are ignored. The first such peer that sends a prefix is logged, since links are wrong behind a gateway
    that is not trusted.

    Args:
        application: The application.
        networks: The trusted networks, separated by ", ".
    """

    def __init__(self, application: Any, networks: str) -> None:
        self._application = application
        self._behind_proxy = ProxyFix(application, x_for=1, x_proto=1, x_host=1, x_prefix=1)
        self._networks = [ipaddress.ip_network(network) for network in networks.split(", ") if network]
        self._trusted: dict[str, bool] = {}
        self._warned = False

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Apply the headers if the peer is trusted, then call the application."""
        peer = environ.get("REMOTE_ADDR") or ""
        trusted = self._trusted.get(peer)
        if trusted is None:
            if len(self._trusted) > 10_000:
                self._trusted.clear()
            trusted = self._trusted[peer] = self._is_trusted(peer)
        environ["loaner.trusted_proxy"] = trusted
        if trusted:
            if "HTTP_X_FORWARDED_FOR" in environ:
                environ["HTTP_X_FORWARDED_FOR"] = self._client(environ["HTTP_X_FORWARDED_FOR"])
            return self._behind_proxy(environ, start_response)
        if "HTTP_X_FORWARDED_PREFIX" in environ and not self._warned:
            self._warned = True
            log.warning("ignoring X-Forwarded-Prefix from %s, which is not in TRUSTED_PROXIES", peer)
        return self._application(environ, start_response)  # type: ignore[no-any-return]

    def _client(self, forwarded: str) -> str:
        """Return the address that connected to the first trusted proxy."""
        *previous, client = forwarded.split(",")
        while previous and self._is_trusted(client.strip()):
            client = previous.pop()
        return client

    def _is_trusted(self, peer: str) -> bool:
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)
