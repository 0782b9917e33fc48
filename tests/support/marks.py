"""What is known about a request, for its lines of the log."""

from service.observability.request_marks import RequestMarks


def marks(id_: str, trace_id: str = "", caller: str = "", rejection: str = "") -> RequestMarks:
    """Return what is known about a request."""
    found = RequestMarks(id_)
    found.trace_id, found.caller, found.rejection = trace_id, caller, rejection
    return found
