"""Sends spans to a collector in the background (OTLP over HTTP). Needs the extra `otel`.

Requests neither wait for the collector nor fail with it: at most OTEL_BSP_MAX_QUEUE_SIZE spans wait, and what is beyond
is lost and counted.
"""

import logging
import os
import re
from collections.abc import Callable, Sequence
from multiprocessing.util import Finalize
from threading import Lock, Thread
from uuid import uuid4

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from service.observability.metrics import lost_spans
from service.plural import counted

STOP_TIMEOUT_S = 3  # a process that stops waits this long for the collector
_QUERY = re.compile(r"\?\S*")
_QUEUE_SIZE = ("OTEL_BSP_MAX_QUEUE_SIZE", 2048)

log = logging.getLogger(__name__)


def open_provider(service: str, version: str) -> TracerProvider:
    """Return a provider whose spans are exported until the process ends.

    Raises:
        ValueError: If a variable `OTEL_*` cannot be used.
    """
    own = {"service.name": service, "service.version": version, "service.instance.id": str(uuid4())}
    resource = Resource.create({**own, **OTELResourceDetector().detect().attributes})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    logging.getLogger("opentelemetry.util.re").addFilter(_hide_value)
    export = BoundedExport(OTLPSpanExporter())
    provider.add_span_processor(export)
    Finalize(None, export.shutdown, exitpriority=1)  # before the last flush of metrics and of the log
    return provider


def _hide_value(record: logging.LogRecord) -> bool:
    """Change the message about a malformed variable, which has the variable's value: it may hold a key."""
    record.msg, record.args = "OTEL_*_HEADERS: expected name=value, separated by commas", ()
    return True


class BoundedExport(SpanProcessor):
    """Exports spans in batches. It counts those that are lost, and says so once for as long as it lasts.

    Args:
        exporter: Sends a batch. Its own messages are not logged, since it repeats them for each batch.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._limit = _queue_size()
        self._pending = 0
        self._lock = Lock()
        self._lost_while_full = lost_spans.labels("full")
        self._batches = BatchSpanProcessor(_Reporting(exporter, self._release), max_queue_size=self._limit)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Do nothing: a span is exported when it ends."""

    def on_end(self, span: ReadableSpan) -> None:
        """Add a span to the next batch. It does not wait."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        with self._lock:
            is_full = self._pending >= self._limit
            self._pending += not is_full
        if is_full:
            self._lost_while_full.inc()
        else:
            self._batches.on_end(span)

    def shutdown(self) -> None:
        """Export what is left, for at most `STOP_TIMEOUT_S`."""
        thread = Thread(target=self._batches.shutdown, name="last-spans", daemon=True)
        thread.start()
        thread.join(STOP_TIMEOUT_S)
        if self._pending:
            lost_spans.labels("stop").inc(self._pending)
            log.warning("stopping: lost %s that the collector did not take in time", counted(self._pending, "span"))

    def _release(self, count: int) -> None:
        with self._lock:
            self._pending -= count


class _Reporting(SpanExporter):
    """Sends batches by another exporter. It counts and logs failures."""

    def __init__(self, exporter: SpanExporter, on_batch: Callable[[int], None]) -> None:
        self._exporter = exporter
        self._on_batch = on_batch
        self._is_failing = False
        self._messages = _FirstMessage()
        source = logging.getLogger("opentelemetry.exporter")
        source.propagate = False
        source.handlers = [self._messages]

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch. It is lost if the exporter fails, which has repeated it where that makes sense."""
        self._messages.first = ""
        try:
            result = self._exporter.export(spans)
        except Exception as err:
            self._messages.first = type(err).__name__
            result = SpanExportResult.FAILURE
        if result is SpanExportResult.FAILURE:
            lost_spans.labels("refused").inc(len(spans))
            if not self._is_failing:
                log.warning("the collector takes no spans: %s; requests are not affected", self._messages.first)
        elif self._is_failing:
            log.info("the collector takes spans again")
        self._is_failing = result is SpanExportResult.FAILURE
        self._on_batch(len(spans))
        return result

    def shutdown(self) -> None:
        """End the exporter, which gives up what it repeats."""
        self._exporter.shutdown()


class _FirstMessage(logging.Handler):
    """Keeps the first message about a batch, which says why it failed. Later ones say that it was repeated."""

    first = ""

    def emit(self, record: logging.LogRecord) -> None:
        message = _QUERY.sub("", record.getMessage()).partition("\n")[0]  # the query of a URL may hold a key
        self.first = self.first or message


def _queue_size() -> int:
    name, default = _QUEUE_SIZE
    try:
        return int(os.environ.get(name) or default)
    except ValueError:
        raise ValueError(f"{name}: expected an integer") from None
