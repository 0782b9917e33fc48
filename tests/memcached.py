"""A real memcached of one's own, on a free loopback port."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from service.embedded import HOST

START_S = 10
needs_memcached = pytest.mark.skipif(shutil.which("memcached") is None, reason="install memcached to run this")


class Memcached:
    """One server, which may be stopped and started again at the same port. options: more of its command line."""

    def __init__(self, *options: str, port: int | None = None) -> None:
        self.port = port or _free_port()
        self.address = f"{HOST}:{self.port}"
        self._options = options
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
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
        """End it at once; what it held is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def memcached(*options: str) -> Iterator[Memcached]:
    """A server, for as long as it is needed."""
    server = Memcached(*options)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
