"""The trace that requests to other services belong to (W3C Trace Context)."""

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType

# Set by the application: the headers that name the trace of the request it answers. They are sent with every request
# that it causes, to an introspection endpoint or for keys.
trace_headers: ContextVar[Mapping[str, str]] = ContextVar("trace_headers", default=MappingProxyType({}))
