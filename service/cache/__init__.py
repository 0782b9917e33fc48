"""Caches of timelines: in this process, and in memcached.

Caches do not decide whether a timeline is fresh; see service/ledger/freshness.py.
"""

import ssl

from service.cache.lru import TimelineLru
from service.cache.memcached import MemcachedTimelines
from service.errors import SettingsError
from service.net.hosts import parse_hosts
from service.settings import MEMCACHED_PORT, MemcachedSettings

__all__ = ["MemcachedTimelines", "TimelineLru", "open_memcached"]


def open_memcached(settings: MemcachedSettings, connections: int = 1) -> MemcachedTimelines | None:
    """Return a client for memcached, or None if MEMCACHED_SERVERS is not set. Nothing is sent yet.

    Args:
        settings: The servers and how to reach them.
        connections: Connections to each server at most.

    Raises:
        SettingsError: If a setting is missing, or a file cannot be used.
    """
    if settings.servers is None:
        return None
    if settings.secret is None:
        raise SettingsError(
            "CACHE_SECRET is not set. MEMCACHED_SERVERS needs it, with the same value on every instance."
        )
    return MemcachedTimelines(
        parse_hosts(settings.servers, MEMCACHED_PORT),
        settings.secret.get_secret_value(),
        settings.timeout_s,
        connections=connections,
        tls=_tls(settings),
    )


def _tls(settings: MemcachedSettings) -> ssl.SSLContext | None:
    if not settings.tls:
        if settings.ca is not None:
            raise SettingsError(
                "MEMCACHED_CA is set but MEMCACHED_TLS is not. Set MEMCACHED_TLS, or unset MEMCACHED_CA."
            )
        return None
    try:
        return ssl.create_default_context(cafile=settings.ca)
    except OSError as err:  # includes ssl.SSLError
        raise SettingsError(f"MEMCACHED_CA: {settings.ca}: {err.strerror or err}") from err
