"""Starts `python service.py` as a process and sends requests to it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from service.settings import PostgresSettings, Settings, all_settings, given_settings
from tests.conftest import ROOT
from tests.fakes.kong.fake_kong import FakeKong
from tests.fakes.kong.fake_kong import running as running_kong
from tests.support.command_server import READ_BY_IMPORTS, command_server
from tests.support.ports import free_port

RUN_S = 90


def environment(**changes: str) -> dict[str, str]:
    names = {name for name, _, _ in all_settings()}
    return {**{name: value for name, value in os.environ.items() if name not in names}, **changes}


def reach(settings: PostgresSettings) -> dict[str, str]:
    """Return the environment that reaches a Postgres."""
    return {
        name.upper(): value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in given_settings(Settings(postgres=settings)).items()
        if value is not None
    }


def run(*arguments: str, stdin: str = "", cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command of `service.py` to its end. In the project's folder, the command server has its imports."""
    if cwd == ROOT and not variables.keys() & READ_BY_IMPORTS:
        return command_server().run(arguments, environment(**variables), stdin, RUN_S)
    return subprocess.run(
        [sys.executable, str(cwd / "service.py"), *arguments],
        cwd=cwd, env=environment(**variables), input=stdin, capture_output=True, text=True, timeout=RUN_S,
    )  # fmt: skip


def shell(command: str, cwd: Path, *arguments: str) -> str:
    done = subprocess.run(["bash", "-c", command, *arguments], cwd=cwd, capture_output=True, text=True, check=True)
    return done.stdout


@contextmanager
def started(*arguments: str, cwd: Path = ROOT, program: Path | None = None, **variables: str):
    """Run `python service.py`, or another program; interrupt it at the end, and kill it if it does not stop.

    Yields:
        The process, and a function that returns its output so far.
    """
    command = [sys.executable, str(cwd / "service.py")] if program is None else [str(program)]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [*command, *arguments],
            cwd=cwd, env=environment(**variables), stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

        def output_so_far() -> str:
            output.seek(0)
            return output.read()

        try:
            yield process, output_so_far
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()


def workers(parent: int) -> set[int]:
    """Return the ids of the workers of a service. Where workers are spawned, it has another child.

    One that is ending counts until its parent has noticed its end: till then it may hold connections.
    """
    children = map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
    return {child for child in children if b"resource_tracker" not in _command_line(child)}


def _command_line(pid: int) -> bytes:
    """Return the command line of a process; empty if it is ending."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


@contextmanager
def serving(settings: PostgresSettings, keys_dir: Path, **variables: str):
    """Run a service of two workers behind a fake gateway.

    Yields:
        Its URL, and a function that returns its log so far.
    """
    port = free_port()
    with running_kong(FakeKong()) as kong:
        common = {
            **reach(settings), "KEYS_DIR": str(keys_dir), "API_GATEWAY_URL": kong.url, "LISTEN_HOST": "127.0.0.1",
            "PORT": str(port), "WORKERS": "2", "DRAIN_S": "0",
        }  # fmt: skip
        with started(**{**common, **variables}) as (process, told):
            url = f"http://127.0.0.1:{port}"
            wait_until_up(process, f"{url}/healthcheck", told)
            yield url, told


def ask(url: str, headers: dict[str, str] | None = None) -> tuple[int, dict, dict]:
    """Send a GET and return status, headers and JSON of the reply."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=10) as reply:
            return reply.status, dict(reply.headers), json.load(reply)
    except urllib.error.HTTPError as err:
        with err:
            return err.code, dict(err.headers), json.load(err)


def wait_until_up(process: subprocess.Popen, url: str, told, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, told()
        try:
            ask(url)
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    pytest.fail(f"not up after {seconds} s:\n{told()}")
