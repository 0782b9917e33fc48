"""A memcached of the benchmark's own."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from service.embedded import HOST
from tests.bench.contender import free_port

START_S = 10


@contextmanager
def memcached(megabytes: int = 64) -> Iterator[str]:
    """`host:port` of a memcached on a free loopback port, for as long as it runs."""
    port = free_port()
    user = ["-u", "nobody"] if os.geteuid() == 0 else []  # it refuses to be root
    process = subprocess.Popen(["memcached", "-l", HOST, "-p", str(port), "-U", "0", "-m", str(megabytes), *user])
    try:
        _wait_until_up(process, port)
        yield f"{HOST}:{port}"
    finally:
        process.terminate()
        process.wait()


def _wait_until_up(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("memcached did not start")
