"""The front door of a process that records spans."""

from typing import Any

from service.ledger.timeline_lookup import LoanSnapshot
from service.observability.metrics import OTHER
from service.observability.request_log import RequestLog
from service.observability.request_marks import RequestMarks
from service.observability.untraced import Tracing
from service.web.door.exchange import Exchange
from service.web.door.framing import Headers, Scope
from service.web.front_door import FrontDoor

UNTRACED = frozenset(("/healthcheck", "/ready", "/metrics"))  # frequent, and of no caller


class TracedFrontDoor(FrontDoor):
    """A front door whose requests are spans.

    Args:
        *parts: The parts of a front door.
        tracing: Records the spans.
    """

    def __init__(self, *parts: Any, tracing: Tracing) -> None:
        super().__init__(*parts)
        self._tracing = tracing

    def _admit(self, exchange: Exchange, scope: Scope) -> Headers:
        try:
            return super()._admit(exchange, scope)
        finally:  # also of requests that are refused
            if scope["path"] not in UNTRACED:
                scheme = scope["scheme"] if exchange.origin is None else exchange.origin.scheme
                self._tracing.begin(exchange, scope["method"], scheme)

    def _get_cached(self, exchange: Exchange, loan_id: int) -> LoanSnapshot | None:
        found: LoanSnapshot | None = exchange.call(self._balances.get_cached, loan_id)
        return found


class TracedRequestLog(RequestLog):
    """A request log that ends the spans of requests.

    Args:
        tracing: Records the spans.
    """

    def __init__(self, tracing: Tracing) -> None:
        super().__init__()
        self._tracing = tracing

    def record(
        self,
        address: str | None,
        method: str,
        path: str,
        route: str | None,
        status: int,
        duration_s: float,
        marks: RequestMarks,
    ) -> None:
        """Record a request that has been answered, and end its span."""
        if marks.span is not None:
            self._tracing.end(marks, method, route or OTHER, status)
        super().record(address, method, path, route, status, duration_s, marks)
