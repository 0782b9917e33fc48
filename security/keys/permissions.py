"""Checks of file permissions in a key directory."""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class LoosePermission:
    """A file or a directory that other users can access.

    Args:
        file: Its path.
        remedy: What they can do, and how to prevent it.
        harmful: Whether a private key is readable, or keys can be added.
    """

    file: Path
    remedy: str
    harmful: bool = True


def find_loose_permissions(directory: Path, private: Iterable[Path]) -> list[LoosePermission]:
    """Return the loose permissions of a key directory; none if it cannot be read.

    The mode of a read-only mount, such as a Kubernetes secret, is ignored because it cannot be changed.

    Args:
        directory: The key directory.
        private: The private key files.
    """
    found = []
    private = list(private)
    try:
        mode = stat.S_IMODE(directory.stat().st_mode)
        mounted = bool(os.statvfs(directory).f_flag & os.ST_RDONLY)
    except OSError:  # reported by the code that reads the keys
        return []
    if not mounted and mode & stat.S_IWOTH:
        found.append(LoosePermission(directory, f"all users can add keys (mode {mode:04o}): chmod 700 {directory}"))
    elif not mounted and private and mode & stat.S_IROTH:
        remedy = f"has private keys and is readable by all users (mode {mode:04o}): chmod 700 {directory}"
        found.append(LoosePermission(directory, remedy, harmful=False))
    for file in private:
        try:
            mode = stat.S_IMODE(file.stat().st_mode)
        except OSError:
            continue
        # A mount belongs to the pod, so its group may have access (fsGroup).
        if mode & (stat.S_IRWXO if mounted else stat.S_IRWXG | stat.S_IRWXO):
            remedy = "mount it with defaultMode 0400" if mounted else f"chmod 600 {file}"
            message = f"is a private key that other users can read (mode {mode:04o}): {remedy}"
            found.append(LoosePermission(file, message))
    return found
