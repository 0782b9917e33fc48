"""Behind a proxy: trusted headers, links under a prefix, and the id of each request."""

import logging
import re

import pytest

from service.errors import SettingsError
from service.settings import load_settings
from tests.support.application import build_app
from tests.support.settings import with_changes
from tests.support.waiting import wait_until

pytestmark = pytest.mark.shared_ledger

PREFIX = {"X-Forwarded-Prefix": "/loaner", "X-Forwarded-For": "203.0.113.9"}


@pytest.fixture
def get_page(served):
    """Requests the documentation from an address, with trusted proxies in these networks."""

    def get_page(peer: str, networks: str, **headers: str):
        client = build_app(with_changes(served, trusted_proxies=networks)).test_client()
        return client.get("/api/v1", headers={**PREFIX, **headers}, environ_base={"REMOTE_ADDR": peer})

    return get_page


@pytest.mark.parametrize(
    ("peer", "networks", "trusted"),
    [
        ("127.0.0.1", "127.0.0.1/32, ::1/128", True),
        ("10.1.2.3", "127.0.0.1/32, ::1/128", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("::ffff:10.1.2.3", "10.0.0.0/8", True),
        ("fd00::5", "10.0.0.0/8, fd00::/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("", "10.0.0.0/8", False),
        ("10.1.2.3", "", False),
    ],
)
def test_only_configured_proxies_are_trusted(get_page, peer, networks, trusted, caplog):
    page = get_page(peer, networks)
    assert ('<base href="/loaner/api/v1/">' in page.text) == trusted
    wait_until(lambda: ("which is not in TRUSTED_PROXIES" in caplog.text) == (not trusted))


def test_an_ignored_proxy_is_logged_once(get_page, served, caplog):
    client = build_app(served).test_client()
    for _ in range(3):
        client.get("/api/v1", headers=PREFIX, environ_base={"REMOTE_ADDR": "10.0.0.1"})
    wait_until(lambda: caplog.text.count("ignoring X-Forwarded-Prefix from 10.0.0.1") == 1)


def test_internal_routes_are_404_through_trusted_and_other_proxies(served):
    client = build_app(served).test_client()
    for peer in ("127.0.0.1", "10.0.0.1"):
        for header in ("X-Forwarded-For", "Via", "Forwarded"):
            reply = client.get("/ready", headers={header: "x"}, environ_base={"REMOTE_ADDR": peer})
            assert reply.status_code == 404
        assert client.get("/ready", environ_base={"REMOTE_ADDR": peer}).status_code == 200


@pytest.mark.parametrize(
    ("networks", "ok"), [("10.0.0.0/8, ::1", True), ("localhost", False), ("10.0.0.1/8", False), ("10.0.0.0/33", False)]
)
def test_invalid_networks_stop_the_start(networks, ok):
    if ok:
        assert load_settings(trusted_proxies=networks).server.trusted_proxies == "10.0.0.0/8, ::1/128"
    else:
        with pytest.raises(SettingsError, match="TRUSTED_PROXIES: expected comma-separated addresses or networks"):
            load_settings(trusted_proxies=networks)


def test_failed_attempts_count_for_the_client_behind_the_proxy(served):
    client = build_app(served).test_client()

    def guess(address: str) -> int:
        headers = {"X-Forwarded-For": address}
        return client.post("/token", json={"user": "loaner-client", "pw": "wrong"}, headers=headers).status_code

    assert [guess("203.0.113.1") for _ in range(7)] == [401] * 5 + [429] * 2
    assert guess("203.0.113.2") == 401


@pytest.mark.parametrize("header", ["X-Request-ID", "X-Kong-Request-Id", "Kong-Request-ID"])
def test_the_request_id_of_the_gateway_is_logged_and_returned(served, header, caplog):
    client = build_app(served).test_client()
    with caplog.at_level(logging.INFO):
        reply = client.get("/1/2020-01-31?secret=x", headers={header: "7dd8722b-5604#3"})
    assert reply.headers["X-Request-ID"] == "7dd8722b-5604#3"
    assert re.search(r"127\.0\.0\.1 GET /1/2020-01-31 401 \d+\.\d ms", caplog.text)
    assert "secret" not in caplog.text


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "a\tb", "é", '"'])
def test_an_invalid_request_id_is_replaced(served, given):
    reply = build_app(served).test_client().get("/version", headers={"X-Request-ID": given})
    assert re.fullmatch(r"[0-9a-f]{32}", reply.headers["X-Request-ID"])


def test_a_request_id_from_an_untrusted_peer_is_replaced(served):
    reply = build_app(served).test_client().get(
        "/version", headers={"X-Request-ID": "mine"}, environ_base={"REMOTE_ADDR": "10.0.0.1"}
    )  # fmt: skip
    assert reply.headers["X-Request-ID"] != "mine"


def test_a_path_cannot_inject_log_lines(served, caplog):
    with caplog.at_level(logging.INFO):
        build_app(served).test_client().get("/a%0aINFO forged%1b[31m/%c3%a9")
    assert "\nINFO forged" not in caplog.text
    assert "\x1b" not in caplog.text


def test_an_invalid_address_is_not_logged(served, caplog):
    client = build_app(served).test_client()
    with caplog.at_level(logging.INFO):
        client.get("/version", headers={"X-Forwarded-For": "1.2.3.4 ERROR faked"})
        client.get("/healthcheck")
    assert "faked" not in caplog.text
    assert "- GET /version 200" in caplog.text
    assert "/healthcheck" not in caplog.text  # successful probes are logged at DEBUG


@pytest.mark.parametrize(
    ("forwarded", "client_address"),
    [
        ("203.0.113.1", "203.0.113.1"),
        ("203.0.113.1, 10.0.0.2", "203.0.113.1"),
        ("6.6.6.6, 203.0.113.1, 10.0.0.3, 10.0.0.2", "203.0.113.1"),  # the first one is invented by the client
        ("10.0.0.4, 10.0.0.2", "10.0.0.4"),
        ("203.0.113.1, nonsense, 10.0.0.2", "-"),
    ],
)
def test_the_client_is_the_last_address_outside_the_trusted_networks(served, forwarded, client_address, caplog):
    client = build_app(with_changes(served, trusted_proxies="10.0.0.0/8")).test_client()
    with caplog.at_level(logging.INFO):
        client.get("/version", headers={"X-Forwarded-For": forwarded}, environ_base={"REMOTE_ADDR": "10.0.0.1"})
    assert f"{client_address} GET /version 200" in caplog.text
