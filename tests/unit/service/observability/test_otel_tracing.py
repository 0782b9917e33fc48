"""Spans of the application's parts, and what other services receive of them."""

import logging
from types import SimpleNamespace

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from security.trace_context import trace_headers
from service.errors import DatabaseUnavailable, UnknownLoan
from service.observability import tracing as tracing_module
from service.observability.otel_tracing import OtelTracing
from service.observability.request_marks import RequestMarks, request_context
from service.observability.traced_calls import CALLS
from service.observability.tracing import open_tracing, report_tracing
from service.observability.untraced import Tracing
from service.postgres.prepared import Prepared
from service.runtime.bootstrap import build_front_door
from service.web.front_door import FrontDoor
from service.web.traced_door import TracedFrontDoor

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture
def exported():
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exported):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exported))
    return OtelTracing(provider)


@pytest.fixture
def request_(tracing):
    """A request whose span has begun."""
    marks = RequestMarks("r1")
    marks.trace_headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"}
    tracing.begin(marks, "GET", "http")
    return marks


def by_name(exported):
    return {span.name: span for span in exported.get_finished_spans()}


def test_other_services_belong_to_the_current_span(tracing, exported, request_):
    sent = []
    database = SimpleNamespace(row=lambda *_: sent.append(trace_headers.get()), rows=None, stream=None)
    traced = tracing.traced(database, "database", loaner_pool="primary")

    def call():
        sent.append(trace_headers.get())
        traced.row("SELECT 1")
        sent.append(trace_headers.get())

    request_context(request_).run(call)
    tracing.end(request_, "GET", "/a", 200)
    request, query = by_name(exported)["GET /a"], by_name(exported)["postgresql SELECT"]
    spans = [f"{span.context.span_id:016x}" for span in (request, query, request)]
    assert [headers["traceparent"] for headers in sent] == [f"00-{TRACE}-{span}-01" for span in spans]
    assert {headers["tracestate"] for headers in sent} == {"vendor=1"}
    assert f"{request.parent.span_id:016x}" == PARENT
    assert query.attributes["loaner.pool"] == "primary"
    assert request_.trace_id == TRACE


def test_a_span_of_a_trace_that_is_not_sampled_is_not_recorded_but_passed_on(tracing, exported):
    marks = RequestMarks("r1")
    marks.trace_headers = {"traceparent": f"00-{TRACE}-{PARENT}-00"}
    tracing.begin(marks, "GET", "http")
    traced = tracing.traced(SimpleNamespace(get_many=lambda *_: {}, put_many=None), "cache")
    assert request_context(marks).run(traced.get_many, "cluster", [1, 2]) == {}
    tracing.end(marks, "GET", "/a", 200)
    assert not exported.get_finished_spans()
    version, trace, span, flags = marks.trace_headers["traceparent"].split("-")
    assert (version, trace, flags) == ("00", TRACE, "00")
    assert span != PARENT


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"b3": f"{TRACE}-{PARENT}-1"}, f"00-{TRACE}-{PARENT}-01"),
        ({"b3": f"{TRACE}-{PARENT}-0"}, f"00-{TRACE}-{PARENT}-00"),
        ({"b3": f"{TRACE[:16]}-{PARENT}"}, f"00-{'0' * 16}{TRACE[:16]}-{PARENT}-01"),
        ({"x-b3-traceid": TRACE, "x-b3-spanid": PARENT, "x-b3-sampled": "0"}, f"00-{TRACE}-{PARENT}-00"),
        ({"x-b3-traceid": TRACE, "x-b3-spanid": PARENT}, f"00-{TRACE}-{PARENT}-01"),
        ({"traceparent": f"00-{TRACE}-{PARENT}-00", "b3": f"{'1' * 32}-{PARENT}-1"}, f"00-{TRACE}-{PARENT}-00"),
        ({"x-b3-traceid": TRACE}, None),
        ({"x-b3-traceid": TRACE, "x-b3-spanid": "x"}, None),
        ({"b3": "0"}, None),
    ],
)
def test_the_parent_may_be_named_in_the_headers_of_b3(tracing, headers, expected):
    encoded = {name.encode(): value.encode() for name, value in headers.items()}
    assert tracing.outgoing_headers(encoded).get("traceparent") == expected


