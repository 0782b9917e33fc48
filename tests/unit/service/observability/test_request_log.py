"""The request log of one process: its buffer, its counts, and its failures."""

from unittest.mock import Mock

import pytest
from prometheus_client import REGISTRY

from service.observability import request_log
from service.observability.multiprocess import render_metrics
from service.observability.request_log import RequestLog
from service.observability.request_marks import RequestMarks

ROUTE = "/of/these/tests"


def record(log: RequestLog, path: str = "/1", method: str = "GET", address: str | None = "::1", route=ROUTE) -> None:
    log.record(address, method, path, route, 200, 0.25, RequestMarks("some-id"))


def counted(route: str = ROUTE, method: str = "GET") -> float:
    labels = {"route": route, "method": method, "status": "200"}
    return REGISTRY.get_sample_value("loaner_request_duration_seconds_count", labels) or 0


def lost(reason: str) -> float:
    return REGISTRY.get_sample_value("loaner_request_log_lost_lines_total", {"reason": reason}) or 0


class NeverRun:
    """Stands in for the thread, so that only the test flushes."""

    def __init__(self, **_: object) -> None:
        pass

    def start(self) -> None:
        pass


@pytest.fixture
def buffering(monkeypatch):
    monkeypatch.setattr(request_log, "Thread", NeverRun)
    monkeypatch.setattr(request_log, "Finalize", lambda *_, **__: None)
    log = RequestLog()
    log.start()
    return log


def test_a_request_is_counted_and_written_immediately_until_the_log_is_started(output):
    before = counted()
    record(RequestLog())
    assert counted() == before + 1
    assert output.getvalue().endswith(" INFO service.access [some-id] ::1 GET /1 200 250.0 ms\n")


def test_a_started_log_counts_and_writes_requests_with_the_next_flush(output, buffering):
    before = counted()
    for number in range(request_log.LINES_PER_WRITE + 1):
        record(buffering, f"/{number}")
    assert (counted(), output.getvalue()) == (before, "")
    buffering.flush()
    assert counted() == before + request_log.LINES_PER_WRITE + 1
    paths = [line.split()[7] for line in output.getvalue().splitlines()]
    assert paths == [f"/{number}" for number in range(request_log.LINES_PER_WRITE + 1)]


def test_metrics_include_requests_that_have_not_been_flushed(output, buffering):
    before = counted()
    record(buffering)
    render_metrics()
    assert counted() == before + 1
    assert output.getvalue() == ""
    buffering.flush()
    assert counted() == before + 1
    assert output.getvalue().count("\n") == 1


def test_unknown_methods_and_routes_share_labels(output):
    before = counted("other", "other")
    record(RequestLog(), method="SECRETIVE", route=None)
    assert counted("other", "other") == before + 1
    assert " ::1 other /1 200 " in output.getvalue()


def test_what_the_buffer_holds_of_a_request_is_bounded(output, buffering):
    record(buffering, path="/" * 50_000 + "x" * 50_000, method="M" * 50_000, address="fe80::1%" + "x" * 50_000)
    [held] = buffering._uncounted
    assert sum(len(part) for part in held if isinstance(part, str)) < 1_200
    buffering.flush()
    assert f" fe80::1 other /{'x' * 1000} 200 " in output.getvalue()


def test_a_missing_address_is_a_dash(output):
    record(RequestLog(), address=None)
    assert " - GET /1 200 " in output.getvalue()


def test_requests_are_counted_and_the_oldest_lines_dropped_while_they_cannot_be_written(output, buffering, monkeypatch):
    monkeypatch.setattr(request_log, "MAX_UNWRITTEN", 20)
    buffering._limit = 10
    before, lost_before = counted(), lost("blocked")
    for number in range(55):
        record(buffering, f"/{number}")
    assert counted() == before + 55
    assert lost("blocked") == lost_before + 35
    buffering.flush()
    *lines, warning = output.getvalue().splitlines()
    assert [line.split()[7] for line in lines] == [f"/{number}" for number in range(35, 55)]
    assert warning.endswith(" standard error was blocked: lost 35 lines of the request log")
    record(buffering)
    buffering.flush()
    assert output.getvalue().count("\n") == 22


def test_a_count_that_cannot_be_stored_fails_no_request_and_is_made_up_for(output, buffering, monkeypatch):
    buffering._limit = 10
    monkeypatch.setattr(request_log, "MAX_UNWRITTEN", 5)
    with monkeypatch.context() as full:
        full.setattr(request_log.request_duration._histogram, "labels", Mock(side_effect=OSError("disk full")))
        for _ in range(33):
            record(buffering, route="/a/new/route")
        buffering.flush()
    assert "disk full" in output.getvalue()
    assert output.getvalue().count(" ::1 GET /1 200 ") == 5
    assert counted("/a/new/route") == 0
    buffering.flush()
    assert counted("/a/new/route") == 33


def test_requests_are_counted_while_standard_error_is_closed(output, buffering):
    output.close()
    before, lost_before = counted(), lost("closed")
    record(buffering)
    buffering.flush()
    assert (counted(), lost("closed")) == (before + 1, lost_before + 1)


def test_the_thread_logs_a_failure_once_and_continues(output, buffering, monkeypatch):
    class Stop(BaseException):
        pass

    outcomes = [KeyError("a"), KeyError("b"), None, KeyError("c"), Stop()]

    def flush() -> None:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome

    monkeypatch.setattr(request_log, "INTERVAL_S", 0)
    monkeypatch.setattr(buffering, "flush", flush)
    with pytest.raises(Stop):
        buffering._run()
    failures = [line for line in output.getvalue().splitlines() if "cannot write the request log; trying again" in line]
    assert len(failures) == 2
    assert "KeyError: 'a'" in output.getvalue()
