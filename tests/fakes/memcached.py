"""A real memcached on a free loopback port."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import unquote

import pytest
from pymemcache.client.base import Client

from service.standalone.embedded_postgres import HOST
from tests.support.ports import free_port

START_S = 40
needs_memcached = pytest.mark.skipif(shutil.which("memcached") is None, reason="install memcached to run this")


class Memcached:
    """A server that can be stopped and started again on the same port.

    Args:
        options: Further command-line options.
        port: The port, or None for a free one.
    """

    def __init__(self, *options: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self.address = f"{HOST}:{self.port}"
        self._options = options
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        user = ["-u", "nobody"] if os.geteuid() == 0 else []  # it refuses to be root
        command = ["memcached", "-l", HOST, "-p", str(self.port), "-U", "0", *user, *self._options]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection((HOST, self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError("memcached did not start")

    def stop(self) -> None:
        """Kill the server; its contents are lost."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def pause(self) -> None:
        """Suspend the process: it accepts connections and sends nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Resume the process."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def client(self) -> Client:
        """Return a client of this server."""
        return Client((HOST, self.port), connect_timeout=START_S, timeout=START_S, default_noreply=False)

    def held_keys(self) -> list[str]:
        """Return the keys of all items."""
        with socket.create_connection((HOST, self.port), timeout=START_S) as crawler:
            crawler.sendall(b"lru_crawler metadump all\r\n")
            told = b""
            while not told.endswith(b"END\r\n"):
                piece = crawler.recv(65536)
                assert piece, told
                told += piece
        lines = [line for line in told.decode().splitlines() if line.startswith("key=")]
        return [unquote(line.split()[0].removeprefix("key=")) for line in lines]

    def requests(self) -> int:
        """Return the number of get commands so far."""
        with closing(self.client()) as client:
            return int(client.stats()[b"cmd_get"])


@contextmanager
def memcached(*options: str) -> Iterator[Memcached]:
    """Run a server until the end of the block."""
    server = Memcached(*options)
    try:
        server.start()
        yield server
    finally:
        server.stop()
