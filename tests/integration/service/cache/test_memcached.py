"""Timelines in a real memcached, and in servers that misbehave."""

import logging
import os
import socket
import socketserver
import ssl
import struct
import subprocess
import tempfile
import threading
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from pymemcache.client.base import Client, PooledClient

from native import LAYOUT_VERSION
from service.cache import TimelineLru, open_memcached
from service.cache.circuit_breaker import FAILURE_THRESHOLD
from service.cache.memcached import MAX_ITEM_BYTES, MemcachedTimelines
from service.cache.signed_value import ValueSigner
from service.errors import SettingsError
from service.ledger.freshness import Freshness
from service.ledger.timeline_lookup import TimelineLookup
from service.net.hosts import Host, parse_hosts
from service.settings import MemcachedSettings, load_settings
from tests.fakes.certificates import write_certificate
from tests.fakes.memcached import Memcached, memcached, needs_memcached
from tests.fakes.tcp_proxy import TcpProxy
from tests.fakes.tcp_proxy import running as running_proxy
from tests.support.cached import cached
from tests.support.waiting import PATIENCE_S

pytestmark = needs_memcached
SECRET = "a secret of this test"
KEY = f"loaner:{LAYOUT_VERSION}:a:1"


@pytest.fixture(scope="module")
def server():
    with memcached() as running:
        yield running


@pytest.fixture
def opened():
    """Return a function that opens a cache on servers, by their addresses."""
    caches = []

    def open_on(*addresses, secret=SECRET, timeout_s=1.0, **more):
        hosts = parse_hosts(", ".join(addresses), 11211)
        caches.append(MemcachedTimelines(hosts, secret, timeout_s, connections=4, **more))
        return caches[-1]

    yield open_on
    for cache in caches:
        cache.close()


@pytest.fixture
def raw(server):
    """Return a plain client of the server, after emptying it."""
    with closing(Client(("127.0.0.1", server.port), default_noreply=False)) as client:
        client.flush_all()
        yield client


@pytest.mark.parametrize("events", [0, 1, 3, 1000])
def test_a_stored_timeline_is_returned_unchanged(server, raw, opened, make, events):
    opened(server.address).put_many("a", [make(events=events, version=events)])
    found = cached(opened(server.address), "a", 1)
    assert bytes(found) == bytes(make(events=events, version=events))
    assert cached(opened(server.address), "b", 1) is None
    assert cached(opened(server.address), "a", 2) is None


def with_other_layout(content: bytes) -> bytes:
    return content[:4] + struct.pack("<H", LAYOUT_VERSION + 1) + content[6:]


@pytest.mark.parametrize(
    "forge",
    [
        lambda content: b"",
        lambda content: b"x",
        lambda content: content,  # without a tag
        lambda content: ValueSigner(SECRET).sign(KEY, content)[:-1],
        lambda content: ValueSigner(SECRET).sign(KEY, content) + b"\0",
        lambda content: ValueSigner("another secret").sign(KEY, content),
        lambda content: ValueSigner(SECRET).sign(f"loaner:{LAYOUT_VERSION}:a:2", content),
        lambda content: ValueSigner(SECRET).sign(f"loaner:{LAYOUT_VERSION}:b:1", content),
        # validly signed, as a faulty release might write it
        lambda content: ValueSigner(SECRET).sign(KEY, content[:-1]),
        lambda content: ValueSigner(SECRET).sign(KEY, with_other_layout(content)),
    ],
)
def test_a_truncated_foreign_or_malformed_value_is_ignored(server, raw, opened, make, forge, caplog):
    raw.set(KEY, forge(bytes(make())))
    assert cached(opened(server.address), "a", 1) is None
    assert "loan 1" in caplog.text
    assert SECRET not in caplog.text


def test_a_timeline_of_another_loan_under_the_key_is_ignored(server, raw, opened, make):
    raw.set(KEY, ValueSigner(SECRET).sign(KEY, bytes(make(loan_id=2))))
    assert cached(opened(server.address), "a", 1) is None


