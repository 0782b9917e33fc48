"""A running service that records spans, and a collector that decodes them."""

import json
import os
import re
import secrets
import signal
import time
from contextlib import closing

import pytest

from service.postgres.connect import connect
from tests.conftest import load_ledger
from tests.fakes.memcached import Memcached, needs_memcached
from tests.fakes.otlp_receiver import receiving
from tests.support.door import JSON, open_door
from tests.support.ports import free_port
from tests.support.raw_http import request_bytes
from tests.support.waiting import wait_until

ROUTE = "/api/v1/loan/<loan_id>/<date>"
BALANCE = f"GET {ROUTE}"
SERVER, CLIENT = 2, 3  # kinds of spans in the protocol
PARENT = "00f067aa0ba902b7"
ATTRIBUTES = {
    "db.namespace", "db.operation.batch.size", "db.operation.name", "db.query.summary", "db.system.name", "error.type",
    "http.request.method", "http.response.status_code", "http.route", "loaner.lookup", "loaner.loans", "loaner.pool",
    "loaner.request_id", "url.scheme",
}  # fmt: skip


@pytest.fixture(scope="module")
def collector():
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def ledger(databases, tmp_path_factory):
    with databases.create() as settings:
        with closing(connect(settings, "posting")) as connection:
            load_ledger(connection, tmp_path_factory.mktemp("ledger"))
        yield settings


def variables(collector, **changes):
    return {
        "LOG_FORMAT": "json", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100", **changes,
    }  # fmt: skip


@pytest.fixture(scope="module")
def door(ledger, keys_dir, collector):
    memcached = Memcached()
    memcached.start()
    try:
        changes = {
            "MEMCACHED_SERVERS": memcached.address, "CACHE_SECRET": "x" * 16, "PSQL_STATEMENT_TIMEOUT_S": "1",
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=collector-key",
        }  # fmt: skip
        with open_door(ledger, keys_dir, **variables(collector, **changes)) as door:
            yield door
    finally:
        memcached.stop()


def traced(bearer, flags="01"):
    """Return a new trace, and the headers with which a proxy sends a request that belongs to it."""
    trace = secrets.token_hex(16)
    return trace, {**bearer, "traceparent": f"00-{trace}-{PARENT}-{flags}", "X-Request-ID": trace[:8]}


def access_line(door, request_id):
    """Return the line of a request in the log, as soon as it is written."""
    found = []

    def is_written():
        lines = map(json.loads, door.read_log().splitlines())
        found[:] = [
            line for line in lines if line.get("request_id") == request_id and line["logger"] == "service.access"
        ]
        return found

    wait_until(is_written)
    return found[0]


def lost(door):
    """Return how many spans are lost, by reason."""
    text = door.get("/metrics").body.decode()
    return {
        reason: float(value) for reason, value in re.findall(r'loaner_lost_spans_total\{reason="(\w+)"\} (\S+)', text)
    }


def only(spans, name):
    [span] = [span for span in spans if span.name == name]
    return span


@needs_memcached
def test_a_balance_that_is_read_has_spans_of_what_it_read(door, collector, bearer):
    trace, headers = traced(bearer)
    reply = door.get("/api/v1/loan/2/2020-07-01", headers)
    assert reply.status == 200
    spans = collector.trace(trace, {BALANCE, "lookup", "memcached get", "memcached set"})
    request, lookup = only(spans, BALANCE), only(spans, "lookup")
    [query] = [span for span in spans if span.attributes.get("db.system.name") == "postgresql"]
    assert (request.kind, request.parent_id, request.is_error) == (SERVER, PARENT, False)
    assert request.attributes == {
        "http.request.method": "GET", "http.route": ROUTE, "http.response.status_code": 200, "url.scheme": "http",
        "loaner.request_id": trace[:8],
    }  # fmt: skip
    assert lookup.parent_id == request.span_id
    assert lookup.attributes == {"loaner.lookup": "get"}
    assert query.kind == CLIENT
    assert query.attributes.items() >= {"loaner.pool": "primary", "db.operation.name": "EXECUTE"}.items()
    for span in (query, only(spans, "memcached get"), only(spans, "memcached set")):
        assert span.parent_id == lookup.span_id
        assert 0 < span.duration_ns <= lookup.duration_ns <= request.duration_ns
    line = access_line(door, trace[:8])
    assert (line["trace_id"], line["route"], line["status"]) == (trace, ROUTE, 200)
    assert trace not in str(reply), "a trace is returned to nobody"
    assert request.resource["service.name"] == "loaner"


