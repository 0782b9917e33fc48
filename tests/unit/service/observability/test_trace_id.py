"""The id of a trace in the headers of W3C Trace Context and B3."""

import pytest

from service.observability.trace_id import trace_id

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SHORT = TRACE[:16]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"traceparent": f"00-{TRACE}-{SPAN}-01"}, TRACE),
        ({"traceparent": f"01-{TRACE}-{SPAN}-01"}, TRACE),
        ({"traceparent": f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be"}, TRACE),
        ({"b3": f"{TRACE}-{SPAN}-1-05e3ac9a4f6e3b90"}, TRACE),
        ({"b3": f"{TRACE}-{SPAN}-d"}, TRACE),
        ({"b3": f"{SHORT}-{SPAN}"}, SHORT),
        ({"x-b3-traceid": TRACE, "x-b3-spanid": SPAN}, TRACE),
        ({"x-b3-traceid": SHORT}, SHORT),
        ({"traceparent": f"00-{TRACE}-{SPAN}-01", "b3": f"{SHORT}-{SPAN}"}, TRACE),
        ({"traceparent": "malformed", "b3": "0", "x-b3-traceid": SHORT}, SHORT),
    ],
)
def test_the_id_of_a_trace_is_read(headers, expected):
    assert trace_id({name.encode(): value.encode() for name, value in headers.items()}) == expected


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"traceparent": f"ff-{TRACE}-{SPAN}-01"},
        {"traceparent": f"00-{TRACE}-{SPAN}-01-more"},
        {"traceparent": f"00-{'0' * 32}-{SPAN}-01"},
        {"traceparent": f"00-{TRACE}-{'0' * 16}-01"},
        {"traceparent": f"00-{TRACE.upper()}-{SPAN}-01"},
        {"traceparent": f"00-{TRACE}-{SPAN}-01\n"},
        {"traceparent": f"00-{TRACE}-{SPAN}-01, 00-{TRACE}-{SPAN}-01"},
        {"b3": "1"},
        {"b3": TRACE},
        {"b3": f"{TRACE}-{SPAN}-2"},
        {"x-b3-traceid": "0" * 16},
        {"x-b3-traceid": f"{TRACE}]"},
        {"x-b3-traceid": TRACE[:20]},
    ],
)
def test_a_malformed_trace_is_ignored(headers):
    assert trace_id({name.encode(): value.encode() for name, value in headers.items()}) is None
