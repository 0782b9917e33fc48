"""Instances join the gateway when they are ready, leave it before they stop, and lose no request."""

import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests
from urllib3.util.retry import Retry

from tests.fakes.kong.fake_kong import FakeKong, running
from tests.fakes.kong.fake_proxy import FakeProxy
from tests.support.load_clients import PAUSE_S
from tests.support.ports import free_port
from tests.support.processes import ask, reach, run, started, wait_until_up, workers
from tests.support.waiting import wait_until

UPSTREAM = "loaner.upstream"


@pytest.fixture
def kong():
    with running(FakeKong()) as gateway:
        yield gateway


@pytest.fixture
def variables(served, kong):
    """Settings of an instance without its PORT."""
    return {**reach(served.postgres), "API_GATEWAY_URL": kong.url, "KEYS_DIR": served.tokens.keys_dir,
            "LISTEN_HOST": "127.0.0.1", "WORKERS": "2", "SERVICE_DISCOVERY": "upstream",
            "GATEWAY_INTERVAL_S": "1", "DRAIN_S": "2"}  # fmt: skip


def test_an_instance_joins_when_it_is_ready_and_leaves_before_it_stops(kong, variables):
    port = free_port()
    target = f"127.0.0.1:{port}"
    with started(**variables, PORT=str(port)) as (process, read_log):
        wait_until(lambda: target in kong.targets.get(UPSTREAM, {}), read_log=read_log)
        url = f"http://{target}"
        assert ask(f"{url}/ready")[0] == 200
        assert kong.services["loaner"]["host"] == UPSTREAM
        assert kong.entities["upstreams"][UPSTREAM]["healthchecks"]["active"]["http_path"] == "/ready"
        os.killpg(process.pid, signal.SIGTERM)  # as a service manager does
        wait_until(lambda: target not in kong.targets[UPSTREAM], read_log=read_log)
        status, _, reply = ask(f"{url}/ready")
        assert (status, "draining" in reply["message"]) == (503, True)
        assert ask(f"{url}/version")[0] == 200  # and it still serves requests
        assert process.wait(14) == 0  # workers that did not stop would be killed after 15 s
        assert "Traceback" not in read_log()


def test_a_pending_request_is_completed_before_the_stop(kong, variables):
    port = free_port()
    body = b"grant_type=client_credentials&client_id=a&client_secret=b"
    head = (
        "POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with started(**{**variables, "DRAIN_S": "0", "SECRET": "x"}, PORT=str(port)) as (process, read_log):
        wait_until(lambda: kong.targets.get(UPSTREAM), read_log=read_log)
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(head.encode() + body[:10])
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            time.sleep(5)  # everything but this request would have stopped by then
            client.sendall(body[10:])
            reply = b""
            while piece := client.recv(4096):
                reply += piece
        assert reply.startswith(b"HTTP/1.1 401"), reply
        assert process.wait(20) == 0


def test_a_second_signal_ends_draining(kong, variables):
    port = free_port()
    with started(**{**variables, "DRAIN_S": "60"}, PORT=str(port)) as (process, read_log):
        wait_until(lambda: kong.targets.get(UPSTREAM), read_log=read_log)
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: not kong.targets[UPSTREAM])
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_foreign_changes_on_the_gateway_are_reverted_and_logged(kong, variables):
    port = free_port()
    with started(**variables, PORT=str(port)) as (_, read_log):
        wait_until(lambda: kong.targets.get(UPSTREAM), read_log=read_log)
        before = len(kong.writes)
        time.sleep(2.5)
        assert kong.writes[before:] == []  # no difference, no write
        kong.routes["loaner"]["paths"] = ["/elsewhere"]
        kong.targets[UPSTREAM].clear()
        wait_until(lambda: kong.routes["loaner"]["paths"] == ["/loaner"] and kong.targets[UPSTREAM], read_log=read_log)
        wait_until(lambda: "repaired a difference on the gateway: ~ route loaner" in read_log())


def test_a_broken_plugins_file_does_not_stop_the_instance(kong, variables, tmp_path):
    path = tmp_path / "plugins.yaml"
    path.write_text("plugins: []")
    with started(**variables, GATEWAY_PLUGINS=str(path), PORT=str(free_port())) as (_, read_log):
        wait_until(lambda: kong.targets.get(UPSTREAM), read_log=read_log)
        path.write_text("plugins: [")
        wait_until(lambda: "neither YAML nor JSON" in read_log(), read_log=read_log)
        path.write_text("plugins: [{name: rate-limiting, config: {minute: 60}}]")
        wait_until(lambda: kong.entities["plugins"], read_log=read_log)
        kong.targets[UPSTREAM].clear()
        wait_until(lambda: kong.targets[UPSTREAM], read_log=read_log)


