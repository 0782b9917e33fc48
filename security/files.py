"""Crash-safe files: bounded reads, atomic writes, private files, and locks between processes."""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TEMPORARY_SUFFIX = ".new"  # `.<name>.new`: the leading dot keeps key stores from reading it
LOCK_TIMEOUT_S = 10.0
MAX_BYTES = 1_000_000  # for keys and configuration, which people write

Fingerprint = tuple[int, ...]


def fingerprint(path: Path) -> Fingerprint:
    """Return a value that changes with the file's content or permissions, or with the target of a link.

    Raises:
        OSError: If the file is missing or its directory is inaccessible.
    """
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size


def read_bounded(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of a regular file.

    Reading a pipe could block forever, and reading a huge file or a device could exhaust the memory.

    Args:
        path: The file. A symbolic link is followed.
        max_bytes: The largest size.

    Raises:
        OSError: If the file cannot be read, is larger, or is not a regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "is not a regular file", str(path))
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(max_bytes + 1)
    finally:
        os.close(descriptor)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"has more than {max_bytes} bytes", str(path))
    return content


def write_atomic(path: Path, content: bytes, mode: int) -> None:
    """Replace a file atomically: readers see the old content or the new, never a part.

    A symbolic link is followed. When root writes, the file keeps its owner; a new file gets the directory's owner.

    Args:
        path: The file.
        content: Its new content.
        mode: Its permissions, regardless of the umask.

    Raises:
        OSError: If the file cannot be written; the old one is unchanged.
    """
    path = path.resolve()
    temporary = path.with_name(f".{path.name}{TEMPORARY_SUFFIX}")
    temporary.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            os.fchmod(file.fileno(), mode)
            _chown_like(file.fileno(), path if path.exists() else path.parent)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def open_private(path: Path) -> int:
    """Open a file that only its owner may read, for reading and appending, and create it if necessary.

    Symbolic links are not followed, and opening a pipe does not block.

    Returns:
        The file descriptor.

    Raises:
        OSError: If the path is not a regular file or cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "is not a regular file", str(path))
        if status.st_size == 0:
            os.fchmod(descriptor, 0o600)
            _chown_like(descriptor, path.parent)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def sync_directory(directory: Path) -> None:
    """Flush renames and removals in a directory to disk, so that they survive a power failure."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
    """Hold an exclusive lock on a private file. The kernel releases it when the process exits or is killed.

    Args:
        path: The lock file, created if necessary.
        timeout_s: Seconds to wait for another process.

    Raises:
        TimeoutError: If another process keeps the lock.
        OSError: If the lock file cannot be opened.
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


def _chown_like(descriptor: int, model: Path) -> None:
    if os.geteuid() == 0:
        owner = model.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
