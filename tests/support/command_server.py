"""Runs commands of `service.py` in processes that are forked after its imports, which take most of a command's time.

A server imports the command line once and then forks a process for each command. Such a process differs from
`python service.py` only in where its modules come from: it has the given arguments, environment and files, runs
`service.py` as `__main__`, and ends as an interpreter does.
"""

import atexit
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
READ_BY_IMPORTS = {"LOANER_NATIVE"}  # settings that count while modules are imported


class CommandServer:
    """The client of a server process. Commands run one after the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                cwd=ROOT, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        self._replies = self._socket.makefile("r")
        atexit.register(self._stop)

    def run(
        self, arguments: tuple[str, ...], environment: dict[str, str], stdin: str, timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the project's folder, as `subprocess.run` does."""
        with self._lock, tempfile.TemporaryDirectory() as folder:
            places = {name: f"{folder}/{name}" for name in ("stdin", "stdout", "stderr")}
            Path(places["stdin"]).write_text(stdin)
            request = {"arguments": arguments, "environment": environment, **places}
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            pid = int(self._replies.readline())
            overdue = threading.Timer(timeout_s, os.kill, (pid, signal.SIGKILL))
            overdue.start()
            code = int(self._replies.readline())
            overdue.cancel()
            output, errors = (Path(places[name]).read_text() for name in ("stdout", "stderr"))
            if overdue.finished.is_set() and code == -signal.SIGKILL:
                raise subprocess.TimeoutExpired(list(arguments), timeout_s, output, errors)
            return subprocess.CompletedProcess(list(arguments), code, output, errors)

    def _stop(self) -> None:
        self._replies.close()
        self._socket.close()
        self._process.wait()


@cache
def command_server() -> CommandServer:
    """Return the server of this process."""
    return CommandServer()


def _serve(channel: socket.socket) -> None:
    """Fork a process for each request. Return in that process, when it is ready to run the command."""
    with channel, channel.makefile("r") as requests:
        for line in requests:
            request = json.loads(line)
            pid = os.fork()
            if not pid:
                _become(request)
                return
            channel.sendall(f"{pid}\n".encode())
            _, status = os.waitpid(pid, 0)
            channel.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become(request: dict) -> None:
    for number, (name, mode) in enumerate((("stdin", os.O_RDONLY), ("stdout", os.O_WRONLY), ("stderr", os.O_WRONLY))):
        file = os.open(request[name], mode | (os.O_CREAT | os.O_APPEND if number else 0))
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv[1:] = request["arguments"]


if __name__ == "__main__":
    server_socket = socket.socket(fileno=int(sys.argv[1]))
    sys.path[0] = str(ROOT)
    import service.cli.main  # noqa: F401  (what every command imports)

    _serve(server_socket)
    runpy.run_path(str(ROOT / "service.py"), run_name="__main__")
