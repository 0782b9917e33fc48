"""A running service, for tests of what it does with connections and bytes."""

import re
import ssl
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.postgres.connect import connect
from service.settings import PostgresSettings
from tests.conftest import sql
from tests.fakes.certificates import write_certificate
from tests.support.ports import free_port
from tests.support.processes import reach, started, workers
from tests.support.raw_http import RawConnection, RawReply, request_bytes

START_S = 60
LOG_S = 40  # the log is written in batches
# the address, method, path and status of a request, after its id
ACCESS_LINE = re.compile(r"\[(\S+)\] (\S+) (\S+) (.+) (\d{3}) [\d.]+ ms(?:; rejected a token: .*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Door:
    """A service and how to reach it.

    Args:
        port: Its port.
        parent: The id of its main process.
        read_log: Returns its log so far.
        tls: The context of its TLS connections; None if it speaks plain HTTP.
    """

    port: int
    parent: int
    read_log: Callable[[], str]
    tls: ssl.SSLContext | None = None

    def connect(self, timeout_s: float = 20, receive_buffer: int | None = None) -> RawConnection:
        return RawConnection(self.port, self.tls, timeout_s, receive_buffer)

    def send(self, data: bytes, timeout_s: float = 20) -> RawReply | None:
        """Return the reply to these bytes; None if the service ends the connection without one."""
        with self.connect(timeout_s) as connection:
            connection.send(data)
            return connection.read_reply(head=data.startswith(b"HEAD "))

    def get(self, target: str, headers: dict[str, str] | None = None, timeout_s: float = 20) -> RawReply:
        """Return the reply to a GET."""
        reply = self.send(request_bytes("GET", target, headers), timeout_s)
        assert reply is not None
        return reply

    def time_s(self, target: str, headers: dict[str, str] | None = None) -> float:
        """Return the seconds that a GET takes on a new connection. It must succeed."""
        begun = time.perf_counter()
        reply = self.get(target, headers)
        assert reply.status == 200, reply
        return time.perf_counter() - begun

    def p99_s(self, target: str, headers: dict[str, str], samples: int = 200) -> float:
        """Return the 99th percentile of the time of a GET on a connection that is kept alive."""
        times = []
        with self.connect() as connection:
            for _ in range(samples):
                begun = time.perf_counter()
                connection.send(request_bytes("GET", target, headers))
                reply = connection.read_reply()
                times.append(time.perf_counter() - begun)
                assert reply is not None
                assert reply.status == 200
        return statistics.quantiles(times, n=100, method="inclusive")[98]

    def workers(self) -> set[int]:
        """Return the ids of the worker processes."""
        return workers(self.parent)

    def holds(self, connection: RawConnection) -> bool:
        """Return whether the service has its end of a connection open. The kernel may still be sending what it took."""
        ends = (f":{self.port:04X}", f":{connection.port:04X}")
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()  # proc_net_tcp(5): the local and the remote address follow the number of the line
            if fields[1].endswith(ends[0]) and fields[2].endswith(ends[1]):
                return fields[9] != "0"  # the inode, which a closed socket has lost
        return False

    def memory_bytes(self) -> int:
        """Return the resident memory of all workers."""
        return sum(
            1024 * int(re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1])
            for pid in self.workers()
        )

    def access_line(self, request_id: str) -> str:
        """Return the line of a request in the access log, as soon as it is written."""
        deadline = time.monotonic() + LOG_S
        while time.monotonic() < deadline:
            for line in self.read_log().splitlines():
                if f"[{request_id}]" in line and ACCESS_LINE.search(line):
                    return line
            time.sleep(0.05)
        raise AssertionError(f"no access line of {request_id}:\n{self.read_log()}")


@contextmanager
def open_door(
    settings: PostgresSettings, keys_dir: Path, folder: Path | None = None, **variables: str
) -> Iterator[Door]:
    """Run a service without a gateway, until the end of the block.

    Args:
        settings: Settings that reach its database.
        keys_dir: Its keys.
        folder: With a folder, it speaks TLS, with a certificate that is written there.
        variables: More of its settings.
    """
    port, tls = free_port(), None
    common = {
        **reach(settings), "KEYS_DIR": str(keys_dir), "SERVICE_DISCOVERY": "none", "LISTEN_HOST": "127.0.0.1",
        "PORT": str(port), "WORKERS": "1", "DRAIN_S": "0", "SECRET": CLIENT_SECRET,
    }  # fmt: skip
    if folder is not None:
        pair = str(write_certificate(folder / "pair.pem"))
        common |= {"TLS_CERT": pair, "TLS_KEY": pair}
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    with started(**{**common, **variables}) as (process, read_log):
        door = Door(port, process.pid, read_log, tls)
        deadline = time.monotonic() + START_S
        while not _is_up(door):
            assert process.poll() is None, read_log()
            if time.monotonic() > deadline:
                pytest.fail(f"not up after {START_S} s:\n{read_log()}")
            time.sleep(0.1)
        yield door
        assert "Traceback" not in read_log(), read_log()


CLIENT, CLIENT_SECRET = "loaner-client", "s3cret-of-the-client"
TOKEN_FORM = f"grant_type=client_credentials&client_id={CLIENT}&client_secret={CLIENT_SECRET}".encode()
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}


def _is_up(door: Door) -> bool:
    try:
        return door.get("/healthcheck").status == 200
    except OSError:
        return False


def count_events(settings: PostgresSettings) -> int:
    """Return the number of events in the ledger."""
    with closing(connect(settings, "admin")) as connection:
        return sql(connection, "SELECT count(*) FROM loan_events")[0][0]
