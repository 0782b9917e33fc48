"""The ids that a trusted proxy has given to a request and to its trace."""

from collections.abc import Callable, Set

from service.observability.request_id import ID_HEADERS, accept_id
from service.observability.trace_id import TRACE_HEADERS, outgoing_headers, trace_id
from service.web.door.exchange import Exchange
from service.web.door.framing import Headers


class ReceivedIds:
    """Reads the ids in the headers of requests.

    Args:
        header: The header that the operator's gateway is configured to write, which is preferred to the others.
        outgoing: Returns the headers that name the trace to other services.
    """

    def __init__(
        self,
        header: str | None = None,
        outgoing: Callable[[Headers], dict[str, str]] = outgoing_headers,
    ) -> None:
        preferred = () if header is None else (header.lower(),)
        self._outgoing = outgoing
        self._id_headers = tuple(name.encode("latin-1") for name in dict.fromkeys((*preferred, *ID_HEADERS)))
        self.headers: Set[bytes] = frozenset((*self._id_headers, *TRACE_HEADERS))  # that `read` uses

    def read(self, exchange: Exchange, headers: Headers) -> None:
        """Name a request after the headers of a trusted proxy. Without a valid id, it keeps the one that it has."""
        received = (accept_id(headers[name]) for name in self._id_headers if name in headers)
        exchange.id = next(filter(None, received), exchange.id)
        exchange.trace_id = trace_id(headers) or ""
        exchange.trace_headers = self._outgoing(headers)
