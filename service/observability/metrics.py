"""The metrics at /metrics, described in docs/reference/metrics.md. No label holds text that a client sent.

Importing this module opens no files. `start_counters` does, and what it does not name starts when it is first counted.
"""

import logging

from prometheus_client import Counter, Gauge

from service.observability.batched_counter import BatchedCounter
from service.observability.batched_histogram import BatchedHistogram
from service.observability.lazy_gauge import LazyGauge

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
OTHER = "other"  # unknown routes and methods share one label value, so that clients cannot create more

log = logging.getLogger(__name__)

_known: list[tuple[Counter, tuple[str, ...]]] = []  # counters of one label, and its values
_SECONDS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


def _counter(name: str, documentation: str, label: str, values: tuple[str, ...]) -> Counter:
    """Return a counter of events that are rare, by the values of a label."""
    counter = Counter(name, documentation, (label,))
    _known.append((counter, values))
    return counter


def start_counters() -> None:
    """Start all counters of rare events at 0 in this process.

    This opens their file, so that no request waits for it. Prometheus sees the first event only as an increase from 0.
    """
    try:
        for counter, values in _known:
            for value in values:
                counter.labels(value).inc(0)
    except OSError as err:
        log.error("cannot start the metrics: %s; they start when they are counted", err)


request_duration = BatchedHistogram(
    "loaner_request_duration_seconds",
    "Seconds in the application until the reply is ready, by path pattern, method and status.",
    ("route", "method", "status"),
    bounds=_SECONDS,
)
requests_in_progress = LazyGauge(
    "loaner_requests_in_progress", "Requests whose head has arrived and whose reply has not ended.", "livesum"
)
lost_lines = _counter(
    "loaner_request_log_lost_lines_total",
    "Lines of the request log that were not written, by state of standard error: blocked or closed.",
    "reason",
    ("blocked", "closed"),
)
lost_spans = BatchedCounter(
    "loaner_lost_spans_total",
    "Spans that were not exported: full (too many waited), refused (by the collector), stop (of the process).",
    ("reason",),
)
token_requests = _counter(
    "loaner_token_requests_total",
    "Requests for tokens, also by sign-ins, by outcome: issued, nothing_to_issue, or an RFC 6749 error.",
    "outcome",
    (
        "issued",
        "nothing_to_issue",
        "invalid_request",
        "invalid_client",
        "invalid_scope",
        "unsupported_grant_type",
        "slow_down",
    ),
)

timelines = BatchedCounter(
    "loaner_timelines_total",
    "Timelines of replies by source: process, memcached, replica, primary, or revalidated by one row.",
    ("layer",),
)
distrusted = BatchedCounter(
    "loaner_distrusted_total",
    "Cached timelines that failed the freshness check, by reason: `floor`, `told`, `silence` or `cluster`.",
    ("reason",),
)
cache_errors = _counter(
    "loaner_cache_errors_total",
    "memcached errors by kind: broken (no answer), refused (value rejected), foreign (bad signature), malformed.",
    "kind",
    ("broken", "refused", "foreign", "malformed"),
)
listener_heard = LazyGauge(
    "loaner_listener_heard_timestamp_seconds",
    "Unix time of the last completed round trip to the primary; the oldest of all workers.",
    "livemin",
)

listener_failures = _counter(
    "loaner_listener_failures_total",
    "Failures to listen for new events by reason: lost (connection), pooled (a pooler does not keep the session).",
    "reason",
    ("lost", "pooled"),
)

database_connections = LazyGauge("loaner_database_connections", "Open connections in the pools.", "livesum")
database_connections_in_use = LazyGauge(
    "loaner_database_connections_in_use", "Connections in use by a request.", "livesum"
)
database_connections_max = LazyGauge("loaner_database_connections_max", "Upper bound of the pools.", "livesum")
database_refusals = _counter(
    "loaner_database_refusals_total",
    "Failed queries by reason: exhausted (pool), down, timeout, broken (connection), unknown (outcome), forbidden, "
    "superseded (server).",
    "reason",
    ("exhausted", "down", "timeout", "broken", "unknown", "forbidden", "superseded"),
)

former_primaries = Counter(
    "loaner_former_primary_total",
    "How often a former primary was found and not used: it takes writes, but a higher WAL timeline was seen.",
    ("host",),
)

vault_lease_expiry = LazyGauge(
    "loaner_vault_lease_expiry_timestamp_seconds",
    "Unix time at which the current credentials end unless renewed; of several roles, the first.",
    "livemax",
)
vault_renewals = Counter(
    "loaner_vault_renewals_total",
    "Renewals of credentials by outcome: renewed (lease extended), new (new credentials), failed (to be retried).",
    ("outcome",),
)
signing_key_created = LazyGauge(
    "loaner_signing_key_created_timestamp_seconds", "Unix time at which the signing key was created.", "livemostrecent"
)
certificate_expiry = LazyGauge(
    "loaner_certificate_expiry_timestamp_seconds", "Unix time at which the certificate in use expires.", "livemax"
)
gateway_registered = LazyGauge(
    "loaner_gateway_registered",
    "1 while the gateway has this instance as declared and nothing is known to keep calls away, else 0.",
    "livemax",
)
build_info = Gauge(
    "loaner_build_info",
    "Always 1; the version, and the build of the core: compiled or interpreted.",
    ("version", "core"),
    multiprocess_mode="livemostrecent",
)
