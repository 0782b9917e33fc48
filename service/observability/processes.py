"""Metrics of the processes of this instance, read from /proc when they are scraped. Linux only.

In its multiprocess mode the library exports none.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from prometheus_client import ProcessCollector
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

LABELS = ("process", "pid")
CONNECTIONS = "loaner_connections"
_LISTENING = "0A"  # the state TCP_LISTEN in proc_net_tcp(5)
_PROC = Path("/proc")


class Processes:
    """A collector for the supervisor of this instance and its workers.

    Args:
        folder: Has a file of each worker, whose name ends with the id of its process.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        """Return the metrics of each process, and the number of connections of each worker."""
        supervisor = os.getppid()
        workers = self._workers(supervisor)
        families: dict[str, Metric] = {}
        for role, pid in (("supervisor", supervisor), *(("worker", worker) for worker in workers)):
            for metric in _read(pid):
                family = families.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                for sample in metric.samples:
                    family.add_sample(sample.name, {"process": role, "pid": str(pid)}, sample.value)
        yield from families.values()
        connections = GaugeMetricFamily(
            CONNECTIONS, "Open connections of clients that a worker has accepted.", labels=("pid",)
        )
        for worker, count in count_connections(workers).items():
            connections.add_metric((str(worker),), count)
        if connections.samples:
            yield connections

    def _workers(self, supervisor: int) -> list[int]:
        """Return the ids of the workers that live. A file may be of one whose id another process has now."""
        names = (re.search(r"_(\d+)\.db$", file.name) for file in self._folder.glob("*.db"))
        found = {int(name[1]) for name in names if name is not None}
        return sorted(pid for pid in found if _parent(pid) == supervisor)


def count_connections(workers: Iterable[int]) -> dict[int, int]:
    """Return the number of connections of each worker.

    They are the TCP sockets that the worker has open at the ports on which it listens. Connections that wait to be
    accepted belong to no process.
    """
    sockets = {inode: (port, state) for inode, port, state in _tcp_sockets()}
    counts = {}
    for worker in workers:
        with suppress(OSError):  # it has ended
            held = [sockets[inode] for inode in _open_sockets(worker) if inode in sockets]
            ports = {port for port, state in held if state == _LISTENING}
            counts[worker] = sum(port in ports and state != _LISTENING for port, state in held)
    return counts


def _tcp_sockets() -> Iterator[tuple[str, str, str]]:
    """Yield the inode, the local port and the state of each TCP socket."""
    for name in ("tcp", "tcp6"):
        with suppress(OSError):  # no IPv6, or no Linux
            for line in (_PROC / "self" / "net" / name).read_text().splitlines()[1:]:
                fields = line.split()
                yield fields[9], fields[1].rpartition(":")[2], fields[3]


def _open_sockets(pid: int) -> Iterator[str]:
    """Yield the inodes of the sockets that a process has open."""
    folder = f"{_PROC}/{pid}/fd"
    for descriptor in os.listdir(folder):
        with suppress(FileNotFoundError):  # closed since
            target = os.readlink(f"{folder}/{descriptor}")
            if target.startswith("socket:["):
                yield target[8:-1]


def _parent(pid: int) -> int | None:
    try:
        return int((_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def _read(pid: int) -> list[Metric]:
    try:
        return list(ProcessCollector(pid=lambda: pid, registry=None).collect())
    except ValueError:  # the library does not know that open files may be unlimited
        return []
