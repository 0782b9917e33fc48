"""Metrics of the processes of a running service, compared with what the operating system says."""

import re
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.door import open_door
from tests.support.raw_http import request_bytes
from tests.support.waiting import PATIENCE_S

GAUGES = (
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_open_fds",
    "process_cpu_seconds_total",
)


@pytest.fixture(scope="module")
def door(databases, keys_dir):
    with databases.create() as settings, open_door(settings, keys_dir, WORKERS="2") as door:
        yield door


def scrape(door):
    """Return the samples at /metrics, by name with labels."""
    text = door.get("/metrics").body.decode()
    return {name: float(value) for name, value in re.findall(r"^(\w+(?:\{.*\})?) (\S+)$", text, re.MULTILINE)}


def until(door, name, expected):
    deadline = time.monotonic() + PATIENCE_S
    while (found := scrape(door).get(name)) != expected:
        assert time.monotonic() < deadline, (name, found)
        time.sleep(0.05)


def test_each_process_has_its_metrics(door):
    samples = scrape(door)
    for name in GAUGES:
        for role, pids in (("supervisor", [door.parent]), ("worker", door.workers())):
            for pid in pids:
                assert samples[f'{name}{{pid="{pid}",process="{role}"}}'] > 0
    assert sum(name.startswith("process_open_fds{") for name in samples) == 3
    for pid in door.workers():
        begun = samples[f'process_start_time_seconds{{pid="{pid}",process="worker"}}']
        assert 0 < time.time() - begun < 300


def test_open_files_are_those_of_the_process(door):
    deadline = time.monotonic() + PATIENCE_S
    for pid in door.workers():
        name = f'process_open_fds{{pid="{pid}",process="worker"}}'
        while abs(scrape(door)[name] - len(list(Path(f"/proc/{pid}/fd").iterdir()))) > 1:  # the scrape may be its own
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_open_connections_are_those_that_workers_have_accepted(door):
    def connections():
        return sum(value for name, value in scrape(door).items() if name.startswith("loaner_connections{"))

    before = connections()  # includes the one of the scrape
    with ExitStack() as opened:
        for _ in range(7):
            opened.enter_context(door.connect())
        deadline = time.monotonic() + PATIENCE_S
        while connections() != before + 7:
            assert time.monotonic() < deadline, connections()
            time.sleep(0.05)
    deadline = time.monotonic() + PATIENCE_S
    while connections() != before:
        assert time.monotonic() < deadline, connections()
        time.sleep(0.05)


def test_requests_in_progress_are_counted_until_their_reply_ends(door, make_token):
    headers = {
        "Authorization": f"Bearer {make_token(scopes='api:read')}", "Content-Type": "application/json",
        "Content-Length": "100",
    }  # fmt: skip
    until(door, "loaner_requests_in_progress", 1)  # the scrape itself
    with door.connect() as connection:
        connection.send(request_bytes("POST", "/api/v1/balances", headers) + b"{")
        until(door, "loaner_requests_in_progress", 2)
    until(door, "loaner_requests_in_progress", 1)


def test_counters_of_rare_events_start_at_zero(door):
    """Their file is open before a request counts one, and Prometheus sees the first one as an increase."""
    samples = scrape(door)
    for name in (
        'database_refusals_total{reason="down"}', 'cache_errors_total{kind="broken"}',
        'token_requests_total{outcome="issued"}', 'listener_failures_total{reason="pooled"}',
    ):  # fmt: skip
        assert samples[f"loaner_{name}"] == 0
