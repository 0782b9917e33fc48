"""Whether this process records spans.

OpenTelemetry is an optional package, configured by its own variables `OTEL_*`. They are read from the environment only.
"""

import logging
import os
from importlib.util import find_spec

from service.observability.untraced import Tracing

PREFIX = "OTEL_"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
EXPORTERS = "OTEL_TRACES_EXPORTER"
_PACKAGES = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")

log = logging.getLogger(__name__)


def open_tracing(service: str, version: str) -> Tracing:
    """Return the tracing of this process. If it is on, its spans are exported until the process ends.

    Tracing that cannot be set up is off, which is logged: it must not keep a worker from its requests.

    Args:
        service: The name of the service in its spans, unless a variable sets another.
        version: The version of the service.
    """
    if _reason_off() is not None:
        return Tracing()
    from service.observability.otel_tracing import OtelTracing
    from service.observability.span_export import open_provider

    try:
        return OtelTracing(open_provider(service, version))
    except Exception as err:
        log.error("tracing is off: %s", err)
        return Tracing()


def report_tracing() -> None:
    """Log whether spans are recorded, if any variable is set for it."""
    if not any(name.startswith(PREFIX) and value for name, value in os.environ.items()) or _is("OTEL_SDK_DISABLED"):
        return
    reason = _reason_off()
    if reason is not None:
        log.warning("%s* is set, but tracing is off: %s", PREFIX, reason)
        return
    protocol = next(filter(None, map(os.environ.get, PROTOCOLS)), "http/protobuf")
    if protocol != "http/protobuf":
        log.warning("%s=%s is not available; spans are exported as http/protobuf", PROTOCOLS[1], protocol)
    log.info("tracing is on")


def _reason_off() -> str | None:
    """Return why no spans are recorded; None if they are."""
    if _is("OTEL_SDK_DISABLED"):
        return "OTEL_SDK_DISABLED is true"
    exporters = os.environ.get(EXPORTERS) or "otlp"
    if exporters.strip() != "otlp":
        return f"{EXPORTERS} is not otlp"
    if not any(map(os.environ.get, ENDPOINTS)):
        return f"{ENDPOINTS[1]} is not set"
    if not all(map(_is_installed, _PACKAGES)):
        return "OpenTelemetry is not installed; install loaner[otel]"
    return None


def _is(name: str) -> bool:
    return os.environ.get(name, "").strip().lower() == "true"


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # its parent is missing
        return False
