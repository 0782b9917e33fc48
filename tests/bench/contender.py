"""The servers that are compared: each runs in a separate process, with the requests sent to it."""

import multiprocessing
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from service.runtime.run_directory import open_run_directory
from service.runtime.server import serve
from service.settings import Settings, load_settings
from service.standalone.embedded_postgres import HOST
from tests.bench.wrk import UnexpectedReply
from tests.support.ports import free_port
from tests.support.settings import with_changes

START_S = 60
STOP_S = 30


def serve_loans(settings: Settings) -> None:
    """Run the service, without a gateway."""
    with open_run_directory() as run_directory:
        serve(with_changes(settings, drain_s=0), run_directory)


@dataclass(frozen=True)
class Contender:
    """A server to measure.

    Args:
        name: Its name in the report.
        paths: Paths that are requested in turn.
        overrides: Settings for this server only.
        serve: Runs the server until SIGTERM.
    """

    name: str
    paths: list[str]
    overrides: dict[str, object] = field(default_factory=dict)
    serve: Callable[[Settings], None] = serve_loans


@dataclass(frozen=True)
class RunningServer:
    """A server that runs.

    Args:
        origin: Scheme, host and port.
        pid: The id of its main process, whose descendants are its other processes.
    """

    origin: str
    pid: int


@contextmanager
def running(contender: Contender, shared: dict[str, object], log: Path) -> Iterator[RunningServer]:
    """Run a contender.

    Args:
        contender: The server to run.
        shared: Settings that all contenders have in common.
        log: The file for its standard error.
    """
    settings = load_settings(**{"listen_host": HOST, "port": free_port(), **shared, **contender.overrides})
    spawn = multiprocessing.get_context("spawn")  # inherits no state, like a process started from a shell
    process = spawn.Process(target=_run_in_session, args=(partial(contender.serve, settings), log))
    process.start()
    origin = f"http://{HOST}:{settings.server.port}"
    try:
        _wait_until_up(process, origin, log)
        yield RunningServer(origin, process.pid)
    finally:
        _stop(process)


def fetch(url: str, headers: dict[str, str], body: bytes | None = None) -> bytes:
    """Return the body of a JSON reply, to a POST request if there is a body.

    Raises:
        UnexpectedReply: If the status is an error, or the reply is not JSON.
    """
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as reply:
            if reply.headers["Content-Type"] != "application/json":
                raise UnexpectedReply(f"{url}: expected JSON, not {reply.headers['Content-Type']}")
            content: bytes = reply.read()
            return content
    except urllib.error.HTTPError as err:
        raise UnexpectedReply(f"{url}: {err}: {err.read()!r}") from err


def _run_in_session(serve: Callable[[], None], log: Path) -> None:
    os.setsid()  # Ctrl-C must reach only the benchmark, which then stops the servers
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
            err.close()  # a 404 also proves that the server is up
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
