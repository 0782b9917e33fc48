"""An instance is in Consul's DNS exactly while it can answer. The agent is a fake that runs the declared checks."""

import os
import random
import signal
import time

import pytest

from service.gateway.consul import CHECK_INTERVAL, CHECK_TIMEOUT
from tests.fakes.consul import FakeConsul, running
from tests.fakes.http_server import serving
from tests.fakes.kong.fake_kong import FakeKong
from tests.fakes.kong.fake_kong import running as running_kong
from tests.fakes.tcp_proxy import TcpProxy
from tests.fakes.tcp_proxy import running as running_proxy
from tests.support.ports import free_port
from tests.support.processes import reach, run, started
from tests.support.waiting import wait_until

INTERVAL_S, TIMEOUT_S = (float(text.removesuffix("s")) for text in (CHECK_INTERVAL, CHECK_TIMEOUT))
BUSY_MACHINE_S = 5.0
FORGET_S = 4.0  # stands for DEREGISTER_AFTER


@pytest.fixture
def consul():
    with running(FakeConsul(FORGET_S)) as agent:
        yield agent


@pytest.fixture
def postgres_proxy(served):
    with running_proxy(TcpProxy(served.postgres.port)) as proxy:
        yield proxy


@pytest.fixture
def variables(served, consul, postgres_proxy):
    with running_kong(FakeKong()) as kong:
        yield {**reach(served.postgres), "PSQL_PORT": str(postgres_proxy.port), "API_GATEWAY_URL": kong.url,
               "KEYS_DIR": served.tokens.keys_dir, "LISTEN_HOST": "127.0.0.1", "INSTANCE_HOST": "127.0.0.1",
               "WORKERS": "1", "GATEWAY_INTERVAL_S": "600", "DRAIN_S": "2", "CONSUL_AGENT_URL": consul.url,
               "PORT": str(free_port())}  # fmt: skip


def test_an_instance_without_postgres_leaves_dns_and_is_back_without_a_new_registration(
    consul, variables, postgres_proxy, report_measurement
):
    here = [("127.0.0.1", int(variables["PORT"]))]
    with started(**variables) as (_, read_log):
        wait_until(lambda: consul.resolve("loaner") == here, 60, read_log=read_log)
        time.sleep(random.uniform(1, 2) * INTERVAL_S)  # at any time between two checks
        postgres_proxy.refuses = True
        postgres_proxy.cut()
        lost_at = time.monotonic()
        wait_until(lambda: consul.resolve("loaner") == [], 60, read_log=read_log)
        left_s = time.monotonic() - lost_at
        time.sleep(FORGET_S + random.uniform(1, 2) * INTERVAL_S)
        assert consul.services  # it lives, so it stays registered
        postgres_proxy.refuses = False
        found_at = time.monotonic()
        wait_until(lambda: consul.resolve("loaner") == here, 60, read_log=read_log)
        back_s = time.monotonic() - found_at
        assert len(consul.registrations) == 1
    assert left_s < INTERVAL_S + TIMEOUT_S + BUSY_MACHINE_S
    assert back_s < INTERVAL_S + TIMEOUT_S + BUSY_MACHINE_S
    report_measurement(f"Consul: out of DNS {left_s:.1f} s after Postgres, and back {back_s:.1f} s after it")


def test_the_proxy_gets_a_request_only_once_consul_has_a_healthy_instance(consul, variables):
    """Kong remembers a missing name for 30 s: asking too early would make an outage."""
    asked = []

    def answer(method: str, path: str, *_: object) -> tuple[int, bytes]:
        asked.append((path, bool(consul.resolve("loaner"))))
        return 200, b""

    with serving(answer) as proxy:
        place = {**variables, "GATEWAY_PROXY_URL": proxy}
        status = run("gateway", "status", **place)
        assert "Consul has no healthy instance of loaner" in status.stdout
        assert (status.returncode, asked) == (1, [])
        with started(**place) as (_, read_log):
            wait_until(lambda: asked, 60, read_log=read_log)
            assert "is not routed to this service" not in read_log()
    assert asked[0] == ("/loaner/healthcheck", True)


def test_a_stopping_instance_is_deregistered_before_it_stops_answering(consul, variables):
    with started(**variables) as (process, read_log):
        wait_until(lambda: consul.resolve("loaner"), 60, read_log=read_log)
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: not consul.services, read_log=read_log)
        assert process.poll() is None
        assert process.wait(30) == 0


def test_a_killed_instance_leaves_dns_and_is_forgotten(consul, variables):
    with started(**variables) as (process, read_log):
        wait_until(lambda: consul.resolve("loaner"), 60, read_log=read_log)
        os.killpg(process.pid, signal.SIGKILL)
        wait_until(lambda: consul.resolve("loaner") == [])
        wait_until(lambda: not consul.services)


def test_the_registration_of_an_earlier_release_is_replaced(consul, variables):
    instance, port = f"loaner-127.0.0.1-{variables['PORT']}", int(variables["PORT"])
    check = {"http": f"http://127.0.0.1:{port}/healthcheck", "interval": "5s", "timeout": "3s"}
    consul.register({"name": "loaner", "id": instance, "address": "127.0.0.1", "port": port, "checks": [check]})
    with started(**variables) as (_, read_log):
        wait_until(lambda: len(consul.registrations) == 2, 60, read_log=read_log)
        assert [check["name"] for check in consul.services[instance]["checks"]] == ["alive", "ready"]