def test_outside_of_requests_nothing_is_recorded(tracing, exported):
    database = SimpleNamespace(row=lambda *_: 1, rows=None, stream=lambda *_: iter([[2]]))
    traced = tracing.traced(database, "database")
    assert traced.row("SELECT 1") == 1
    assert list(traced.stream("SELECT 2")) == [[2]]
    assert not exported.get_finished_spans()


@pytest.mark.parametrize(
    ("error", "is_error"), [(UnknownLoan(1), False), (DatabaseUnavailable("down"), True), (KeyError("secret"), True)]
)
def test_an_error_is_its_class_without_its_text(tracing, exported, request_, error, is_error):
    def fail(*_):
        raise error

    lookup = dict.fromkeys(CALLS["lookup"], fail)
    traced = tracing.traced(SimpleNamespace(**lookup), "lookup")
    with pytest.raises(type(error)):
        request_context(request_).run(traced.get, 4711)
    span = by_name(exported)["lookup"]
    assert span.attributes["error.type"] == type(error).__name__
    assert (span.status.is_ok, span.status.description, span.events) == (not is_error, None, ())


def test_a_stream_is_a_span_until_its_end(tracing, exported, request_):
    def stream(*_, **__):
        yield [1]
        raise DatabaseUnavailable("between rows")

    query = Prepared("portfolio", (), "SELECT secret")
    traced = tracing.traced(SimpleNamespace(row=None, rows=None, stream=stream), "database")

    def read():
        rows = traced.stream(query, parameters=("private",))
        assert next(rows) == [1]
        assert not exported.get_finished_spans()
        return rows

    rows = request_context(request_).run(read)
    with pytest.raises(DatabaseUnavailable):
        next(rows)
    [span] = exported.get_finished_spans()
    assert dict(span.attributes) == {
        "db.system.name": "postgresql", "db.operation.name": "EXECUTE", "db.query.summary": "portfolio",
        "error.type": "DatabaseUnavailable",
    }  # fmt: skip


def test_a_part_keeps_its_other_methods(tracing):
    cache = SimpleNamespace(get_many=None, put_many=None, state=lambda: {"a": "ok"})
    assert tracing.traced(cache, "cache").state() == {"a": "ok"}


def test_without_tracing_every_part_stays_as_it_is(served):
    part = object()
    assert Tracing().traced(part, "lookup") is part
    assert type(build_front_door(served)) is FrontDoor


def test_with_tracing_the_door_records_requests(served, tracing):
    assert type(build_front_door(served, tracing=tracing)) is TracedFrontDoor


@pytest.mark.parametrize(
    ("variables", "is_missing", "reason"),
    [
        ({}, False, None),
        ({"OTEL_SDK_DISABLED": "true", ENDPOINT: "http://a"}, False, None),
        ({ENDPOINT: ""}, True, None),
        ({"OTEL_SERVICE_NAME": "a"}, False, "OTEL_EXPORTER_OTLP_ENDPOINT is not set"),
        ({ENDPOINT: "http://a"}, True, "OpenTelemetry is not installed; install loaner[otel]"),
        ({ENDPOINT: "http://a", "OTEL_TRACES_EXPORTER": "none"}, False, "OTEL_TRACES_EXPORTER is not otlp"),
    ],
)
def test_the_start_says_why_no_spans_are_recorded(monkeypatch, caplog, variables, is_missing, reason):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if is_missing:
        monkeypatch.setattr(tracing_module, "_PACKAGES", ("opentelemetry.missing", "missing.sdk"))
    caplog.set_level(logging.INFO)
    report_tracing()
    assert caplog.messages == ([] if reason is None else [f"OTEL_* is set, but tracing is off: {reason}"])
    assert {record.levelname for record in caplog.records} <= {"WARNING"}
    assert not open_tracing("loaner", "1").is_on


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, []),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, ["grpc is not available; spans are exported as http/protobuf"]),
    ],
)
def test_the_start_says_that_spans_are_recorded(monkeypatch, caplog, variables, expected):
    for name, value in {ENDPOINT: "http://a", **variables}.items():
        monkeypatch.setenv(name, value)
    caplog.set_level(logging.INFO)
    report_tracing()
    assert caplog.messages == [*(f"OTEL_EXPORTER_OTLP_PROTOCOL={each}" for each in expected), "tracing is on"]


def test_variables_that_cannot_be_used_turn_tracing_off(monkeypatch, caplog):
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "many")
    assert not open_tracing("loaner", "1").is_on
    assert caplog.messages == ["tracing is off: OTEL_BSP_MAX_QUEUE_SIZE: expected an integer"]
