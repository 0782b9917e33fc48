"""Registered means that calls arrive: the life of instances behind a gateway, next to strangers."""

import os
import signal
import socket
import threading
import time
from contextlib import ExitStack

import pytest
import requests

from tests.fakes.kong.fake_kong import FakeKong, running
from tests.fakes.kong.fake_proxy import FakeProxy
from tests.support.neighbors import Neighbor
from tests.support.neighbors import running as running_neighbor
from tests.support.ports import free_port
from tests.support.processes import ask, reach, run, started
from tests.support.waiting import wait_until

UPSTREAM = "loaner.upstream"
GONE_S = 4


@pytest.fixture
def kong():
    with running(FakeKong()) as gateway:
        yield gateway


@pytest.fixture
def proxy(kong):
    with FakeProxy(kong) as serving:
        yield serving


@pytest.fixture
def variables(served, kong, proxy):
    """Settings of an instance without its PORT."""
    return {**reach(served.postgres), "API_GATEWAY_URL": kong.url, "KEYS_DIR": str(served.tokens.keys_dir),
            "LISTEN_HOST": "127.0.0.1", "INSTANCE_HOST": "127.0.0.1", "WORKERS": "1", "SERVICE_DISCOVERY": "upstream",
            "GATEWAY_INTERVAL_S": "1", "GATEWAY_TARGET_TIMEOUT_S": str(GONE_S), "DRAIN_S": "2",
            "GATEWAY_PROXY_URL": proxy.url}  # fmt: skip


def targets(kong: FakeKong) -> set[str]:
    return set(kong.targets.get(UPSTREAM, {}))