@needs_memcached
def test_a_cached_balance_has_a_request_and_a_lookup(door, collector, bearer):
    door.get("/api/v1/loan/1/2020-07-01", bearer)  # caches the loan, and verifies the token
    trace, headers = traced(bearer)
    reply = door.get("/api/v1/loan/1/2020-07-01", headers)
    assert reply.status == 200
    spans = collector.trace(trace, {BALANCE, "lookup"})
    request, lookup = only(spans, BALANCE), only(spans, "lookup")
    assert len(spans) == 2
    assert (lookup.attributes, lookup.parent_id) == ({"loaner.lookup": "get_cached"}, request.span_id)
    assert access_line(door, trace[:8])["trace_id"] == trace
    assert trace not in str(reply)


@needs_memcached
def test_a_posting_has_spans(door, collector, make_token):
    writer = {"Authorization": f"Bearer {make_token(scopes='api:read api:write')}", **JSON}
    trace, headers = traced(writer)
    event = {"event_type": "fee", "post_date": "2020-08-01", "amt": "1234.56", "memo": "private-memo"}
    reply = door.send(request_bytes("POST", "/api/v1/loan/1/events", headers, json.dumps({"events": [event]}).encode()))
    assert reply.status == 201, reply
    name = "POST /api/v1/loan/<loan_id>/events"
    spans = collector.trace(trace, {name, "posting post_events", "postgresql SELECT"})
    posting, query = only(spans, "posting post_events"), only(spans, "postgresql SELECT")
    assert posting.parent_id == only(spans, name).span_id
    assert query.parent_id == posting.span_id
    assert query.attributes["loaner.pool"] == "posting"


@needs_memcached
def test_what_fails_is_an_error_of_its_span_and_of_the_request(door, ledger, collector, bearer):
    trace, headers = traced(bearer)
    with closing(connect(ledger, "admin")) as blocker, blocker.cursor() as cursor:
        cursor.execute("LOCK TABLE loans IN ACCESS EXCLUSIVE MODE")
        assert door.get("/api/v1/loan/3/2020-07-01", headers).status == 503
        blocker.rollback()
    spans = collector.trace(trace, {BALANCE, "lookup"})
    assert {span.attributes.get("error.type") for span in spans if span.is_error} == {"503", "QueryTimeout"}
    assert only(spans, BALANCE).attributes["error.type"] == "503"
    assert [span.status_message for span in spans] == [""] * len(spans)
    assert access_line(door, trace[:8])["status"] == 503


@needs_memcached
def test_an_unknown_loan_is_not_a_failure(door, collector, bearer):
    trace, headers = traced(bearer)
    assert door.get("/api/v1/loan/987654321/2020-07-01", headers).status == 404
    spans = collector.trace(trace, {BALANCE, "lookup"})
    assert not any(span.is_error for span in spans)
    assert only(spans, "lookup").attributes["error.type"] == "UnknownLoan"


@needs_memcached
def test_a_malformed_request_and_one_without_a_trace_have_traces_too(door, collector, bearer):
    assert door.send(b"GET /1/2020-07-01 HTTP/1.1\r\nHost: a b\r\nX-Request-ID: bad\r\n\r\n").status == 400
    assert door.get("/unknown", {**bearer, "X-Request-ID": "plain"}).status == 404
    wait_until(lambda: {"GET"} <= {span.name for span in collector.spans})
    line = access_line(door, "plain")
    [span] = collector.trace(line["trace_id"], {"GET"})
    assert (span.parent_id, span.attributes["http.response.status_code"]) == ("", 404)
    assert any(span.attributes.get("http.response.status_code") == 400 for span in collector.spans)


@needs_memcached
def test_the_sampling_decision_of_the_proxy_counts(door, collector, bearer):
    left_out, headers = traced(bearer, "00")
    assert door.get("/api/v1/loan/1/2020-07-01", headers).status == 200
    assert access_line(door, left_out[:8])["trace_id"] == left_out
    trace, headers = traced(bearer)
    door.get("/api/v1/loan/1/2020-07-01", headers)
    collector.trace(trace, {BALANCE})
    assert left_out not in {span.trace_id for span in collector.spans}