def test_a_timeline_of_the_previous_layout_is_read_again(server, raw, opened, make, caplog):
    header = struct.pack("<4sHHqqQqi4sQQ", b"LNTL", 1, 0, 1, 1, 7, 100_00, 18_000, b"USD\0", 1, 0)
    old = header + struct.pack("<qqqiB", 101_00, 1_00, 1, 18_000, 1)
    for key in (KEY, KEY.replace(f":{LAYOUT_VERSION}:", ":1:")):
        raw.set(key, ValueSigner(SECRET).sign(key, old))
    timelines, database = opened(server.address), SimpleNamespace(reads=0)

    def read(loan_ids, cached, cluster):
        assert not cached
        database.reads += 1
        return {1: make()}

    database.timelines = read
    freshness = Freshness(max_staleness_s=10)
    freshness.on_listen("a", 5, time.monotonic())
    for _ in range(2):
        assert TimelineLookup(database, freshness, caches=(TimelineLru(0), timelines)).get(1).timeline.version == 3
    assert database.reads == 1
    assert "ignoring the malformed timeline of loan 1: unsupported timeline layout 1" in caplog.text
    assert bytes(cached(timelines, "a", 1)) == bytes(make())


def test_an_ignored_value_can_be_replaced(server, raw, opened, make):
    raw.set(KEY, b"garbage")
    timelines = opened(server.address)
    timelines.put_many("a", [make()])
    assert cached(timelines, "a", 1).version == 3


def test_an_unreachable_server_opens_its_circuit_until_it_is_back(opened, make, caplog):
    caplog.set_level(logging.INFO)
    server = Memcached()
    timelines = opened(server.address)
    for _ in range(FAILURE_THRESHOLD + 5):
        assert cached(timelines, "a", 1) is None
        timelines.put_many("a", [make()])
    assert timelines.state() == {server.address: "down"}
    assert caplog.text.count("circuit opened") == 1
    server.start()
    try:
        deadline = time.monotonic() + PATIENCE_S
        while cached(timelines, "a", 1) is None and time.monotonic() < deadline:
            timelines.put_many("a", [make()])
            time.sleep(0.05)
        assert cached(timelines, "a", 1) is not None
        assert timelines.state() == {server.address: "ok"}
        assert caplog.text.count("circuit closed") == 1
    finally:
        server.stop()


