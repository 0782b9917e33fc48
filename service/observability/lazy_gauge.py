"""A gauge that is not there until it is set."""

from threading import Lock
from typing import Literal

from prometheus_client import Gauge

Mode = Literal["livemin", "livemax", "livesum", "livemostrecent"]
_making = Lock()


class LazyGauge:
    """A value without labels. Until it is set it is not told: the library's own gauge begins as 0 in every process,
    which of a time says 1970, and of the least of several processes that one of them stands still.

    mode: how the values of several living processes make one.
    """

    def __init__(self, name: str, documentation: str, mode: Mode) -> None:
        self._name = name
        self._documentation = documentation
        self._mode = mode
        self._gauge: Gauge | None = None

    def set(self, value: float) -> None:
        """Be this."""
        self._made().set(value)

    def inc(self, amount: float = 1) -> None:
        """Be so much more."""
        self._made().inc(amount)

    def dec(self, amount: float = 1) -> None:
        """Be so much less."""
        self._made().dec(amount)

    def _made(self) -> Gauge:
        if self._gauge is None:
            with _making:
                if self._gauge is None:
                    self._gauge = Gauge(self._name, self._documentation, multiprocess_mode=self._mode)
        return self._gauge