def test_an_instance_with_an_ipv6_address_leaves_the_gateway(kong, variables):
    port = free_port()
    written = f"[fd00:0000:0000:0000:0000:0000:0000:0005]:{port}"  # the gateway's notation
    with started(**variables, INSTANCE_HOST="[fd00::5]", PORT=str(port)) as (process, read_log):
        wait_until(lambda: list(kong.targets.get(UPSTREAM, {})) == [written], read_log=read_log)
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: not kong.targets[UPSTREAM], read_log=read_log)
        assert process.wait(30) == 0


def test_replacing_workers_loses_no_request(kong, variables, bearer):
    port = free_port()
    url = f"http://127.0.0.1:{port}/1/2020-02-29"
    answers: list[int | str] = []
    stop = threading.Event()

    def call() -> None:
        # like a gateway, repeat a request whose new connection was closed before the reply
        gateway = requests.adapters.HTTPAdapter(max_retries=Retry(total=1, connect=0, status=0, backoff_factor=0))
        while not stop.wait(PAUSE_S):
            with requests.Session() as session:
                session.mount("http://", gateway)
                try:
                    answers.append(session.get(url, headers=bearer, timeout=20).status_code)
                except requests.RequestException as err:
                    answers.append(repr(err))

    with started(**variables, PORT=str(port)) as (process, read_log):
        wait_until(lambda: kong.targets.get(UPSTREAM), read_log=read_log)
        before = workers(process.pid)
        callers = [threading.Thread(target=call) for _ in range(2)]
        for caller in callers:
            caller.start()
        process.send_signal(signal.SIGHUP)
        begun = time.monotonic()
        wait_until(lambda: not before & workers(process.pid), read_log=read_log)
        assert time.monotonic() - begun < 14  # or they were killed after 15 s
        stop.set()
        for caller in callers:
            caller.join()
        assert set(answers) == {200}
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_an_unresponsive_gateway_does_not_delay_the_stop(kong, variables):
    with started(**variables, PORT=str(free_port())) as (process, read_log):
        wait_until(lambda: kong.targets.get(UPSTREAM), read_log=read_log)
        kong.database_up = False
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0
        assert time.monotonic() - begun < 5 + 2 + 10  # leaving, draining, stopping


def test_a_gateway_outage_is_logged_once_and_does_not_affect_requests(kong, variables):
    port = free_port()
    with started(**variables, PORT=str(port)) as (process, read_log):
        wait_until(lambda: kong.targets.get(UPSTREAM), read_log=read_log)
        kong.database_up = False
        time.sleep(7)
        assert ask(f"http://127.0.0.1:{port}/ready")[0] == 200
        kong.database_up = True
        kong.targets[UPSTREAM].clear()
        wait_until(lambda: kong.targets[UPSTREAM], read_log=read_log)
        assert read_log().count("cannot reach its database") <= 2
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_a_signal_ends_the_wait_for_the_gateway(variables):
    unreachable = {**variables, "API_GATEWAY_URL": f"http://127.0.0.1:{free_port()}"}
    with started(**unreachable, PORT=str(free_port())) as (process, read_log):
        wait_until(lambda: "retrying for up to" in read_log(), read_log=read_log)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert "Traceback" not in read_log()


def test_a_signal_between_registering_and_serving_stops_the_instance_cleanly(kong, variables):
    for wait_s in (0.1, 0.7):
        kong.targets.clear()
        with started(**variables, PORT=str(free_port())) as (process, read_log):
            wait_until(lambda: "registered loaner" in read_log(), read_log=read_log)
            time.sleep(wait_s)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0, read_log()
            assert "Traceback" not in read_log()
        assert not kong.targets.get(UPSTREAM)


def test_an_instance_is_registered_once_the_gateway_routes_to_it(kong, variables):
    """A gateway applies a new route with a delay."""
    with FakeProxy(kong) as proxy:
        port = free_port()
        with started(**variables, PORT=str(port), GATEWAY_PROXY_URL=proxy.url) as (_, read_log):
            wait_until(lambda: "loaner" in kong.routes, read_log=read_log)
            route = kong.routes["loaner"]
            proxy._route = lambda *_: None
            wait_until(
                lambda: "is not routed to this service (the gateway answered 404)" in read_log(), read_log=read_log
            )
            metrics = f"http://127.0.0.1:{port}/metrics"
            assert "loaner_gateway_registered 0.0" in requests.get(metrics, timeout=10).text
            del proxy._route
            wait_until(lambda: "healthcheck is routed to this service" in read_log(), read_log=read_log)
            wait_until(lambda: "loaner_gateway_registered 1.0" in requests.get(metrics, timeout=10).text)
            assert kong.routes["loaner"] == route


