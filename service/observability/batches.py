"""Metrics that are counted in memory first, and written in batches."""

import logging
import os
from collections.abc import Callable

Action = Callable[[], None]

log = logging.getLogger(__name__)

_actions: list[Action] = []
_failing: set[Action] = set()


def on_flush(action: Action) -> None:
    """Call an action at each flush, for as long as the process runs. It must not block."""
    _actions.append(action)


def flush() -> None:
    """Write everything that has been counted in this process. An action that fails is logged and called again later."""
    for action in _actions.copy():
        try:
            action()
        except Exception:
            if action not in _failing:  # once, not ten times a second
                _failing.add(action)
                log.exception("cannot write metrics; trying again")
        else:
            _failing.discard(action)


os.register_at_fork(before=flush)  # what is still in memory would be written by the child as well
