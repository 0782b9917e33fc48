"""The folder of a test process, and a guardian that cleans up if the process is killed.

Every temporary file of the tests and of the programs that they start is in this folder, and every program carries the
folder's path in its environment. A run that ends, is interrupted or is terminated removes both itself. After a SIGKILL
the guardian, a process in a session that no terminal signal reaches, does the same.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MARKER = "LOANER_TESTS_FOLDER"
POLL_S = 0.2
STOP_TIMEOUT_S = 10
MEMORY = Path("/dev/shm")
NEEDED_BYTES = 4 << 30  # a folder takes up to 0.5 GB, each worker has one, and the programs need memory as well
_ELSEWHERE = "elsewhere"


@contextmanager
def run_folder() -> Iterator[Path]:
    """Make the folder the place of all temporary files, and remove it with all that runs in it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="loaner-tests-", dir=_place()))
    folder.chmod(0o755)  # PostgreSQL runs as another user if the tests run as root
    temporary = folder / "tmp"
    temporary.mkdir()
    temporary.chmod(0o1777)
    guardian = subprocess.Popen(
        [sys.executable, "-S", __file__, str(os.getpid()), str(folder)], cwd="/", start_new_session=True
    )
    before = {name: os.environ.get(name) for name in ("TMPDIR", MARKER)}
    before_in_process = tempfile.tempdir
    os.environ.update({"TMPDIR": str(temporary), MARKER: str(folder)})
    tempfile.tempdir = str(temporary)
    try:
        yield folder
    finally:
        tempfile.tempdir = before_in_process
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        clean_up(folder)
        guardian.kill()
        guardian.wait()


def _place() -> Path | None:
    """Return the memory's file system if it can hold the folder, where databases are created in a tenth of the time.

    A TMPDIR that is set has precedence.
    """
    if "TMPDIR" in os.environ or not MEMORY.is_dir() or not os.access(MEMORY, os.W_OK):
        return None
    system = os.statvfs(MEMORY)
    if system.f_flag & os.ST_NOEXEC:  # containers mount it like this, and tests run programs from the folder
        return None
    available = re.search(r"^MemAvailable:\s+(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    left = min(system.f_bavail * system.f_frsize, 1024 * int(available[1]) if available else 0)
    return MEMORY if left >= NEEDED_BYTES else None


def also_remove(path: Path) -> None:
    """Note a folder outside the run's folder, so that it is removed as well."""
    with (Path(os.environ[MARKER]) / _ELSEWHERE).open("a") as file:
        file.write(f"{path}\n")


def clean_up(folder: Path) -> None:
    """Kill every program that a run started, stop its PostgreSQL servers, and remove its files."""
    marked = f"{MARKER}={folder}".encode()
    _kill(lambda: [pid for pid in _processes() if marked in _proc(pid, "environ").split(b"\0")])
    with suppress(FileNotFoundError):
        for line in (folder / _ELSEWHERE).read_text().splitlines():
            _remove(Path(line))
    _remove(folder)


def _remove(folder: Path) -> None:
    servers = [pid for file in folder.rglob("postmaster.pid") if (pid := _postmaster(file))]
    for pid in servers:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)  # a test may have stopped it
            os.kill(pid, signal.SIGQUIT)  # immediate shutdown, which ends its children as well
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while any(_runs(pid) for pid in servers) and time.monotonic() < deadline:
        time.sleep(0.02)
    shutil.rmtree(folder, ignore_errors=True)


def _postmaster(pid_file: Path) -> int | None:
    """Return the id of the server of a data folder, unless the id belongs to another process by now."""
    try:
        pid = int(pid_file.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return pid if str(pid_file.parent).encode() in _proc(pid, "cmdline") else None


def _kill(find) -> None:
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while (found := find()) and time.monotonic() < deadline:
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _processes() -> list[int]:
    own = (os.getpid(), os.getppid())
    return [pid for entry in Path("/proc").glob("[0-9]*") if (pid := int(entry.name)) not in own]


def _runs(pid: int) -> bool:
    return bool(_proc(pid, "cmdline"))  # empty for a process that has ended and waits for its parent


def _proc(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _guard(parent: int, folder: Path) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_S)
    clean_up(folder)


if __name__ == "__main__":
    _guard(int(sys.argv[1]), Path(sys.argv[2]))
