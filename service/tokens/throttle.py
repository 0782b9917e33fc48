"""Wrong secrets, counted across processes, so that nobody can try many.

Each count is a meter (the generic cell rate algorithm, as in ITU-T I.371): it holds so many failures, and empties at
a steady rate. While a meter is full the next attempt is refused unseen, and does not count. There is one for each
client at an address, one for each client and one for each address; a client that has proved itself at an address
before is held up there by the first of them only. So whoever guesses neither gets far nor locks others out.

Within a process one attempt of a client at an address follows the other; processes that look at the same moment see
the same meters, so as many more may pass as there are processes.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from ipaddress import ip_address, ip_network
from math import ceil
from pathlib import Path

log = logging.getLogger(__name__)

TURNS = 64
TRUST_S = 86_400.0  # how long it is remembered that a client has proved itself at an address


@dataclass(frozen=True)
class _Bucket:
    """burst: how many failures it holds. drain_s: seconds in which one of them is forgotten."""

    burst: int
    drain_s: float


_PAIR = _Bucket(5, 10.0)
_CLIENT = _Bucket(20, 5.0)
_ADDRESS = _Bucket(1000, 0.1)  # of many clients: so many that none need suffer for another's sake


class AttemptThrottle:
    """Counts failures in a small database that every process of the service opens.

    path: its file; without one, this process counts for itself. now: a clock that all of them share, in seconds. A
    database that does not work is logged, and holds nobody up.
    """

    def __init__(self, path: Path | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._turns = [threading.Lock() for _ in range(TURNS)]
        try:
            self._open(path)
        except sqlite3.Error as err:
            log.error("failed attempts are counted by each process for itself: %s", err)
            self._open(None)

    def _open(self, path: Path | None) -> None:
        self._database = sqlite3.connect(
            path or ":memory:", timeout=1.0, isolation_level="IMMEDIATE", check_same_thread=False
        )
        # nothing of it has to survive the machine, only a process that is killed
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = OFF")
        # until: when the meter is empty again, or trust ends
        self._database.execute("CREATE TABLE IF NOT EXISTS meters (key BLOB PRIMARY KEY, until REAL) WITHOUT ROWID")
        self._database.execute("CREATE INDEX IF NOT EXISTS meters_until ON meters (until)")

    def turn(self, client_id: str, address: str) -> threading.Lock:
        """What to hold from asking whether one may try until the outcome is told: else many could try at once."""
        return self._turns[_key("turn", client_id, _network(address))[0] % TURNS]

    def wait_s(self, client_id: str, address: str) -> int:
        """For how many seconds this client may not try again from this address: 0 if it may now."""
        now = self._now()
        pair, *wider = _buckets(client_id, address)
        with self._lock:
            try:
                trusted = self._until(_key("trust", client_id, _network(address))) > now
                meters = [pair] if trusted else [pair, *wider]
                full_s = (self._until(key) - now - (meter.burst - 1) * meter.drain_s for meter, key in meters)
                return max(0, ceil(max(full_s)))
            except sqlite3.Error as err:
                log.error("failed attempts are not counted: %s", err)
                return 0

    def failed(self, client_id: str, address: str) -> None:
        """Count one more failure."""
        now = self._now()
        self._write(
            ("DELETE FROM meters WHERE until <= ?", (now,)),
            *(
                (
                    "INSERT INTO meters VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET until = min(until + ?3, ?4)",
                    (key, now + meter.drain_s, meter.drain_s, now + meter.burst * meter.drain_s),
                )
                for meter, key in _buckets(client_id, address)
            ),
        )

    def succeeded(self, client_id: str, address: str) -> None:
        """Remember that the client has proved itself there."""
        trusted = "INSERT INTO meters VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET until = ?2"
        self._write((trusted, (_key("trust", client_id, _network(address)), self._now() + TRUST_S)))

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _until(self, key: bytes) -> float:
        row = self._database.execute("SELECT until FROM meters WHERE key = ?", (key,)).fetchone()
        return float(row[0]) if row else 0.0

    def _write(self, *statements: tuple[str, tuple[object, ...]]) -> None:
        with self._lock:
            try:
                with self._database:
                    for statement, values in statements:
                        self._database.execute(statement, values)
            except sqlite3.Error as err:
                log.error("failed attempts are not counted: %s", err)


def _buckets(client_id: str, address: str) -> list[tuple[_Bucket, bytes]]:
    network = _network(address)
    return [
        (_PAIR, _key("pair", client_id, network)),
        (_CLIENT, _key("client", client_id)),
        (_ADDRESS, _key("address", network)),
    ]


def _network(address: str) -> str:
    """Whoever has one address of IPv6 has all of its /64 (RFC 4291, section 2.5.4)."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(ip_network((parsed, 64), strict=False)) if parsed.version == 6 else address


def _key(*parts: str) -> bytes:
    # names are whatever a client sends, of any length; a length before each keeps them apart
    written = "".join(f"{len(part)}:{part}" for part in parts)
    return blake2b(written.encode("utf-8", "surrogatepass"), digest_size=16).digest()