def is_free(port: int) -> bool:
    """Return whether the workers of a killed service have released its port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def is_registered(port: int) -> bool:
    text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
    return "loaner_gateway_registered 1.0" in text


def status(**variables: str) -> tuple[int, str]:
    done = run("gateway", "status", **variables)
    return done.returncode, done.stdout + done.stderr


class Caller:
    """Calls a loan through the proxy, one call after the other, and keeps the statuses."""

    def __init__(self, proxy: FakeProxy, bearer: dict[str, str]) -> None:
        self._url, self._bearer = f"{proxy.url}/loaner/1/2020-02-29", bearer
        self.statuses: list[int] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Caller":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.01):
            self.statuses.append(requests.get(self._url, headers=self._bearer, timeout=20).status_code)


def test_a_stranger_gets_no_call_in_an_instances_life(kong, proxy, variables, bearer, report_measurement):
    """SIGKILL, a stranger at the address, a new instance at it, a network split and a rolling update."""
    first, second, third = (str(free_port()) for _ in range(3))
    strangers = 0
    with ExitStack() as stack:
        kept = stack.enter_context(started(**variables, PORT=first))
        killed = stack.enter_context(started(**variables, PORT=second))
        wait_until(lambda: targets(kong) == {f"127.0.0.1:{first}", f"127.0.0.1:{second}"}, read_log=killed[1])
        wait_until(lambda: is_registered(int(first)) and is_registered(int(second)), read_log=kept[1])
        caller = stack.enter_context(Caller(proxy, bearer))
        wait_until(lambda: len(caller.statuses) > 50)

        os.killpg(killed[0].pid, signal.SIGKILL)
        killed[0].wait()
        wait_until(lambda: kong.health.get(f"127.0.0.1:{second}") == "UNHEALTHY")
        for answer in (401, 302, 404):
            with running_neighbor(Neighbor(answer), int(second)) as stranger:
                seen = len(caller.statuses)
                wait_until(lambda seen=seen: len(caller.statuses) > seen + 50)
                strangers += len(stranger.calls)
        wait_until(lambda: targets(kong) == {f"127.0.0.1:{first}"}, read_log=kept[1])
        assert f"removed the target 127.0.0.1:{second}" in kept[1]()

        # the stranger has left, and a new instance gets the address
        successor = stack.enter_context(started(**variables, PORT=second))
        wait_until(lambda: targets(kong) == {f"127.0.0.1:{first}", f"127.0.0.1:{second}"}, read_log=successor[1])

        # a network split: the gateway does not reach it for longer than the bound, but it lives
        proxy.unreachable.add(f"127.0.0.1:{second}")
        wait_until(lambda: kong.health.get(f"127.0.0.1:{second}") == "UNHEALTHY")
        time.sleep(2 * GONE_S)
        assert targets(kong) == {f"127.0.0.1:{first}", f"127.0.0.1:{second}"}
        wait_until(lambda: not is_registered(int(second)), read_log=successor[1])
        assert f"the gateway's checks of this instance, 127.0.0.1:{second}, fail" in successor[1]()
        proxy.unreachable.clear()
        wait_until(lambda: is_registered(int(second)), read_log=successor[1])

        # a rolling update
        stack.enter_context(started(**variables, PORT=third))
        wait_until(lambda: f"127.0.0.1:{third}" in targets(kong))
        kept[0].send_signal(signal.SIGTERM)
        assert kept[0].wait(30) == 0
        with running_neighbor(Neighbor(200), int(first)) as stranger:
            seen = len(caller.statuses)
            wait_until(lambda: len(caller.statuses) > seen + 50)
            strangers += len(stranger.calls)
        assert targets(kong) == {f"127.0.0.1:{second}", f"127.0.0.1:{third}"}
        statuses = list(caller.statuses)
    assert strangers == 0
    assert set(statuses) == {200}
    report_measurement(f"life of instances in upstream mode: {len(statuses)} calls, all 200; {strangers} at strangers")


def test_a_stranger_that_looks_healthy_is_removed_at_the_next_comparison(
    kong, proxy, variables, bearer, report_measurement
):
    """It answers 200 to everything right after the kill, so the gateway's checks cannot tell it apart."""
    first, second = (str(free_port()) for _ in range(2))
    with ExitStack() as stack:
        kept = stack.enter_context(started(**variables, PORT=first))
        killed = stack.enter_context(started(**variables, PORT=second))
        wait_until(lambda: targets(kong) == {f"127.0.0.1:{first}", f"127.0.0.1:{second}"}, read_log=killed[1])
        os.killpg(killed[0].pid, signal.SIGKILL)
        killed[0].wait()
        wait_until(lambda: is_free(int(second)))
        with running_neighbor(Neighbor(200), int(second)) as stranger:
            began = time.monotonic()
            wait_until(lambda: targets(kong) == {f"127.0.0.1:{first}"}, read_log=kept[1])
            lasted_s = time.monotonic() - began
            before = len(stranger.calls)
            for _ in range(20):
                assert requests.get(f"{proxy.url}/loaner/1/2020-02-29", headers=bearer, timeout=20).status_code == 200
            assert len(stranger.calls) == before
        assert "another service answers at its address" in kept[1]()
    report_measurement(f"a stranger that answers 200 to /ready: removed after {lasted_s:.1f} s (comparison each 1 s)")


def test_a_start_fails_if_a_stranger_has_the_calls_and_the_status_names_it(kong, proxy, variables):
    with running_neighbor(Neighbor(200, echoes=True)) as stranger:
        kong.answer("PUT", "/services/stranger", {"host": "127.0.0.1", "port": stranger.port})
        kong.answer("PUT", "/services/stranger/routes/stranger", {"paths": ["/loaner"]})
        done = run(**variables, GATEWAY_TIMEOUT_S="2", PORT=str(free_port()))
        assert done.returncode == 1, done.stderr
        where = f"{proxy.url}/loaner/healthcheck"
        error = f"Error: GATEWAY_PROXY_URL: {where} is not routed to this service: another service answered 200"
        assert done.stderr.strip().splitlines()[-1].startswith(error)
        named = "the route stranger of the service stranger with the path /loaner takes calls for this service"
        assert named in done.stderr
        code, shown = status(**variables)
        assert (code, f"route     {named}" in shown, "proxy     GATEWAY_PROXY_URL: " in shown) == (1, True, True)
        preview = run("register", "--dry-run", **variables)
        assert (preview.returncode, f"Warning: {named}" in preview.stderr) == (0, True)