def test_the_start_fails_if_the_gateway_never_routes(kong, variables, tmp_path):
    with proxying(tmp_path, "return 404;") as (proxy, _):
        impatient = {**variables, "GATEWAY_PROXY_URL": proxy, "GATEWAY_TIMEOUT_S": "2"}
        done = run(**impatient, PORT=str(free_port()))
    assert done.returncode == 1
    assert f"GATEWAY_PROXY_URL: {proxy}/loaner/healthcheck is not routed" in done.stderr


@contextmanager
def proxying(folder: Path, locations: str):
    """Run nginx on a free port with these locations. Yield its URL and a function that replaces the locations."""
    nginx = shutil.which("nginx")
    if nginx is None:
        pytest.skip("nginx is not installed: apt-get install nginx-light")
    port = free_port()
    home = Path(tempfile.mkdtemp(prefix="nginx-"))

    def write(rest: str, upstream: str = "") -> None:
        temporary = " ".join(
            f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (home / "nginx.conf").write_text(
            f"daemon off; pid {home}/pid; error_log {home}/error.log; worker_processes 1; user root;"
            f"events {{ worker_connections 512; }} http {{ {temporary} access_log off; {upstream}"
            f"server {{ listen 127.0.0.1:{port}; location / {{ {rest} }} }} }}"
        )

    def reload_with(rest: str, upstream: str = "") -> None:
        write(rest, upstream)
        process.send_signal(signal.SIGHUP)

    write(locations)
    process = subprocess.Popen([nginx, "-p", str(home), "-c", str(home / "nginx.conf")], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: listens(port))
        yield f"http://127.0.0.1:{port}", reload_with
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(home)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class GatewayProxy:
    """nginx in the data path. It forwards requests to the fake gateway's targets, and learns of changes after DELAY_S,
    like a gateway's workers.
    """

    DELAY_S = 0.6

    def __init__(self, kong: FakeKong, reload_with) -> None:
        self._kong = kong
        self._reload_with = reload_with
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        shown: list[str] = []
        while not self._stop.wait(0.05):
            targets = sorted(self._kong.targets.get(UPSTREAM, {}))
            if targets != shown and targets:
                shown = targets
                self._stop.wait(self.DELAY_S)
                servers = " ".join(f"server {target};" for target in targets)
                self._reload_with(
                    "rewrite ^/loaner(/.*)$ $1 break; proxy_set_header X-Forwarded-For $remote_addr;"
                    "proxy_set_header X-Forwarded-Prefix /loaner; proxy_set_header Host $host;"
                    "proxy_next_upstream off; proxy_pass http://instances;",
                    f"upstream instances {{ {servers} }} ",
                )


def test_a_rolling_restart_of_two_instances_loses_no_request(kong, variables, bearer, tmp_path, report_measurement):
    ports = [free_port(), free_port()]
    answers: list[int | str] = []
    stop = threading.Event()

    def call(url: str) -> None:
        while not stop.wait(PAUSE_S):
            try:
                answers.append(requests.get(f"{url}/loaner/1/2020-02-29", headers=bearer, timeout=20).status_code)
            except requests.RequestException as err:
                answers.append(repr(err))

    with (
        proxying(tmp_path, "return 503;") as (proxy, reload_with),
        GatewayProxy(kong, reload_with),
        ExitStack() as stack,
    ):

        def start(port: int):
            running_one = stack.enter_context(started(**{**variables, "DRAIN_S": "2"}, PORT=str(port)))
            wait_until(lambda: f"127.0.0.1:{port}" in kong.targets.get(UPSTREAM, {}), read_log=running_one[1])
            time.sleep(GatewayProxy.DELAY_S + 0.5)
            return running_one

        instances = [start(port) for port in ports]
        assert ask(f"{proxy}/loaner/1/2020-02-29", bearer)[2]["balance"] == "899.50"
        callers = [threading.Thread(target=call, args=(proxy,)) for _ in range(4)]
        for caller in callers:
            caller.start()
        for index, port in enumerate(ports):
            process, read_log = instances[index]
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0, read_log()
            instances[index] = start(port)
        stop.set()
        for caller in callers:
            caller.join()
    assert set(answers) == {200}, {str(answer) for answer in answers}
    assert len(answers) > 200
    report_measurement(f"rolling restart of two instances behind nginx: {len(answers)} requests, none lost")


def test_nothing_internal_is_reachable_through_the_gateway(kong, variables, bearer, tmp_path):
    port = free_port()
    with ExitStack() as stack:
        proxy, reload_with = stack.enter_context(proxying(tmp_path, "return 503;"))
        stack.enter_context(GatewayProxy(kong, reload_with))
        _, read_log = stack.enter_context(started(**variables, PORT=str(port)))
        wait_until(lambda: kong.targets.get(UPSTREAM), read_log=read_log)
        # the proxy's old worker still answers for a moment
        wait_until(
            lambda: all(requests.get(f"{proxy}/loaner/version", timeout=5).status_code == 200 for _ in range(20))
        )
        assert ask(f"http://127.0.0.1:{port}/ready")[0] == 200
        assert ask(f"{proxy}/loaner/ready")[0] == 404
        page = requests.get(f"{proxy}/loaner/api/v1", timeout=5)
        assert '<base href="/loaner/api/v1/">' in page.text
        asset = requests.get(f"{proxy}/loaner/api/v1/swagger/css/swagger-ui.css", timeout=5)
        assert asset.status_code == 200
        servers = requests.get(f"{proxy}/loaner/api/v1/openapi.json", timeout=5).json()["servers"]
        assert servers == [{"url": "/loaner"}]


@pytest.fixture
def consul(tmp_path):
    """A real Consul agent: its URL and its DNS port."""
    program = shutil.which("consul")
    if program is None:
        pytest.skip("consul is not installed: put its program on the PATH")
    http, dns, lan, wan, server = (free_port() for _ in range(5))
    process = subprocess.Popen(
        [program, "agent", "-dev", "-bind", "127.0.0.1", "-client", "127.0.0.1", "-disable-host-node-id",
         f"-http-port={http}", f"-dns-port={dns}", "-grpc-port=-1", f"-serf-lan-port={lan}", f"-serf-wan-port={wan}",
         f"-server-port={server}"],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{http}"

        def has_leader() -> bool:
            try:
                return bool(requests.get(f"{url}/v1/status/leader", timeout=2).json())
            except (requests.RequestException, ValueError):
                return False

        wait_until(has_leader)
        yield url, dns
    finally:
        process.terminate()
        process.wait(10)


def resolve(name: str, dns: int) -> list[str]:
    """Return the addresses (A records) of a name."""
    question = (
        b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0" + struct.pack(">HH", 1, 1)
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(struct.pack(">6H", 1, 0x0100, 1, 0, 0, 0) + question, ("127.0.0.1", dns))
        answer = client.recv(4096)
    count = struct.unpack(">H", answer[6:8])[0]
    rest = answer[12 + len(question) :]
    # each: a pointer to the name, type A, class, time to live, length 4, address
    return [socket.inet_ntoa(rest[16 * n + 12 : 16 * n + 16]) for n in range(count)]


def test_an_instance_is_registered_with_consul_while_it_runs(kong, variables, consul):
    agent, dns = consul
    port = free_port()
    chosen = {**variables, "SERVICE_DISCOVERY": "consul", "CONSUL_AGENT_URL": agent, "INSTANCE_HOST": "127.0.0.1"}

    def check() -> str | None:
        found = {each["Status"] for each in requests.get(f"{agent}/v1/health/checks/loaner", timeout=5).json()}
        return "critical" if "critical" in found else "passing" if found else None

    with started(**chosen, PORT=str(port)) as (process, read_log):
        wait_until(lambda: check() == "passing", read_log=read_log)
        assert resolve("loaner.service.consul", dns) == ["127.0.0.1"]
        [service] = requests.get(f"{agent}/v1/catalog/service/loaner", timeout=5).json()
        assert (service["ServiceAddress"], service["ServicePort"]) == ("127.0.0.1", port)
        requests.put(f"{agent}/v1/agent/service/deregister/{service['ServiceID']}", timeout=5)
        wait_until(lambda: check() == "passing", read_log=read_log)  # registered again
        os.killpg(process.pid, signal.SIGSTOP)
        wait_until(lambda: check() == "critical", read_log=read_log)
        assert resolve("loaner.service.consul", dns) == []
        os.killpg(process.pid, signal.SIGCONT)
        wait_until(lambda: check() == "passing", read_log=read_log)
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: check() is None, read_log=read_log)
        assert process.poll() is None  # deregistered before it stops
        assert process.wait(30) == 0


def test_an_unreachable_consul_agent_is_logged_and_does_not_affect_requests(kong, variables):
    port = free_port()
    chosen = {**variables, "CONSUL_AGENT_URL": f"http://127.0.0.1:{free_port()}"}
    with started(**chosen, PORT=str(port)) as (process, read_log):
        wait_until_up(process, f"http://127.0.0.1:{port}/healthcheck", read_log)
        wait_until(lambda: "the Consul agent at" in read_log(), read_log=read_log)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert "Traceback" not in read_log()
