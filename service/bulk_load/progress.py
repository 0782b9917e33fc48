"""How far a long task has come."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """The state of a task in steps.

    Attributes:
        step: What is being done, such as "reading".
        rows: The number of rows that this step has handled, or has to handle if `total` is None.
        done: How much of `total` is done.
        total: The whole step, in rows or in bytes; None if the end is not known.
    """

    step: str
    rows: int
    done: int = 0
    total: int | None = None


OnProgress = Callable[[Progress], object]


def ignore_progress(_: Progress) -> None:
    """Do nothing."""
