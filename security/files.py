"""Files that are whole at any moment, whoever reads them and whenever the writer is killed."""

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DRAFT = ".new"  # what is being written is called `.<name>.new`, which nobody reads as a key
LOCK_TIMEOUT_S = 10.0

Mark = tuple[int, ...]


def mark(path: Path) -> Mark:
    """What changes when a file's content or permissions do, or a link leads to another one. Raises: OSError."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size


def write_whole(path: Path, content: bytes, mode: int) -> None:
    """Write a file so that it is there as a whole, or as it was before. mode: its permissions.

    A link stays one. What root writes belongs to whom the file belonged, or else to the directory's owner, who has to
    be able to read it.

    Raises: OSError; nothing is left behind then.
    """
    path = path.resolve()
    draft = path.with_name(f".{path.name}{DRAFT}")
    draft.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            os.fchmod(file.fileno(), mode)  # whatever the umask
            _give_away(file.fileno(), path if path.exists() else path.parent)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def open_private(path: Path) -> int:
    """Open a file for reading and writing, which only its owner may read; it is made if need be. It has to be a plain
    file: no link is followed, and no pipe waited for. Returns: its descriptor. Raises: OSError.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(0, "is not a plain file", str(path))
        if found.st_size == 0:
            os.fchmod(descriptor, 0o600)
            _give_away(descriptor, path.parent)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def sync_directory(directory: Path) -> None:
    """Have what was renamed or removed in a directory survive a loss of power."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
    """While no other process holds this lock: a file that only its owner may open. The system frees the lock of a
    process that is killed.

    Raises: OSError; TimeoutError when another process keeps it.
    """
    descriptor = open_private(path)
    try:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(0, "another process is making changes", str(path.parent)) from None
                time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


def _give_away(descriptor: int, like: Path) -> None:
    if os.geteuid() == 0:
        owner = like.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
