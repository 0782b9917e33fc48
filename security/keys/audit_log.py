"""The audit log of a key directory: one JSON line for each change, written before the change is made."""

import getpass
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from security.files import open_private


class KeyAudit:
    """Appends to, and reads, `<owner>.log` in a key directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def record(self, action: str, key: str, at: str, **more: str) -> None:
        """One more line: who does what to which key, and when. Raises: OSError."""
        line = json.dumps({"at": at, "by": _who(), "action": action, "key": key, **more}).encode()
        with os.fdopen(open_private(self.path), "r+b") as file:
            if file.seek(0, os.SEEK_END) and file.seek(-1, os.SEEK_END) and file.read(1) != b"\n":
                line = b"\n" + line  # behind a line whose writer was killed
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def last(self, action: str) -> Mapping[str, Mapping[str, Any]]:
        """For each key the last line that tells of this action. What is no line of ours is passed over.

        Raises: OSError for a log that is there and cannot be read.
        """
        found = {}
        if not self.path.is_file():  # a pipe would be waited for
            return {}
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:  # a line whose writer was killed
                continue
            if isinstance(entry, dict) and entry.get("action") == action and isinstance(entry.get("key"), str):
                found[entry["key"]] = entry
        return found


def _who() -> str:
    """The person, by what the system knows and by what they say: the user id, and the name before sudo."""
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in a container
        user = "unknown"
    return f"{user}@{socket.gethostname()} (uid {os.getuid()})"
