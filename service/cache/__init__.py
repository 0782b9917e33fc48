"""Where timelines are kept besides Postgres: this process's own, and memcached, which all processes share.

Nothing here decides whether a timeline is still true: see service/freshness.py.
"""

import ssl

from service.cache.lru import TimelineLru
from service.cache.memcached import MemcachedTimelines
from service.errors import SettingsError
from service.net.hosts import parse_hosts
from service.settings import MEMCACHED_PORT, Settings

__all__ = ["MemcachedTimelines", "TimelineLru", "open_memcached"]


def open_memcached(settings: Settings) -> MemcachedTimelines | None:
    """memcached as it is set up, or None if it is not. Nothing is asked of it yet. Raises: SettingsError."""
    if settings.memcached_servers is None:
        return None
    if settings.cache_secret is None:
        raise SettingsError("CACHE_SECRET is not set: MEMCACHED_SERVERS needs one, the same for every instance")
    return MemcachedTimelines(
        parse_hosts(settings.memcached_servers, MEMCACHED_PORT),
        settings.cache_secret.get_secret_value(),
        settings.memcached_timeout_s,
        connections=settings.threads,
        tls=_tls(settings),
    )


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if not settings.memcached_tls:
        if settings.memcached_ca is not None:
            raise SettingsError("MEMCACHED_CA is set, and MEMCACHED_TLS is not: nothing would be checked")
        return None
    try:
        return ssl.create_default_context(cafile=settings.memcached_ca)
    except OSError as err:  # ssl.SSLError is one
        raise SettingsError(f"MEMCACHED_CA: {settings.memcached_ca}: {err.strerror or err}") from err
