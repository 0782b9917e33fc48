"""Logs failures that repeat: each kind once, and their number when they are over."""

import logging

from service.errors import SettingsError
from service.plural import counted
from service.vault.failure import VaultUnavailable


class RepeatedFailure:
    """The failures of one task since it last succeeded. Not thread-safe.

    Args:
        log: The log of the task.
        task: What fails, for the line that states the number, such as "the login to Vault".
    """

    def __init__(self, log: logging.Logger, task: str) -> None:
        self._log = log
        self._task = task
        self._seen: set[str] = set()
        self._count = 0

    def record(self, err: Exception, consequence: str) -> None:
        """Count a failure, and log it with its consequence unless it has been logged since the last success."""
        self._count += 1
        if str(err) not in self._seen:
            self._seen.add(str(err))
            is_expected = isinstance(err, VaultUnavailable | SettingsError)
            self._log.warning("%s; %s", err, consequence, exc_info=None if is_expected else err)

    def clear(self) -> None:
        """Forget the failures, after a success. Those that were not logged are counted in a line."""
        if self._count > len(self._seen):
            self._log.info("%s succeeded after %s", self._task, counted(self._count, "failed attempt"))
        self._seen.clear()
        self._count = 0