def test_a_silent_server_costs_its_timeout_only_a_few_times(opened):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        timelines = opened(f"127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.1)
        started_at = time.monotonic()
        for _ in range(50):
            assert cached(timelines, "a", 1) is None
        assert time.monotonic() - started_at < (FAILURE_THRESHOLD + 2) * 0.1 + 1


def test_a_rejected_value_does_not_open_the_circuit(opened, make):
    with memcached("-I", "512k") as small:
        timelines = opened(small.address)
        for number in range(3, 3 + 2 * FAILURE_THRESHOLD):
            timelines.put_many("a", [make(loan_id=1, events=20_000)])
            assert cached(timelines, "a", 1) is None
            timelines.put_many("a", [make(loan_id=2, version=number)])
            assert cached(timelines, "a", 2).version == number  # responses match their requests
        assert timelines.state() == {small.address: "ok"}


def test_values_above_the_default_limit_are_not_sent(server, raw, opened, make):
    before = raw.stats()[b"cmd_set"]
    opened(server.address).put_many("a", [make(events=MAX_ITEM_BYTES // 29)])
    assert raw.stats()[b"cmd_set"] == before


def test_loans_are_distributed_and_stay_on_their_server_when_another_one_fails(opened, make):
    with memcached() as first, memcached() as second:
        timelines = opened(first.address, second.address)
        loans = range(1, 41)
        for loan in loans:
            timelines.put_many("a", [make(loan)])
        held = {server.address: int(stats(server)[b"curr_items"]) for server in (first, second)}
        assert sum(held.values()) == 40
        assert min(held.values()) >= 8
        second.stop()
        found = [loan for loan in loans if cached(timelines, "a", loan) is not None]
        assert len(found) == held[first.address]
        assert timelines.state() == {first.address: "ok", second.address: "down"}


def stats(server):
    with closing(Client(("127.0.0.1", server.port))) as client:
        return client.stats()


@pytest.fixture
def open_folder():
    """Return a folder that the server's user can read."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_many_loans_take_one_round_trip_to_each_server(server, opened, make, monkeypatch):
    with memcached() as another:
        timelines = opened(server.address, another.address)
        trips = []
        for command in ("get_many", "set_many"):
            monkeypatch.setattr(PooledClient, command, _count_keys(getattr(PooledClient, command), trips))
        timelines.put_many("a", [make(loan) for loan in range(1, 101)])
        found = timelines.get_many("a", range(1, 121))
    assert found.keys() == set(range(1, 101))
    assert all(timeline.loan_id == loan for loan, timeline in found.items())
    assert [name for name, _ in trips] == ["set_many"] * 2 + ["get_many"] * 2
    assert sum(keys for name, keys in trips if name == "get_many") == 120
    assert min(keys for _, keys in trips) > 20


def _count_keys(command, trips):
    def count(self, keys, *rest):
        trips.append((command.__name__, len(keys)))
        return command(self, keys, *rest)

    return count


def test_the_certificate_of_a_server_is_verified(make, open_folder, caplog):
    right, wrong = (write_certificate(open_folder / f"{name}.pem") for name in ("right", "wrong"))
    with memcached("-Z", "-o", f"ssl_chain_cert={right},ssl_key={right}") as server:
        settings = MemcachedSettings(servers=server.address, secret=SECRET, tls=True, timeout_s=1, ca=str(right))
        with closing(open_memcached(settings)) as timelines:
            timelines.put_many("a", [make()])
            assert cached(timelines, "a", 1) is not None
        others = settings.replace(ca=str(wrong))
        with closing(open_memcached(others)) as timelines:
            for _ in range(FAILURE_THRESHOLD):
                assert cached(timelines, "a", 1) is None
        assert "certificate verify failed" in caplog.text
        plain = settings.replace(tls=False, ca=None)
        with closing(open_memcached(plain)) as timelines:
            assert cached(timelines, "a", 1) is None


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"memcached_servers": "one two"}, "MEMCACHED_SERVERS: expected hosts"),
        ({"memcached_servers": "host:0"}, "MEMCACHED_SERVERS"),
        ({"cache_secret": "short"}, "CACHE_SECRET"),
        ({"memcached_timeout_s": "0"}, "MEMCACHED_TIMEOUT_S"),
        ({"cache_bytes": "-1"}, "CACHE_BYTES"),
        ({"max_staleness_s": "-1"}, "MAX_STALENESS_S"),
    ],
)
def test_an_invalid_setting_is_named(setting, message):
    with pytest.raises(SettingsError, match=message) as caught:
        load_settings(**setting)
    assert "short" not in str(caught.value)


def test_servers_without_a_secret_are_rejected():
    with pytest.raises(SettingsError, match="CACHE_SECRET is not set"):
        open_memcached(MemcachedSettings(servers="cache"))


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_an_unusable_ca_file_is_named(content, tmp_path):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    settings = MemcachedSettings(servers="cache", secret=SECRET, tls=True, ca=str(path))
    with pytest.raises(SettingsError, match="MEMCACHED_CA"):
        open_memcached(settings)


def test_without_servers_no_cache_is_opened():
    assert open_memcached(MemcachedSettings()) is None


def test_the_default_port_is_that_of_memcached():
    assert parse_hosts("cache", 11211) == (Host("cache", 11211),)


class GarbageHandler(socketserver.StreamRequestHandler):
    """Sends the same bytes, one by one, in response to every line."""

    response = b""
    pause_s = 0.0

    def handle(self):
        with suppress(OSError):
            while self.rfile.readline():
                for byte in self.response:
                    self.wfile.write(bytes([byte]))
                    time.sleep(self.pause_s)


@contextmanager
def garbage_server(response, pause_s=0.0):
    handler = type("Handler", (GarbageHandler,), {"response": response, "pause_s": pause_s})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize(
    "response",
    [b"VALUE x y\r\n", b"VALUE\r\n", b"VALUE other 0 3\r\nabc\r\nEND\r\n", b"HTTP/1.1 200 OK\r\n", b"\xff\r\n"],
)
def test_a_server_that_is_not_memcached_opens_its_circuit(opened, make, response):
    with garbage_server(response) as address:
        timelines = opened(address, timeout_s=0.2)
        for _ in range(FAILURE_THRESHOLD):
            assert cached(timelines, "a", 1) is None
            timelines.put_many("a", [make()])
        assert timelines.state() == {address: "down"}


def test_a_server_that_sends_single_bytes_slowly_opens_its_circuit(opened):
    with garbage_server(b"END\r\n", pause_s=0.15) as address:
        timelines = opened(address, timeout_s=0.05)
        started_at = time.monotonic()
        for _ in range(20):
            assert cached(timelines, "a", 1) is None
        assert time.monotonic() - started_at < 5
        assert timelines.state() == {address: "down"}


DRIP_S = 0.03  # shorter than every timeout below
MARGIN_S = 1.0  # for a machine with other work


@contextmanager
def dripping(folder: Path, with_tls: bool):
    """Yield a real memcached, a proxy in front of it that sends a byte at a time, and the TLS context, if any."""
    certificate = write_certificate(folder / "server.pem")
    options = ("-Z", "-o", f"ssl_chain_cert={certificate},ssl_key={certificate}") if with_tls else ()
    tls = ssl.create_default_context(cafile=certificate) if with_tls else None
    with memcached(*options) as server, running_proxy(TcpProxy(server.port)) as proxy:
        yield proxy, tls


@pytest.mark.parametrize("with_tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("is_connected", [False, True], ids=["new connection", "pooled connection"])
def test_a_dripping_server_costs_a_few_timeouts(opened, make, open_folder, with_tls, is_connected, caplog):
    caplog.set_level(logging.INFO)
    with dripping(open_folder, with_tls) as (proxy, tls):
        timelines = opened(f"127.0.0.1:{proxy.port}", timeout_s=0.2, tls=tls)
        if is_connected:
            timelines.put_many("a", [make(events=20)])
            assert cached(timelines, "a", 1) is not None
        proxy.drip_s = DRIP_S
        durations = []
        operations = [
            lambda: cached(timelines, "a", 1),
            lambda: timelines.put_many("a", [make(loan) for loan in range(1, 10)]),
            lambda: timelines.get_many("a", range(1, 50)),
            *[lambda: cached(timelines, "a", 1)] * 10,
        ]
        for operation in operations:
            begun = time.monotonic()
            assert not operation()
            durations.append(time.monotonic() - begun)
        assert max(durations) < 0.2 + MARGIN_S
        assert sum(duration > 0.1 for duration in durations) <= FAILURE_THRESHOLD + 1  # and a probe
        assert caplog.text.count("circuit opened: ") == 1
        proxy.drip_s = 0.0
        deadline = time.monotonic() + PATIENCE_S
        while proxy.connections and time.monotonic() < deadline:
            time.sleep(0.05)
        assert proxy.connections == 0  # connections with half a reply are closed
        versions = set()
        while 20 not in versions and time.monotonic() < deadline:
            timelines.put_many("a", [make(events=20, version=20)])
            found = cached(timelines, "a", 1)
            versions.add(found and found.version)
            time.sleep(0.05)
        assert 20 in versions
        assert caplog.text.count("circuit closed") == 1


def test_a_balance_comes_from_postgres_while_memcached_drips(opened, make, open_folder, report_measurement):
    with dripping(open_folder, False) as (proxy, _):
        timelines, reads = opened(f"127.0.0.1:{proxy.port}", timeout_s=0.05), []
        timelines.put_many("a", [make(events=20)])
        database = SimpleNamespace(timelines=lambda *asked: reads.append(asked) or {1: make(events=20)})
        freshness = Freshness(max_staleness_s=10)
        freshness.on_listen("a", 5, time.monotonic())
        lookup = TimelineLookup(database, freshness, caches=(TimelineLru(0), timelines))
        proxy.drip_s = DRIP_S
        durations = []
        for _ in range(20):
            begun = time.monotonic()
            assert lookup.get(1).timeline.loan_id == 1
            durations.append(time.monotonic() - begun)
    assert len(reads) == 20
    assert max(durations) < 2 * 0.05 + MARGIN_S  # a read and a write
    report_measurement(f"balance while memcached drips: {max(durations) * 1000:.0f} ms at most, timeout 50 ms")


def test_a_large_value_to_a_server_that_stops_reading_costs_one_timeout(opened, make, open_folder):
    with dripping(open_folder, True) as (proxy, tls):
        timelines = opened(f"127.0.0.1:{proxy.port}", timeout_s=0.2, tls=tls)
        timelines.put_many("a", [make()])
        large = [make(loan, events=30_000) for loan in range(1, 20)]
        proxy.silence()
        begun = time.monotonic()
        timelines.put_many("a", large)
        assert time.monotonic() - begun < 0.2 + MARGIN_S
        proxy.speak()


def test_a_slow_resolver_costs_one_timeout(opened, monkeypatch, caplog):
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: released.wait(30))
    timelines = opened("cache.example", timeout_s=0.2)
    begun = time.monotonic()
    for _ in range(10):
        assert cached(timelines, "a", 1) is None
    released.set()
    assert time.monotonic() - begun < FAILURE_THRESHOLD * 0.2 + MARGIN_S
    assert "circuit opened: TimeoutError" in caplog.text


def test_an_unknown_name_opens_the_circuit(opened, caplog):
    timelines = opened("cache.invalid", timeout_s=5)
    for _ in range(FAILURE_THRESHOLD):
        assert cached(timelines, "a", 1) is None
    assert "circuit opened: [Errno" in caplog.text


def test_a_request_for_many_loans_may_take_longer(opened, make, open_folder):
    with dripping(open_folder, False) as (proxy, _):
        timelines = opened(f"127.0.0.1:{proxy.port}", timeout_s=0.2)
        timelines.put_many("a", [make(loan) for loan in range(1, 1001)])
        proxy.delay_s = 0.25
        assert timelines.get_many("a", range(1, 11)) == {}
        assert len(timelines.get_many("a", range(1, 1001))) == 1000


def test_a_unix_socket_can_be_a_server(opened, make, open_folder):
    open_folder.chmod(0o777)
    path = open_folder / "socket"
    command = ["memcached", "-s", str(path), *(["-u", "nobody"] if os.geteuid() == 0 else [])]
    process = subprocess.Popen(command)
    try:
        timelines = opened(str(path))
        deadline = time.monotonic() + PATIENCE_S
        while cached(timelines, "a", 1) is None and time.monotonic() < deadline:
            timelines.put_many("a", [make()])
            time.sleep(0.05)
        assert cached(timelines, "a", 1) is not None
    finally:
        process.terminate()
        process.wait()


def test_a_ca_file_without_tls_is_rejected():
    settings = MemcachedSettings(servers="cache", secret=SECRET, ca="ca.pem")
    with pytest.raises(SettingsError, match="MEMCACHED_CA is set but MEMCACHED_TLS is not"):
        open_memcached(settings)
