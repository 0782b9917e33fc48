"""Who else on a machine can read or change the files of a key directory."""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Exposed:
    """file: what lies open. remedy: how, and what to do about it. harmful: whether a secret or trust is at stake."""

    file: Path
    remedy: str
    harmful: bool = True


def exposure(directory: Path, private: Iterable[Path]) -> list[Exposed]:
    """What lies open. private: the files of private keys.

    The mode of a directory that is mounted read-only, as Kubernetes mounts secrets, is nobody's to change.
    """
    found = []
    private = list(private)
    try:
        mode = stat.S_IMODE(directory.stat().st_mode)
        mounted = bool(os.statvfs(directory).f_flag & os.ST_RDONLY)
    except OSError:  # whoever needs the directory says what is wrong with it
        return []
    if not mounted and mode & stat.S_IWOTH:
        found.append(Exposed(directory, f"anybody may put keys into it (mode {mode:04o}): chmod 700 {directory}"))
    elif not mounted and private and mode & stat.S_IROTH:
        remedy = f"holds private keys and is open to all (mode {mode:04o}): chmod 700 {directory}"
        found.append(Exposed(directory, remedy, harmful=False))
    for file in private:
        try:
            mode = stat.S_IMODE(file.stat().st_mode)
        except OSError:
            continue
        # a mount is the pod's own, whose group may be let in (fsGroup)
        if mode & (stat.S_IRWXO if mounted else stat.S_IRWXG | stat.S_IRWXO):
            remedy = "mount it with defaultMode 0400" if mounted else f"chmod 600 {file}"
            found.append(Exposed(file, f"is a private key that others may read (mode {mode:04o}): {remedy}"))
    return found
