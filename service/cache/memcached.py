"""Timelines in memcached, which all processes share. It may be down, slow, full, or in other hands."""

import logging
import ssl
import time
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

from pymemcache.client.base import PooledClient
from pymemcache.client.rendezvous import RendezvousHash
from pymemcache.exceptions import MemcacheServerError

from native import LAYOUT_VERSION, Timeline
from service.cache.circuit_breaker import CircuitBreaker
from service.cache.signed_value import ValueSigner
from service.errors import first_line
from service.net.hosts import Host
from service.observability import metrics

log = logging.getLogger(__name__)

EXPIRES_S = 86_400  # what nobody asks for goes; more than 30 days would be taken for a date
MAX_ITEM_BYTES = 1_000_000  # below the server's default limit, which counts the key as well
SLOW = 10  # an answer that took so many timeouts, none of them between two of its bytes, is a failure
MANY = 1000  # so many values may take as long again


class _Server:
    """One memcached of several."""

    def __init__(self, host: Host, timeout_s: float, connections: int, tls: ssl.SSLContext | None) -> None:
        self.host = host
        self.timeout_s = timeout_s
        self.breaker = CircuitBreaker()
        self.client: Any = PooledClient(
            host.name if host.name.startswith("/") else (host.name, host.port),
            connect_timeout=timeout_s,
            timeout=timeout_s,
            no_delay=True,
            max_pool_size=connections,
            default_noreply=False,  # a refusal that nobody reads would be taken for the next answer
            tls_context=tls,
        )


class MemcachedTimelines:
    """A ring of servers: each loan has its place on one of them (rendezvous hashing), and few move when servers come or
    go. A server that does not answer is left alone for a while; nothing is known of its loans meanwhile.

    secret: known to whoever may write here. timeout_s: how long a server may be silent. connections: to each
    server. tls: how to check servers that speak TLS.
    """

    def __init__(
        self,
        hosts: tuple[Host, ...],
        secret: str,
        timeout_s: float,
        connections: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._seal = ValueSigner(secret)
        self._servers = {str(host): _Server(host, timeout_s, connections, tls) for host in hosts}
        self._ring = RendezvousHash(list(self._servers), hash_function=_score)

    def get_many(self, cluster: str, loan_ids: Sequence[int]) -> dict[int, Timeline]:
        """Those of these loans' timelines that somebody of ours put there. One round trip to each server."""
        keys = {_key(cluster, loan_id): loan_id for loan_id in loan_ids}
        found = {}
        for server, asked in self._by_server(keys, keys.values()):
            values: dict[str, bytes] = _ask(server, "get_many", asked, values=len(asked)) or {}
            for key, value in values.items():
                timeline = self._opened(key, value, keys[key])
                if timeline is not None:
                    found[keys[key]] = timeline
        return found

    def put_many(self, cluster: str, timelines: Iterable[Timeline]) -> None:
        """Have them kept, as far as that can be done. One round trip to each server."""
        values = {_key(cluster, each.loan_id): each for each in timelines if each.nbytes < MAX_ITEM_BYTES}
        for server, keys in self._by_server(values, (each.loan_id for each in values.values())):
            sealed = {key: self._seal.close(key, bytes(values[key])) for key in keys}
            _ask(server, "set_many", sealed, EXPIRES_S, values=len(sealed))

    def state(self) -> dict[str, str]:
        """ "ok" or "down" of each server, as it is when it is asked now."""
        return {name: "down" if _ask(server, "version") is None else "ok" for name, server in self._servers.items()}

    def close(self) -> None:
        """Close every connection."""
        for server in self._servers.values():
            server.client.close()

    def _opened(self, key: str, value: bytes, loan_id: int) -> Timeline | None:
        content = self._seal.open(key, value)
        try:
            timeline = Timeline(content) if content is not None else None
        except ValueError as err:
            log.warning("memcached: what is kept of loan %d is no timeline: %s", loan_id, err)
            metrics.cache_errors.labels("malformed").inc()
            return None
        if timeline is None or timeline.loan_id != loan_id:
            log.warning("memcached: what is kept of loan %d is not ours", loan_id)
            metrics.cache_errors.labels("foreign").inc()
            return None
        return timeline

    def _by_server(self, keys: Iterable[str], loan_ids: Iterable[int]) -> Iterable[tuple[_Server, list[str]]]:
        """Each server and its share of the keys."""
        shares: dict[str, list[str]] = {}
        for key, loan_id in zip(keys, loan_ids, strict=True):
            shares.setdefault(self._ring.get_node(loan_id), []).append(key)
        return [(self._servers[name], share) for name, share in shares.items()]


def _ask(server: _Server, command: str, *arguments: object, values: int = 0) -> Any:
    """What the server answers; None if it does not, or is left alone, or refuses. values: how many it is about."""
    if not server.breaker.allows():
        return None
    begun = time.monotonic()
    try:
        answer = getattr(server.client, command)(*arguments)
    except MemcacheServerError as err:
        log.info("memcached at %s: %s", server.host, err)  # too large for it, or no memory: it is up
        metrics.cache_errors.labels("refused").inc()
        answer = None
    except Exception as err:  # what is no memcached brings about errors of any kind in its library
        return _failed(server, first_line(err) or type(err).__name__)
    if time.monotonic() - begun > SLOW * server.timeout_s * (1 + values / MANY):
        return _failed(server, "its answers come in drips")
    if server.breaker.succeeded():
        log.info("memcached at %s answers again", server.host)
    return answer


def _failed(server: _Server, reason: str) -> None:
    metrics.cache_errors.labels("broken").inc()
    if server.breaker.failed():
        log.warning("memcached at %s is left alone: %s", server.host, reason)


def _key(cluster: str, loan_id: int) -> str:
    return f"loaner:{LAYOUT_VERSION}:{cluster}:{loan_id}"


def _score(text: str, seed: int) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
