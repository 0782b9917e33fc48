"""Throttles guesses of clients' secrets, across all processes of the service.

Failures are counted in leaky buckets (the generic cell rate algorithm, as in ITU-T I.371): a bucket has room for a
number of failures and drains at a constant rate. While a bucket is full, attempts are rejected without checking the
secret, and are not counted. Buckets exist per client and address, per client, and per address. A client that has
recently authenticated from an address is exempt from the latter two, so guessing neither succeeds nor locks out others.

Within a process, attempts of one client from one address are serialized. Processes that check simultaneously see the
same buckets, so as many additional attempts may pass as there are processes.
"""

import logging
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from ipaddress import ip_address, ip_network
from math import ceil
from pathlib import Path

log = logging.getLogger(__name__)

LOCKS = 64
TRUST_S = 86_400.0  # how long a client stays exempt at an address after it has authenticated from there


@dataclass(frozen=True)
class _Bucket:
    """A limit on failures.

    Args:
        burst: Number of failures that fill the bucket.
        leak_s: Seconds until the bucket has room for another failure.
    """

    burst: int
    leak_s: float


_PAIR = _Bucket(5, 10.0)
_CLIENT = _Bucket(20, 5.0)
_ADDRESS = _Bucket(1000, 0.1)  # large, because many clients may share an address


class AttemptThrottle:
    """Counts failures in a small database that every process of the service opens.

    If the database fails, the error is logged and attempts are allowed.

    Args:
        path: The database file. Without one, each process counts separately.
        now: A clock that the processes share, in seconds.
    """

    def __init__(self, path: Path | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._locks = [threading.Lock() for _ in range(LOCKS)]
        try:
            self._database = _open(path or ":memory:")
        except sqlite3.Error as err:
            log.error("shared attempt store unavailable, counting failures per process: %s", err)
            self._database = _open(":memory:")
        # A worker uses the database until its process ends, so the interpreter closes it then.
        self._close = weakref.finalize(self, self._database.close)

    def serialize(self, client_id: str, address: str) -> threading.Lock:
        """Return the lock to hold from `retry_after_s` until the outcome is recorded."""
        return self._locks[_key("lock", client_id, _network(address))[0] % LOCKS]

    def retry_after_s(self, client_id: str, address: str) -> int:
        """Return the seconds until this client may try again from this address; 0 if it may now."""
        now = self._now()
        pair, *wider = _buckets(client_id, address)
        with self._lock:
            try:
                is_trusted = self._expiry(_key("trust", client_id, _network(address))) > now
                buckets = [pair] if is_trusted else [pair, *wider]
                waits_s = (self._expiry(key) - now - (bucket.burst - 1) * bucket.leak_s for bucket, key in buckets)
                return max(0, ceil(max(waits_s)))
            except sqlite3.Error as err:
                log.error("cannot read failed attempts, so this one is allowed: %s", err)
                return 0

    def record_failure(self, client_id: str, address: str, guesses: int = 1) -> None:
        """Count a failed attempt.

        Args:
            client_id: The name that was tried.
            address: Where the attempt came from.
            guesses: How many secrets the attempt tried. Each of them delays the next attempt.
        """
        now = self._now()
        self._write(
            ("DELETE FROM buckets WHERE expires <= ?", (now,)),
            *(
                (
                    "INSERT INTO buckets VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET expires = min(expires + ?, ?)",
                    (
                        key,
                        now + guesses * bucket.leak_s,
                        guesses * bucket.leak_s,
                        now + (bucket.burst + guesses - 1) * bucket.leak_s,
                    ),
                )
                for bucket, key in _buckets(client_id, address)
            ),
        )

    def record_success(self, client_id: str, address: str) -> None:
        """Exempt the client at this address from the wider limits for TRUST_S seconds."""
        exempt = "INSERT INTO buckets VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET expires = excluded.expires"
        self._write((exempt, (_key("trust", client_id, _network(address)), self._now() + TRUST_S)))

    def close(self) -> None:
        """Close the database."""
        self._close()

    def _expiry(self, key: bytes) -> float:
        row = self._database.execute("SELECT expires FROM buckets WHERE key = ?", (key,)).fetchone()
        return float(row[0]) if row else 0.0

    def _write(self, *statements: tuple[str, tuple[object, ...]]) -> None:
        with self._lock:
            try:
                with self._database:
                    for statement, values in statements:
                        self._database.execute(statement, values)
            except sqlite3.Error as err:
                log.error("cannot record an attempt: %s", err)


def _open(path: Path | str) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=1.0, isolation_level="IMMEDIATE", check_same_thread=False)
    try:
        # The counts must survive a killed process, but not the machine.
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = OFF")
        # expires: when the bucket is empty again, or when the exemption ends
        database.execute("CREATE TABLE IF NOT EXISTS buckets (key BLOB PRIMARY KEY, expires REAL) WITHOUT ROWID")
        database.execute("CREATE INDEX IF NOT EXISTS buckets_expires ON buckets (expires)")
    except BaseException:
        database.close()
        raise
    return database


def _buckets(client_id: str, address: str) -> list[tuple[_Bucket, bytes]]:
    network = _network(address)
    return [
        (_PAIR, _key("pair", client_id, network)),
        (_CLIENT, _key("client", client_id)),
        (_ADDRESS, _key("address", network)),
    ]


def _network(address: str) -> str:
    """Return the network that counts as one address: a host's /64 in IPv6 (RFC 4291, section 2.5.4)."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(ip_network((parsed, 64), strict=False)) if parsed.version == 6 else address


def _key(*parts: str) -> bytes:
    # Clients choose the names. The lengths keep different parts from producing the same key.
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
