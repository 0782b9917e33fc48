"""The front door of a process that records spans."""

from typing import Any

from service.ledger.timeline_lookup import LoanSnapshot
from service.observability.untraced import Tracing
from service.web.door.exchange import Exchange
from service.web.door.framing import Headers, Scope
from service.web.front_door import CLIENT_CLOSED, FrontDoor

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

    def _record(self, exchange: Exchange, scope: Scope, duration_s: float) -> None:
        if exchange.span is not None:
            self._tracing.end(exchange, scope["method"], exchange.route, exchange.status or CLIENT_CLOSED)
        super()._record(exchange, scope, duration_s)
