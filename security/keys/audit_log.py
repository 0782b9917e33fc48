"""The audit log of a key directory: one JSON line per change, written before the change is made."""

import getpass
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from security.files import open_private, read_bounded

MAX_BYTES = 50_000_000  # more than 200,000 changes


class KeyAudit:
    """Appends to and reads an audit log.

    Args:
        path: The log file, created by the first record.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def record(self, action: str, key: str, at: str, **details: str) -> None:
        """Append a line and flush it to disk.

        Args:
            action: What is done.
            key: The name of the key.
            at: The time of the change.
            **details: Further members of the line.

        Raises:
            OSError: If the log cannot be written.
        """
        line = json.dumps({"at": at, "by": _current_user(), "action": action, "key": key, **details}).encode()
        with os.fdopen(open_private(self.path), "r+b") as file:
            if file.seek(0, os.SEEK_END) and file.seek(-1, os.SEEK_END) and file.read(1) != b"\n":
                line = b"\n" + line  # the last writer was killed within a line
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def last(self, action: str) -> Mapping[str, Mapping[str, Any]]:
        """Return the latest record of an action for each key. Malformed lines are skipped.

        Raises:
            OSError: If the log exists and cannot be read.
        """
        found = {}
        if not self.path.is_file():
            return {}
        for line in read_bounded(self.path, MAX_BYTES).decode("utf-8", "replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:  # cut short when its writer was killed
                continue
            if isinstance(entry, dict) and entry.get("action") == action and isinstance(entry.get("key"), str):
                found[entry["key"]] = entry
        return found


def _current_user() -> str:
    """Return the user name (the one before sudo), the host and the user id."""
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in a container
        user = "unknown"
    return f"{user}@{socket.gethostname()} (uid {os.getuid()})"
