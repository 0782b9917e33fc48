"""What the log says about the request that a line belongs to."""

from collections.abc import Mapping
from contextvars import Context, ContextVar, copy_context
from types import MappingProxyType
from typing import Any

from security.trace_context import trace_headers

MAX_CALLER = 200
MAX_REJECTION = 500
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class RequestMarks:
    """What is known about a request, for its lines of the log. Found out while it is answered.

    Attributes:
        id: The id of the request, as the reply states it.
        trace_id: The id of the trace that a trusted proxy has named, or of its span; empty without one.
        trace_headers: The headers that name the trace to other services; empty without one.
        caller: The user or client of the token; empty if unknown.
        rejection: Why the token was rejected; empty if it was not.
        span: The span of the request, of the tracing that records it; None without one.
    """

    __slots__ = ("caller", "id", "rejection", "span", "trace_headers", "trace_id")

    def __init__(self, id_: str) -> None:
        self.id = id_
        self.trace_id = ""
        self.trace_headers = _NO_HEADERS
        self.caller = ""
        self.rejection = ""
        self.span: Any = None


current_request: ContextVar[RequestMarks | None] = ContextVar("current_request", default=None)


def request_context(marks: RequestMarks) -> Context:
    """Return a context for calls that belong to a request."""
    context = copy_context()  # several requests may share the context of an event loop
    context.run(current_request.set, marks)
    if marks.trace_headers:
        context.run(trace_headers.set, marks.trace_headers)
    return context


def note_caller(user_id: str) -> None:
    """Record who sent the current request."""
    marks = current_request.get()
    if marks is not None:
        marks.caller = user_id[:MAX_CALLER]


def note_rejection(reason: str) -> None:
    """Record why the token of the current request was rejected. The line of the request states it."""
    marks = current_request.get()
    if marks is not None:
        marks.rejection = reason[:MAX_REJECTION]
