"""Standing behind a proxy: what it says of a request is believed if it is one of ours."""

import ipaddress
import logging
from collections.abc import Iterable
from typing import Any

from werkzeug.middleware.proxy_fix import ProxyFix

log = logging.getLogger(__name__)


class TrustedProxies:
    """WSGI middleware: X-Forwarded-For, -Proto, -Host and -Prefix count if they come from these networks.

    Of several addresses that proxies have put one behind the other the last counts that is none of these networks'.
    From anybody else they are passed over: their own address is theirs, and the first who sends a prefix is named in
    the log, since links are wrong behind a gateway that is not trusted.
    """

    def __init__(self, application: Any, networks: str) -> None:
        self._application = application
        self._behind_proxy = ProxyFix(application, x_for=1, x_proto=1, x_host=1, x_prefix=1)
        self._networks = [ipaddress.ip_network(network) for network in networks.split(", ") if network]
        self._trusted: dict[str, bool] = {}
        self._complained = False

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        peer = environ.get("REMOTE_ADDR") or ""
        trusted = self._trusted.get(peer)
        if trusted is None:
            if len(self._trusted) > 10_000:
                self._trusted.clear()
            trusted = self._trusted[peer] = self._is_ours(peer)
        environ["loaner.trusted_proxy"] = trusted
        if trusted:
            if "HTTP_X_FORWARDED_FOR" in environ:
                environ["HTTP_X_FORWARDED_FOR"] = self._caller(environ["HTTP_X_FORWARDED_FOR"])
            return self._behind_proxy(environ, start_response)
        if "HTTP_X_FORWARDED_PREFIX" in environ and not self._complained:
            self._complained = True
            log.warning("%s sends X-Forwarded-Prefix and is not among TRUSTED_PROXIES: it is passed over", peer)
        return self._application(environ, start_response)  # type: ignore[no-any-return]

    def _caller(self, forwarded: str) -> str:
        """Whom the first of our proxies was asked by."""
        *before, caller = forwarded.split(",")
        while before and self._is_ours(caller.strip()):
            caller = before.pop()
        return caller

    def _is_ours(self, peer: str) -> bool:
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)
