"""Clocks whose time a test sets."""


class Clock:
    """A clock, in seconds, that stands still until a test changes `now`."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Ticking(Clock):
    """A clock that advances by `step` at each call, so that periodic work is always due."""

    step = 1.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now
