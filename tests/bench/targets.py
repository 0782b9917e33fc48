"""Targets of measurements, and the report that compares them with what was measured."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

import click


@dataclass(frozen=True)
class Target:
    """A figure to reach: a ratio of two measurements, or one measurement.

    Args:
        label: What is measured.
        name: The name of the measurements.
        reference: The name of the measurements that these are divided by; None for none.
        field: The attribute of a measurement that counts.
        limit: The bound that must hold: the smallest figure allowed, or the largest one if less is better.
        aim: The figure to aim at; None if it is the limit.
        less_is_better: Whether `limit` and `aim` are upper bounds.
    """

    label: str
    name: str
    reference: str | None
    field: str
    limit: float
    aim: float | None = None
    less_is_better: bool = False

    def report(self, measured: Mapping[str, Sequence[object]]) -> None:
        """Print the median and the range over all rounds, and whether the median reaches the target."""
        read = attrgetter(self.field)
        values = [read(each) for each in measured[self.name]]
        if self.reference is not None:
            values = [a / read(b) for a, b in zip(values, measured[self.reference], strict=True)]
        values.sort()
        median = statistics.median(values)
        bound = "at most" if self.less_is_better else "at least"
        aim = "" if self.aim is None else f", aim {self.aim:.2f}"
        click.echo(
            f"{self.label}: {median:.2f} ({values[0]:.2f} to {values[-1]:.2f}; {bound} {self.limit:.2f}{aim}): "
            f"{self._verdict(median)}"
        )

    def _verdict(self, value: float) -> str:
        sign = -1 if self.less_is_better else 1
        if self.aim is not None and sign * value >= sign * self.aim:
            return "reaches the aim"
        return "reached" if sign * value >= sign * self.limit else "MISSED"
