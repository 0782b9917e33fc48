"""A collector on loopback that decodes what OTLP exporters send over HTTP."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.fakes.http_server import serving

ERROR = 2  # in the protocol


@dataclass(frozen=True)
class ReceivedSpan:
    """A span that has been received."""

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    is_error: bool
    status_message: str
    attributes: dict[str, Any]
    resource: dict[str, Any]
    duration_ns: int


class OtlpReceiver:
    """What a collector has received.

    Attributes:
        url: Its address.
        spans: The spans, in the order of their arrival.
        status: The status of its replies.
        delay_s: How long it takes for each.
    """

    def __init__(self) -> None:
        self.url = ""
        self.spans: list[ReceivedSpan] = []
        self.status = 200
        self.delay_s = 0.0
        self.requests: list[tuple[str, dict[str, str]]] = []

    def trace(self, trace_id: str, names: set[str], seconds: float = 40) -> list[ReceivedSpan]:
        """Return the spans of a trace, as soon as they have these names."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = [span for span in self.spans if span.trace_id == trace_id]
            if names <= {span.name for span in found}:
                return found
            time.sleep(0.02)
        raise AssertionError([span for span in self.spans if span.trace_id == trace_id])

    def _answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        time.sleep(self.delay_s)
        self.requests.append((path, headers))
        if self.status == 200:
            self.spans += _decode(body)
        return self.status, b""


def _decode(body: bytes) -> Iterator[ReceivedSpan]:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield ReceivedSpan(
                    span.name, span.kind, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(),
                    span.status.code == ERROR, span.status.message, _values(span.attributes),
                    _values(resource.resource.attributes), span.end_time_unix_nano - span.start_time_unix_nano,
                )  # fmt: skip
                assert not span.events, "errors are not recorded as events: their text may hold what a client sent"


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@contextmanager
def receiving() -> Iterator[OtlpReceiver]:
    """Run a collector until the end of the block."""
    receiver = OtlpReceiver()
    with serving(receiver._answer) as receiver.url:
        yield receiver
