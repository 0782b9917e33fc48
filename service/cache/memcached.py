"""Stores timelines in memcached servers that all instances share. A server may be down, slow, full or untrusted."""

import logging
import ssl
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

from pymemcache.client.base import PooledClient
from pymemcache.client.rendezvous import RendezvousHash
from pymemcache.exceptions import MemcacheServerError

from native import LAYOUT_VERSION, Timeline
from service.cache.circuit_breaker import CircuitBreaker
from service.cache.deadline import SOCKET_MODULE, DeadlineTlsSocket, deadline
from service.cache.signed_value import ValueSigner
from service.errors import first_line
from service.net.hosts import Host
from service.observability import metrics

log = logging.getLogger(__name__)

EXPIRES_S = 86_400  # memcached would read a value above 30 days as a date
MAX_ITEM_BYTES = 1_000_000  # below the server's default limit, which includes the key
VALUES_PER_TIMEOUT = 100  # a request for more values may take proportionally longer than the timeout


class _Server:
    """One of the servers, with its connections and its circuit breaker."""

    def __init__(self, host: Host, timeout_s: float, connections: int, tls: ssl.SSLContext | None) -> None:
        self.host = host
        self.timeout_s = timeout_s
        self.breaker = CircuitBreaker()
        if tls is not None:
            tls.sslsocket_class = DeadlineTlsSocket
        self.client: Any = PooledClient(
            host.name if host.name.startswith("/") else (host.name, host.port),
            socket_module=SOCKET_MODULE,
            no_delay=True,
            max_pool_size=connections,
            default_noreply=False,  # an error that is not read would be taken for the next response
            tls_context=tls,
        )


class MemcachedTimelines:
    """A cache of timelines on a ring of servers.

    Rendezvous hashing assigns each loan to a server, so few loans move when servers are added or removed. While a
    server's circuit is open, its loans are not cached.

    Args:
        hosts: The servers.
        secret: Signs the values; the same on every instance.
        timeout_s: Bound of an operation with up to VALUES_PER_TIMEOUT values, including connecting.
        connections: Connections to each server at most.
        tls: How to verify servers that use TLS; None for plain TCP.
    """

    def __init__(
        self,
        hosts: tuple[Host, ...],
        secret: str,
        timeout_s: float,
        connections: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._signer = ValueSigner(secret)
        self._servers = {str(host): _Server(host, timeout_s, connections, tls) for host in hosts}
        self._ring = RendezvousHash(list(self._servers), hash_function=_score)

    def get_many(self, cluster: str, loan_ids: Sequence[int]) -> dict[int, Timeline]:
        """Return the validly signed timelines of these loans, with one round trip to each server."""
        loan_by_key = {_key(cluster, loan_id): loan_id for loan_id in loan_ids}
        found = {}
        for server, keys in self._by_server(loan_by_key, loan_by_key.values()):
            values: dict[str, bytes] = _call(server, "get_many", keys, values=len(keys)) or {}
            for key, value in values.items():
                timeline = self._verify(key, value, loan_by_key[key])
                if timeline is not None:
                    found[loan_by_key[key]] = timeline
        return found

    def put_many(self, cluster: str, timelines: Iterable[Timeline]) -> None:
        """Store timelines, with one round trip to each server. Failures are logged and counted."""
        values = {_key(cluster, each.loan_id): each for each in timelines if each.nbytes < MAX_ITEM_BYTES}
        for server, keys in self._by_server(values, (each.loan_id for each in values.values())):
            signed = {key: self._signer.sign(key, bytes(values[key])) for key in keys}
            _call(server, "set_many", signed, EXPIRES_S, values=len(signed))

    def state(self) -> dict[str, str]:
        """Probe each server and return its state, "ok" or "down"."""
        return {name: "down" if _call(server, "version") is None else "ok" for name, server in self._servers.items()}

    def close(self) -> None:
        """Close all connections."""
        for server in self._servers.values():
            server.client.close()

    def _verify(self, key: str, value: bytes, loan_id: int) -> Timeline | None:
        content = self._signer.verify(key, value)
        try:
            timeline = Timeline(content) if content is not None else None
        except ValueError as err:
            log.warning("memcached: ignoring the malformed timeline of loan %d: %s", loan_id, err)
            metrics.cache_errors.labels("malformed").inc()
            return None
        if timeline is None or timeline.loan_id != loan_id:
            log.warning("memcached: ignoring a value of loan %d that was not signed with CACHE_SECRET", loan_id)
            metrics.cache_errors.labels("foreign").inc()
            return None
        return timeline

    def _by_server(self, keys: Iterable[str], loan_ids: Iterable[int]) -> Iterable[tuple[_Server, list[str]]]:
        """Return each server with its share of the keys."""
        shares: dict[str, list[str]] = {}
        for key, loan_id in zip(keys, loan_ids, strict=True):
            shares.setdefault(self._ring.get_node(loan_id), []).append(key)
        return [(self._servers[name], share) for name, share in shares.items()]


def _call(server: _Server, command: str, *arguments: object, values: int = 0) -> Any:
    """Return the server's response; None if it fails, rejects the command, or has an open circuit.

    Args:
        server: The server.
        command: A method of pymemcache's client.
        *arguments: Its arguments.
        values: Number of values in the request or the response.
    """
    if not server.breaker.allows():
        return None
    try:
        with deadline(server.timeout_s * max(1.0, values / VALUES_PER_TIMEOUT)):
            response = getattr(server.client, command)(*arguments)
    except MemcacheServerError as err:
        # The value is too large, or memory is short. The server is up.
        log.info("memcached at %s rejected %s: %s", server.host, command, err)
        metrics.cache_errors.labels("refused").inc()
        response = None
    except Exception as err:  # pymemcache raises all kinds of errors if the other side is not memcached
        return _record_failure(server, first_line(err) or type(err).__name__)
    if server.breaker.record_success():
        log.info("memcached at %s: circuit closed", server.host)
    return response


def _record_failure(server: _Server, reason: str) -> None:
    metrics.cache_errors.labels("broken").inc()
    if server.breaker.record_failure():
        log.warning("memcached at %s: circuit opened: %s", server.host, reason)


def _key(cluster: str, loan_id: int) -> str:
    return f"loaner:{LAYOUT_VERSION}:{cluster}:{loan_id}"


def _score(text: str, seed: int) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
