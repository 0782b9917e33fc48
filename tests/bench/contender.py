"""One of those that are compared: a server in processes of its own, and what it is asked for."""

import multiprocessing
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from service.runtime.run_directory import run_directory
from service.runtime.server import serve
from service.settings import Settings, load_settings
from service.standalone.embedded_postgres import HOST
from tests.bench.wrk import WrongReply
from tests.support.settings import with_changes

START_S = 60
STOP_S = 30


def serve_loans(settings: Settings) -> None:
    """The service itself, without a gateway."""
    with run_directory() as shared:
        serve(with_changes(settings, drain_s=0), shared)


@dataclass(frozen=True)
class Contender:
    """name: as it is printed. urls: paths, asked for in turn. overrides: settings of its own, `memcached_servers=...`.
    serve: what answers, as the only thing that its process does, until SIGTERM."""

    name: str
    urls: list[str]
    overrides: dict[str, object] = field(default_factory=dict)
    serve: Callable[[Settings], None] = serve_loans


@contextmanager
def running(contender: Contender, reach: dict[str, object], log: Path) -> Iterator[str]:
    """Where it listens, for as long as it does. reach: settings that all have. log: takes its standard error."""
    settings = load_settings(**{"listen_host": HOST, "port": free_port(), **contender.overrides, **reach})
    spawn = multiprocessing.get_context("spawn")  # a process that is like one that was started by hand
    process = spawn.Process(target=_alone, args=(partial(contender.serve, settings), log))
    process.start()
    origin = f"http://{HOST}:{settings.server.port}"
    try:
        _wait_until_up(process, origin, log)
        yield origin
    finally:
        _stop(process)


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def ask(url: str, headers: dict[str, str], body: bytes | None = None) -> bytes:
    """The body of a reply in JSON. body: of a POST. Raises: WrongReply for any other."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as reply:
            if reply.headers["Content-Type"] != "application/json":
                raise WrongReply(f"{url}: {reply.headers['Content-Type']}")
            body: bytes = reply.read()
            return body
    except urllib.error.HTTPError as err:
        raise WrongReply(f"{url}: {err}: {err.read()!r}") from err


def _alone(serve: Callable[[], None], log: Path) -> None:
    os.setsid()  # Ctrl-C is the benchmark's, which then stops everybody
    with log.open("ab") as file:
        os.dup2(file.fileno(), 2)
    serve()


def _wait_until_up(process: Any, origin: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.is_alive():
        try:
            urllib.request.urlopen(origin, timeout=10).close()
            return
        except urllib.error.HTTPError as err:
            err.close()  # there is no such page, and somebody who says so
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"{origin} did not start:\n{log.read_text()[-2000:]}")


def _stop(process: Any) -> None:
    process.terminate()
    process.join(STOP_S)
    if process.is_alive():
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