@needs_memcached
def test_probes_are_not_traced(door, collector, bearer):
    for path in ("/healthcheck", "/ready", "/metrics"):
        assert door.get(path).status == 200
    trace, headers = traced(bearer)
    door.get("/api/v1/loan/1/2020-07-01", headers)
    collector.trace(trace, {BALANCE})
    assert not [span for span in collector.spans if {"/ready", "/metrics"} & set(span.attributes.values())]


@needs_memcached
def test_no_attribute_has_what_a_client_sent(door, collector, bearer):
    """Runs last of those that share the service: it looks at all of their spans."""
    values = {str(value) for span in collector.spans for value in span.attributes.values()}
    assert {name for span in collector.spans for name in span.attributes} <= ATTRIBUTES
    hidden = (bearer["Authorization"].removeprefix("Bearer "), "1234.56", "private-memo", "987654321", "2020-07-01")
    assert not [(value, text) for value in values for text in hidden if text in value]
    paths, headers = zip(*collector.requests, strict=True)
    assert set(paths) == {"/v1/traces"}
    assert {each.get("api-key") for each in headers} == {"collector-key"}
    assert "collector-key" not in door.read_log()


def test_a_trace_of_an_untrusted_proxy_is_ignored(ledger, keys_dir, bearer):
    with receiving() as collector:
        changes = variables(collector, TRUSTED_PROXIES="203.0.113.1", OTEL_SERVICE_NAME="books", WORKERS="2")
        with open_door(ledger, keys_dir, **changes) as door:
            theirs, headers = traced(bearer)
            reply = door.get("/api/v1/loan/1/2020-07-01", headers)
            assert reply.status == 200
            wait_until(lambda: [span for span in collector.spans if span.name == BALANCE])
            request = only(collector.spans, BALANCE)
            assert request.parent_id == ""
            assert request.trace_id != theirs
            assert request.trace_id not in str(reply)
            assert request.resource["service.name"] == "books"
            assert theirs not in door.read_log()
            assert access_line(door, request.attributes["loaner.request_id"])["trace_id"] == request.trace_id


def test_what_waits_is_exported_when_the_service_stops(ledger, keys_dir, bearer):
    with receiving() as collector:
        changes = variables(collector, OTEL_BSP_SCHEDULE_DELAY="600000")
        with open_door(ledger, keys_dir, **changes) as door:
            trace, headers = traced(bearer)
            assert door.get("/api/v1/loan/1/2020-07-01", headers).status == 200
            assert not collector.spans
        collector.trace(trace, {BALANCE, "lookup"}, seconds=0.1)


def test_requests_do_not_notice_that_the_collector_is_away(ledger, keys_dir, bearer):
    url = f"http://127.0.0.1:{free_port()}/?key=secret-of-the-collector"
    changes = {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": url, "OTEL_EXPORTER_OTLP_TIMEOUT": "2", "OTEL_BSP_SCHEDULE_DELAY": "50",
    }  # fmt: skip
    with open_door(ledger, keys_dir, **changes) as door:
        for _ in range(3):
            before = lost(door).get("refused", 0)
            assert door.get("/api/v1/loan/1/2020-07-01", bearer).status == 200
            wait_until(lambda before=before: lost(door).get("refused", 0) > before)
        assert door.read_log().count("the collector takes no spans: ") == 1
        assert re.search("takes no spans: .*Connection refused", door.read_log()), door.read_log()[:900]
        assert "secret-of-the-collector" not in door.read_log()
        begun = time.monotonic()
    assert time.monotonic() - begun < 10


def test_spans_beyond_the_queue_of_a_slow_collector_are_lost_and_counted(ledger, keys_dir, bearer):
    with receiving() as collector:
        collector.delay_s = 5
        changes = variables(
            collector, OTEL_BSP_MAX_QUEUE_SIZE="20", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="10", LOG_FORMAT="text"
        )
        with open_door(ledger, keys_dir, **changes) as door:
            begun = time.monotonic()
            for _ in range(40):
                assert door.get("/api/v1/loan/1/2020-07-01", bearer).status == 200
            assert time.monotonic() - begun < collector.delay_s / 2
            wait_until(lambda: lost(door).get("full", 0) > 0)
            begun = time.monotonic()
            os.kill(door.parent, signal.SIGTERM)
            wait_until(lambda: "service.runtime.server [-] stopped" in door.read_log())
            assert time.monotonic() - begun < 10, "the stop waits for the collector for a few seconds"
            assert re.search(r"stopping: lost \d+ spans", door.read_log())
