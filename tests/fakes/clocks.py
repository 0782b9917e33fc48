"""Clocks for what takes one: time that passes when a test says so."""


class Clock:
    """Stands still until its `now` is moved. Seconds."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Ticking(Clock):
    """Moves on by `step` whenever it is looked at, so that every look is late enough for what is done now and then."""

    step = 1.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now
