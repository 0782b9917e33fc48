"""A small JSON file that the processes of this service share. Readers never see it half written."""

import fcntl
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


class SharedFile:
    """One JSON object in a file. A failure to read or write it is logged once: the process then knows only its own.

    Args:
        path: The file. A cleanup job may remove it and its folder; the next update creates them again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._has_failed = False

    def read_if_changed(self) -> dict[str, Any] | None:
        """Return the content if another process has changed it since the last call; otherwise None."""
        try:
            status = os.stat(self._path)
        except OSError:
            return None  # nothing was shared yet
        stamp = (status.st_ino, status.st_mtime_ns)  # each update is a new file
        if stamp == self._seen:
            return None
        self._seen = stamp
        return self._read()

    def update(self, merge: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Replace the content. Updates of several processes follow one another.

        Args:
            merge: Returns the new content for the present one, which is empty if nothing was shared yet.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                draft = self._path.with_suffix(".new")
                draft.write_text(json.dumps(merge(self._read() or {})), encoding="utf-8")
                os.replace(draft, self._path)
        except OSError as err:
            self._log_once(err)

    def _read(self) -> dict[str, Any] | None:
        try:
            content: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as err:
            self._log_once(err)
            return None
        return content

    def _log_once(self, err: Exception) -> None:
        if not self._has_failed:
            log.error("cannot share %s with the other processes of this service: %s", self._path.name, err)
        self._has_failed = True
