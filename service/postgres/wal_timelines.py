"""Recognizes a former primary: a server that still takes writes after a replica of it was promoted.

Each promotion starts a WAL timeline with a higher number. Of one system identifier, no server below the highest number
seen is used any more. The processes of a service share what they have seen in a file of the run directory; nothing is
remembered beyond the life of the service. docs/decisions/0009-highest-wal-timeline.md has the reasons.
"""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from service.clock import boot_clock
from service.observability import metrics
from service.postgres.server_identity import ServerIdentity
from service.postgres.shared_file import SharedFile

log = logging.getLogger(__name__)

FORMER_PRIMARY_MEMORY_S = 15.0  # for how long /ready reports a former primary after it was last seen
_RECORD_INTERVAL_S = 1.0  # between records of the same former primary
_NEVER = (0.0, "")
_LOG_INTERVAL_S = 60.0  # between log entries of a process about the same former primary


class _Highest(NamedTuple):
    wal_timeline: int
    host: str


class WalTimelines:
    """The highest WAL timeline of each system identifier, and the former primaries. Thread-safe.

    Args:
        file: A file that the processes of this service share. Without it, only this process remembers.
        now: A clock that all processes of the machine share, in seconds.
    """

    def __init__(self, file: Path | None = None, now: Callable[[], float] = boot_clock) -> None:
        self._file = SharedFile(file) if file else None
        self._now = now
        self._lock = threading.Lock()
        self._highest: dict[str, _Highest] = {}
        self._former: dict[str, tuple[float, str]] = {}  # host -> when it was seen, and a sentence; "" if over
        self._logged: dict[str, tuple[float, str]] = {}
        self._generation = 0

    @property
    def generation(self) -> int:
        """A number that changes when a server turns out to be superseded. Connections should then be replaced."""
        self._read()
        return self._generation

    def observe(self, host: str, server: ServerIdentity) -> str | None:
        """Record what a host is.

        Returns:
            Why the host must not be used; None if it may be.
        """
        self._read()
        with self._lock:
            highest = self._highest.get(server.system)
            if highest is None or server.wal_timeline > highest.wal_timeline:
                self._raise_to(server.system, _Highest(server.wal_timeline, host))
                self._write()
                return None
            if server.wal_timeline == highest.wal_timeline:
                if self._former.get(host, _NEVER)[1]:
                    self._former[host] = (self._now(), "")
                    self._write()
                return None
        if server.is_replica:
            return f"{host} is a replica on WAL timeline {server.wal_timeline}, but {_describe(highest)}"
        sentence = f"{host} is a former primary: it writes WAL timeline {server.wal_timeline}, but {_describe(highest)}"
        self._report(host, sentence)
        return sentence

    def is_superseded(self, server: ServerIdentity) -> bool:
        """Return whether a higher WAL timeline than the server's was seen."""
        self._read()
        highest = self._highest.get(server.system)
        return highest is not None and server.wal_timeline < highest.wal_timeline

    def former_primaries(self) -> list[str]:
        """Return a sentence about each former primary that was seen lately."""
        self._read()
        since = self._now() - FORMER_PRIMARY_MEMORY_S
        with self._lock:
            return [sentence for seen_at, sentence in self._former.values() if sentence and seen_at > since]

    def _report(self, host: str, sentence: str) -> None:
        metrics.former_primaries.labels(host).inc()
        now = self._now()
        with self._lock:
            logged_at, logged = self._logged.get(host, _NEVER)
            is_due = logged != sentence or now - logged_at >= _LOG_INTERVAL_S
            if is_due:
                self._logged[host] = (now, sentence)
            recorded_at, recorded = self._former.get(host, _NEVER)
            if recorded != sentence or now - recorded_at >= _RECORD_INTERVAL_S:
                self._former[host] = (now, sentence)
                self._write()
        if is_due:
            log.error("split brain: %s. It is not used. Stop it: what is posted there will be lost", sentence)

    def _raise_to(self, system: str, highest: _Highest) -> None:
        if system in self._highest:
            self._generation += 1
        self._highest[system] = highest

    def _read(self) -> None:
        if self._file is not None and (content := self._file.read_if_changed()) is not None:
            with self._lock:
                self._merge(content)

    def _write(self) -> None:
        """Merge into the file, which another process may have changed."""
        if self._file is None:
            return

        def merge(content: dict[str, Any]) -> dict[str, Any]:
            self._merge(content)
            return {"highest": self._highest, "former": self._former}

        self._file.update(merge)

    def _merge(self, content: dict[str, Any]) -> None:
        for system, (wal_timeline, host) in content.get("highest", {}).items():
            known = self._highest.get(system)
            if known is None or wal_timeline > known.wal_timeline:
                self._raise_to(system, _Highest(wal_timeline, host))
        for host, (seen_at, sentence) in content.get("former", {}).items():
            if seen_at > self._former.get(host, _NEVER)[0]:
                self._former[host] = (seen_at, sentence)


def _describe(highest: _Highest) -> str:
    return f"WAL timeline {highest.wal_timeline} was seen at {highest.host}"
