"""Files that are whole at any moment, whoever reads them and whenever the writer is killed."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DRAFT = ".new"  # what is being written is called `.<name>.new`, which nobody reads as a key
LOCK_TIMEOUT_S = 10.0


def write_whole(path: Path, content: bytes, mode: int) -> None:
    """Write a file so that it is there as a whole, or as it was before. mode: its permissions.

    What root writes belongs to the directory's owner, who has to be able to read it.

    Raises: OSError; nothing is left behind then.
    """
    draft = path.with_name(f".{path.name}{DRAFT}")
    draft.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            os.fchmod(file.fileno(), mode)  # whatever the umask
            if os.geteuid() == 0:
                owner = path.parent.stat()
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Have what was renamed or removed in a directory survive a loss of power."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(directory: Path, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
    """While no other process is changing files of this directory. The system frees the lock of one that is killed.

    Raises: OSError; TimeoutError when another process keeps it locked.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(0, "another process is changing it", str(directory)) from None
                time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)
