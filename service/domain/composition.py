"""What a balance consists of: the principal, and the sum of the events of each type."""

from typing import NamedTuple

from native import REVERSAL, Timeline
from service.domain.statement import TYPES


class Composition(NamedTuple):
    """The sums behind a balance, in minor units. The principal and the changes add up to it.

    Attributes:
        principal: The principal; 0 before the loan starts.
        changes: What the events of each type add to the balance, with their reversals. Types without events are left
            out.
        events: The number of events.
        reversals: How many of them are reversals.
    """

    principal: int
    changes: dict[str, int]
    events: int
    reversals: int


def compose(timeline: Timeline, day: int) -> Composition:
    """Return what the balance at the end of a day consists of.

    Args:
        timeline: The loan's events.
        day: Days since 1970-01-01.
    """
    if day < timeline.start_day:
        return Composition(0, {}, 0, 0)
    count = timeline.position(day)
    _, (_, kinds, running, _), *_ = timeline.columns()
    kinds, running = kinds[:count], running[:count]
    sums: dict[int, int] = {}
    before = timeline.initial
    for kind, balance in zip(kinds, running, strict=True):
        sums[kind] = sums.get(kind, 0) + balance - before
        before = balance
    changes: dict[str, int] = {}
    for kind in sorted(sums):
        name = TYPES[kind & ~REVERSAL]
        changes[name] = changes.get(name, 0) + sums[kind]
    reversals = sum(kind >= REVERSAL for kind in kinds)
    return Composition(timeline.initial, changes, len(kinds), reversals)
