"""The trace that a request belongs to, as a trusted proxy propagates it.

Sources: W3C Trace Context, section 3.2, and openzipkin/b3-propagation.
"""

import re
from collections.abc import Mapping

TRACEPARENT, TRACESTATE, B3 = b"traceparent", b"tracestate", b"b3"
B3_TRACE_ID, B3_SPAN_ID, B3_SAMPLED = b"x-b3-traceid", b"x-b3-spanid", b"x-b3-sampled"
TRACE_HEADERS = (TRACEPARENT, B3, B3_TRACE_ID)

# Later versions may append fields. Version ff and ids of zeros are invalid.
_TRACEPARENT = re.compile(
    rb"(?!ff)(?:00-([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
    rb"|(?!00)[0-9a-f]{2}-([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]*)?)"
)
_TRACESTATE = re.compile(rb"[\t -~]{1,4096}")
_B3_TRACE_ID = re.compile(rb"([0-9a-f]{16}(?:[0-9a-f]{16})?)")
# The whole header may also be a sampling decision alone, such as "0", which names no trace.
_B3 = re.compile(rb"([0-9a-f]{16}(?:[0-9a-f]{16})?)-[0-9a-f]{16}(?:-[01d](?:-[0-9a-f]{16})?)?")


def trace_id(headers: Mapping[bytes, bytes]) -> str | None:
    """Return the id of the trace in the headers of a request, or None without a valid one.

    Args:
        headers: The headers by lower-case name. `traceparent` is preferred to B3, and its single header to the others.
    """
    for pattern, name in ((_TRACEPARENT, TRACEPARENT), (_B3, B3), (_B3_TRACE_ID, B3_TRACE_ID)):
        match = pattern.fullmatch(headers.get(name, b""))
        if match is not None:
            found: str = next(filter(None, match.groups())).decode()
            if found.strip("0"):
                return found
    return None


def outgoing_headers(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """Return the headers that name the trace to other services: those of W3C Trace Context, as received.

    The service adds no span to the trace, so that what it calls belongs to the span of its caller (section 2.2).

    Args:
        headers: The headers of a request by lower-case name.
    """
    traceparent = headers.get(TRACEPARENT, b"")
    if trace_id({TRACEPARENT: traceparent}) is None:
        return {}
    state = headers.get(TRACESTATE, b"")
    with_state = {"tracestate": state.decode()} if _TRACESTATE.fullmatch(state) else {}
    return {"traceparent": traceparent.decode(), **with_state}


def traceparent_headers(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """Return the headers of W3C Trace Context that name the span of the caller, also if it is named by those of B3.

    Args:
        headers: The headers of a request by lower-case name.
    """
    found = outgoing_headers(headers)
    if found:
        return found
    single = headers.get(B3, b"")
    if _B3.fullmatch(single) is None:
        parts = [headers.get(name, b"") for name in (B3_TRACE_ID, B3_SPAN_ID)]
        single = b"-".join([*parts, headers.get(B3_SAMPLED) or b"d"])
    if trace_id({B3: single}) is None:
        return {}
    trace, span, *sampled = single.decode().split("-")
    return {"traceparent": f"00-{trace:0>32}-{span}-{'00' if sampled[:1] == ['0'] else '01'}"}
