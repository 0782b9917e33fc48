"""What is counted and measured, by its name at /metrics. No label ever holds what a client sends.

Nothing is opened by importing this: a value begins when it is first counted or set.
"""

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

from service.observability.lazy_gauge import LazyGauge

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
OTHER = "other"  # a route or a method that is none: there would be no end of them
_SECONDS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

request_duration = Histogram(
    "loaner_request_duration_seconds",
    "From the first byte of a request to its reply, by the pattern of the path, method and status.",
    ("route", "method", "status"),
    buckets=_SECONDS,
)
token_requests = Counter(
    "loaner_token_requests_total",
    "Requests for a token: issued, nothing_to_issue, or the error of RFC 6749 that refused.",
    ("outcome",),
)

timelines = Counter(
    "loaner_timelines_total",
    "Where a reply's loan came from: process, memcached, replica, primary, or revalidated by one row.",
    ("layer",),
)
distrusted = Counter(
    "loaner_distrusted_total",
    "Cached loans that might have been out of date: floor, told, silence, cluster.",
    ("reason",),
)
cache_errors = Counter(
    "loaner_cache_errors_total",
    "What memcached did wrong: broken (no answer), refused (to keep a value), foreign or malformed (a value).",
    ("kind",),
)
listener_heard = LazyGauge(
    "loaner_listener_heard_timestamp_seconds",
    "When the primary was last heard of, by the worker that hears worst.",
    "livemin",
)

database_connections = LazyGauge("loaner_database_connections", "Open connections to Postgres.", "livesum")
database_connections_in_use = LazyGauge("loaner_database_connections_in_use", "Those that a request uses.", "livesum")
database_connections_max = LazyGauge("loaner_database_connections_max", "How many connections there may be.", "livesum")
database_refusals = Counter(
    "loaner_database_refusals_total",
    "Queries that were given up: exhausted (the pool), down, timeout, broken (off), unknown (outcome), forbidden.",
    ("reason",),
)

vault_lease_expiry = LazyGauge(
    "loaner_vault_lease_expiry_timestamp_seconds", "When the credentials end unless they are renewed.", "livemax"
)
vault_renewals = Counter(
    "loaner_vault_renewals_total",
    "Credentials: renewed, new, or failed to be kept for now.",
    ("outcome",),
)
signing_key_created = LazyGauge(
    "loaner_signing_key_created_timestamp_seconds", "When the key was made that signs now.", "livemostrecent"
)
certificate_expiry = LazyGauge(
    "loaner_certificate_expiry_timestamp_seconds", "When the certificate of TLS_CERT that is in use expires.", "livemax"
)
gateway_registered = LazyGauge(
    "loaner_gateway_registered", "1 while the platform has this instance as it was declared.", "livemax"
)
build_info = Gauge(
    "loaner_build_info",
    "1, of this release with this core, compiled or interpreted.",
    ("version", "core"),
    multiprocess_mode="livemostrecent",
)


def known_method(method: str) -> str:
    """The method, if it is one: clients may send anything."""
    return method if method in METHODS else OTHER


@cache
def request_timer(route: str, method: str, status: str) -> Histogram:
    """What measures such requests, of a method that is known. To find it by its labels takes longer than measuring."""
    return request_duration.labels(route, method, status)