def test_what_keeps_calls_away_is_shown_repaired_and_measured(kong, proxy, variables):
    port = free_port()
    with started(**variables, PORT=str(port)) as (_, read_log):
        wait_until(lambda: targets(kong) and is_registered(port), read_log=read_log)
        wait_until(lambda: kong.health.get(f"127.0.0.1:{port}") == "HEALTHY", read_log=read_log)  # checked each 0.5 s
        code, shown = status(**variables)
        assert code == 0, shown
        assert f"proxy     {proxy.url}/loaner/healthcheck is routed to this service\n" in shown
        assert f"target    127.0.0.1:{port} HEALTHY, instance " in shown
        for entities, fields in (
            (kong.services, {"enabled": False}),
            (kong.services, {"path": "/elsewhere"}),
            (kong.routes, {"methods": ["POST"]}),
            (kong.routes, {"hosts": ["api.example"]}),
            (kong.routes, {"headers": {"x-group": ["a"]}}),
        ):
            before = dict(entities["loaner"])
            entities["loaner"] |= fields
            wait_until(lambda: entities["loaner"] == {**before, "updated_at": entities["loaner"]["updated_at"]})  # noqa: B023
            wait_until(lambda: f"{next(iter(fields))}: " in read_log(), read_log=read_log)  # noqa: B023
        kong.services["loaner"]["retries"] = 0
        kong.targets[UPSTREAM][f"127.0.0.1:{port}"]["weight"] = 0
        time.sleep(2.5)
        assert kong.targets[UPSTREAM][f"127.0.0.1:{port}"]["weight"] == 0
        _, shown = status(**variables)
        assert "kept      service loaner: retries 0" in shown
        assert "weight 0, kept: it gets no calls" in shown
        wait_until(lambda: not is_registered(port), read_log=read_log)  # no call arrives


def test_the_metric_is_0_while_the_route_is_missing(kong, variables):
    port = free_port()
    with started(**variables, PORT=str(port)) as (_, read_log):
        wait_until(lambda: targets(kong) and is_registered(port), read_log=read_log)
        answer = kong.answer

        def refuse(method, path, body):  # the repair fails, as with a token that may only read
            return (403, {"message": "forbidden"}) if method == "PUT" else answer(method, path, body)

        kong.answer = refuse
        del kong.routes["loaner"]
        wait_until(lambda: not is_registered(port), read_log=read_log)
        code, shown = status(**variables)
        assert (code, "+ route loaner" in shown) == (1, True)
        kong.answer = answer
        wait_until(lambda: is_registered(port), read_log=read_log)
        assert "loaner" in kong.routes


def test_the_remaining_instance_repairs_after_the_last_started_one_has_ended(kong, variables, tmp_path):
    first, second = (str(free_port()) for _ in range(2))
    with started(**variables, PORT=first) as (_, read_log):
        wait_until(lambda: targets(kong) and is_registered(int(first)), read_log=read_log)
        before = len(kong.writes)
        with started(**variables, PORT=second) as (_, read_other):
            wait_until(lambda: f"127.0.0.1:{second}" in targets(kong), read_log=read_other)
            written = [path for _, path, _ in kong.writes[before:]]
            assert written == [f"/upstreams/{UPSTREAM}/targets"]  # one declaration for both
        del kong.routes["loaner"]
        wait_until(lambda: "loaner" in kong.routes, read_log=read_log)
        # a start that the gateway refuses does not stop the repair either
        (tmp_path / "plugins.yaml").write_text("plugins: [{name: rate-limitin}]")
        refused = run(**variables, GATEWAY_PLUGINS=str(tmp_path / "plugins.yaml"), PORT=second)
        assert (refused.returncode, "not enabled" in refused.stderr) == (1, True)
        del kong.routes["loaner"]
        wait_until(lambda: "loaner" in kong.routes, read_log=read_log)
        assert ask(f"http://127.0.0.1:{first}/ready")[0] == 200
