"""A gauge that does not appear until it is set."""

from threading import Lock
from typing import Literal

from prometheus_client import Gauge

Mode = Literal["livemin", "livemax", "livesum", "livemostrecent"]
_creation_lock = Lock()


class LazyGauge:
    """A gauge without labels that is not exported until it is set.

    The library's own gauge starts at 0 in every process. As a timestamp that would mean 1970, and a minimum over
    several processes would be 0 until each of them has set it.

    Args:
        name: The metric's name.
        documentation: Its help text.
        mode: How the values of several live processes are combined.
    """

    def __init__(self, name: str, documentation: str, mode: Mode) -> None:
        self._name = name
        self._documentation = documentation
        self._mode = mode
        self._gauge: Gauge | None = None

    def set(self, value: float) -> None:
        """Set the value."""
        self._get_gauge().set(value)

    def inc(self, amount: float = 1) -> None:
        """Increase the value."""
        self._get_gauge().inc(amount)

    def dec(self, amount: float = 1) -> None:
        """Decrease the value."""
        self._get_gauge().dec(amount)

    def _get_gauge(self) -> Gauge:
        if self._gauge is None:
            with _creation_lock:
                if self._gauge is None:
                    self._gauge = Gauge(self._name, self._documentation, multiprocess_mode=self._mode)
        return self._gauge
