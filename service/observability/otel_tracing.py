"""Records spans with OpenTelemetry. Importing this module needs the extra `otel`.

Names and attributes follow OpenTelemetry's semantic conventions. No attribute has a path, a query, a parameter of a
statement, a token, or the text of an error: all of them may hold what a client sent.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import time_ns
from typing import Any, cast

from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import (
    Span,
    SpanKind,
    StatusCode,
    format_trace_id,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from security.trace_context import trace_headers
from service.errors import DatabaseUnavailable, LoanerError
from service.observability.metrics import METHODS, OTHER
from service.observability.request_marks import RequestMarks, current_request
from service.observability.trace_id import traceparent_headers
from service.observability.traced_calls import CALLS, Call
from service.observability.untraced import Kind, Part, Tracing

Method = Callable[..., Any]

_OTHER_METHOD = "_OTHER"
_propagator = TraceContextTextMapPropagator()


class OtelTracing(Tracing):
    """Records the spans of this process.

    Args:
        provider: Where the spans go.
    """

    is_on = True
    outgoing_headers = staticmethod(traceparent_headers)

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("loaner")

    def traced(self, part: Part, kind: Kind, **attributes: str) -> Part:
        """Return a part whose calls are recorded as spans of the request that causes them."""
        common = {name.replace("_", "."): value for name, value in attributes.items()}
        wrapped = {name: self._wrap(getattr(part, name), call, common) for name, call in CALLS[kind].items()}
        return cast(Part, _TracedPart(part, wrapped))

    def begin(self, marks: RequestMarks, method: str, scheme: str) -> None:
        """Begin the span of a request. What the request causes belongs to it."""
        known = method if method in METHODS else _OTHER_METHOD
        marks.span = span = self._tracer.start_span(
            known,
            _propagator.extract(marks.trace_headers, Context()),
            SpanKind.SERVER,
            {"http.request.method": known, "url.scheme": scheme, "loaner.request_id": marks.id},
        )
        marks.trace_id = format_trace_id(span.get_span_context().trace_id)
        marks.trace_headers = _headers(span)

    def end(self, marks: RequestMarks, method: str, route: str, status: int) -> None:
        """End the span of a request."""
        span = marks.span
        span.set_attribute("http.response.status_code", status)
        known = method if method in METHODS else "HTTP"
        if route == OTHER:
            span.update_name(known)
        else:
            span.set_attribute("http.route", route)
            span.update_name(f"{known} {route}")
        if status >= 500:
            span.set_attribute("error.type", str(status))
            span.set_status(StatusCode.ERROR)
        span.end()

    def _wrap(self, function: Method, call: Call, common: dict[str, str]) -> Method:
        wrap = {"call": self._recorded, "stream": self._streamed, "hit": self._found}[call.form]
        return wrap(function, call, common)

    def _recorded(self, function: Method, call: Call, common: dict[str, str]) -> Method:
        """Return a method whose calls are spans."""

        def record(*arguments: Any, **options: Any) -> Any:
            parent = _parent()
            if parent is None:
                return function(*arguments, **options)
            with self._current(self._start(call, parent, common | call.attributes(*arguments, **options)), parent):
                return function(*arguments, **options)

        return record

    def _streamed(self, function: Method, call: Call, common: dict[str, str]) -> Method:
        """Return a method whose iterators are spans, from the first item to the end."""

        def record(rows: Iterator[Any], parent: Context, attributes: dict[str, Any]) -> Iterator[Any]:
            span = self._start(call, parent, attributes)
            try:
                yield from rows
            except Exception as err:
                _fail(span, err)
                raise
            finally:
                span.end()

        def stream(*arguments: Any, **options: Any) -> Any:
            parent, rows = _parent(), function(*arguments, **options)
            return rows if parent is None else record(rows, parent, common | call.attributes(*arguments, **options))

        return stream

    def _found(self, function: Method, call: Call, common: dict[str, str]) -> Method:
        """Return a method whose calls are spans if they return something."""

        def find(*arguments: Any, **options: Any) -> Any:
            begun = time_ns()
            found = function(*arguments, **options)
            parent = None if found is None else _parent()
            if parent is not None:
                self._start(call, parent, common | call.attributes(*arguments, **options), begun).end()
            return found

        return find

    def _start(self, call: Call, parent: Context, attributes: dict[str, Any], begun: int | None = None) -> Span:
        return self._tracer.start_span(call.name(attributes), parent, call.kind, attributes, start_time=begun)

    @contextmanager
    def _current(self, span: Span, parent: Context) -> Iterator[None]:
        """Make a span the current one until the end of the block, which ends it."""
        previous_span = attach(set_span_in_context(span, parent))
        previous_headers = trace_headers.set(_headers(span))
        try:
            yield
        except Exception as err:
            _fail(span, err)
            raise
        finally:
            trace_headers.reset(previous_headers)
            detach(previous_span)
            span.end()


class _TracedPart:
    """A part of the application, some of whose methods are recorded."""

    def __init__(self, part: object, wrapped: dict[str, Method]) -> None:
        self._part = part
        self.__dict__.update(wrapped)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)


def _parent() -> Context | None:
    """Return the context of the span that a new one belongs to; None outside of requests that are sampled."""
    request = current_request.get()
    if request is None or request.span is None or not request.span.is_recording():
        return None
    if get_current_span().get_span_context().is_valid:
        return get_current()
    return set_span_in_context(request.span)


def _headers(span: Span) -> dict[str, str]:
    headers: dict[str, str] = {}
    _propagator.inject(headers, set_span_in_context(span, Context()))
    return headers


def _fail(span: Span, err: Exception) -> None:
    """State the class of an error. What a client got wrong is not a failure of the service."""
    span.set_attribute("error.type", type(err).__qualname__)
    if isinstance(err, DatabaseUnavailable) or not isinstance(err, LoanerError):
        span.set_status(StatusCode.ERROR)
