"""A plan of writes: what a gateway needs to match a declaration, and how to undo it."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.gateway.diff import Change
from service.gateway.registrator import RegistrationException

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Step:
    """One write.

    Attributes:
        apply: Writes.
        undo: Restores what was there before.
        change: What changes, for people; None if another step already says so.
    """

    apply: Callable[[], object]
    undo: Callable[[], object]
    change: Change | None = None


def changes_of(steps: Sequence[Step]) -> list[Change]:
    """Return the changes of a plan."""
    return [step.change for step in steps if step.change is not None]


def carry_out(steps: Sequence[Step]) -> None:
    """Carry out a plan completely, or undo what was done.

    Raises:
        RegistrationException: If a write fails.
    """
    done: list[Step] = []
    try:
        for step in steps:
            done.append(step)
            step.apply()
    except RegistrationException as refusal:
        if refusal.status is not None and refusal.status < 500:
            done.pop()  # refused. Without a reply, it may have been carried out.
        for step in reversed(done):
            try:
                step.undo()
            except RegistrationException as err:
                log.warning("a refused registration could not be undone: %s", err)
        raise
