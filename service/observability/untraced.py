"""Tracing that is off, which most instances have: it does nothing."""

from typing import Literal, TypeVar

from service.observability.request_marks import RequestMarks
from service.observability.trace_id import outgoing_headers

Kind = Literal["lookup", "cache", "database", "posting", "agreements"]
Part = TypeVar("Part")


class Tracing:
    """Tracing that is off. Parts of the application stay as they are, so it costs nothing."""

    is_on = False
    outgoing_headers = staticmethod(outgoing_headers)

    def traced(self, part: Part, kind: Kind, **attributes: str) -> Part:
        """Return a part of the application whose calls are recorded as spans of the request that causes them.

        Args:
            part: The part.
            kind: What it does.
            attributes: What all of its spans state, with underscores in place of dots.
        """
        return part

    def begin(self, marks: RequestMarks, method: str, scheme: str) -> None:
        """Begin the span of a request, as a child of the span that its trusted proxy has named."""

    def end(self, marks: RequestMarks, method: str, route: str, status: int) -> None:
        """End the span of a request."""
