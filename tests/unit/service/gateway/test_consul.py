"""Requests to a Consul agent, and the failures that callers see."""

import json
from contextlib import contextmanager

import pytest

from service.gateway.consul import ConsulAgent, ConsulUnavailable
from tests.fakes.http_server import serving
from tests.support.ports import free_port

INSTANCE = "loaner-10.0.0.1-5555"
URL = "http://10.0.0.1:5555"


@contextmanager
def agent_answering(status: int, content: bytes = b"", token: str | None = None):
    """Yields an agent whose server always returns the same, and its requests as (method, path, headers, body)."""
    requests: list[tuple[str, str, dict, bytes]] = []

    def answer(*request):
        requests.append(request)
        return status, content

    with serving(answer) as url:
        yield ConsulAgent(url, token), requests


def call_each_method(agent: ConsulAgent):
    """Yields a call of each method."""
    yield lambda: agent.register("loaner", INSTANCE, "10.0.0.1", 5555, URL, is_ready=True)
    yield lambda: agent.is_registered(INSTANCE)
    yield lambda: agent.deregister(INSTANCE)


@pytest.mark.parametrize("is_ready", [True, False])
def test_an_instance_is_registered_with_checks_of_liveness_and_readiness(is_ready):
    """Only an instance that is dead is deregistered, so that one without Postgres is back as soon as it is ready."""
    with agent_answering(200) as (agent, requests):
        agent.register("loaner", INSTANCE, "10.0.0.1", 5555, URL, is_ready)
    [(method, path, _, body)] = requests
    assert (method, path) == ("PUT", "/v1/agent/service/register?replace-existing-checks=true")
    assert json.loads(body) == {
        "name": "loaner",
        "id": INSTANCE,
        "address": "10.0.0.1",
        "port": 5555,
        "tags": ["microkubes"],
        "checks": [
            {
                "CheckID": f"service:{INSTANCE}:alive",
                "name": "alive",
                "http": f"{URL}/healthcheck",
                "interval": "2s",
                "timeout": "3s",
                "status": "passing",
                "DeregisterCriticalServiceAfter": "1m",
            },
            {
                "CheckID": f"service:{INSTANCE}:ready",
                "name": "ready",
                "http": f"{URL}/ready",
                "interval": "2s",
                "timeout": "3s",
                "status": "passing" if is_ready else "critical",
            },
        ],
    }


def test_checks_do_not_verify_the_certificate_of_an_address():
    with agent_answering(200) as (agent, requests):
        agent.register("loaner", INSTANCE, "10.0.0.1", 5555, "https://10.0.0.1:5555", is_ready=True)
    assert [check["TLSSkipVerify"] for check in json.loads(requests[0][3])["checks"]] == [True, True]


def test_the_agent_lists_its_instances():
    with agent_answering(200, json.dumps({INSTANCE: {}}).encode()) as (agent, requests):
        assert agent.is_registered(INSTANCE)
        assert not agent.is_registered("loaner-10.0.0.2-5555")
    assert {request[:2] for request in requests} == {("GET", "/v1/agent/services")}


@pytest.mark.parametrize(("entries", "expected"), [([], False), ([{"Service": {"ID": INSTANCE}}], True)])
def test_the_catalog_says_whether_a_service_has_healthy_instances(entries, expected):
    with agent_answering(200, json.dumps(entries).encode()) as (agent, requests):
        assert agent.has_healthy("loaner") is expected
    assert [request[:2] for request in requests] == [("GET", "/v1/health/service/loaner?passing=true")]


def test_a_catalog_without_an_array_is_an_error():
    with agent_answering(200, b"{}") as (agent, _), pytest.raises(ConsulUnavailable, match="no JSON array"):
        agent.has_healthy("loaner")


def test_an_instance_is_deregistered_by_its_id():
    with agent_answering(200) as (agent, requests):
        agent.deregister(INSTANCE)
        agent.deregister("loaner-::1-5555")
    assert [request[:2] for request in requests] == [
        ("PUT", f"/v1/agent/service/deregister/{INSTANCE}"),
        ("PUT", "/v1/agent/service/deregister/loaner-::1-5555"),
    ]


def test_deregistering_an_unknown_instance_succeeds():
    with agent_answering(404, b'Unknown service ID "loaner-10.0.0.1-5555"') as (agent, _):
        agent.deregister(INSTANCE)


def test_the_token_is_sent_with_every_request():
    with agent_answering(200, b"{}", token="t0ken") as (agent, requests):
        for call in call_each_method(agent):
            call()
    assert [headers["X-Consul-Token"] for _, _, headers, _ in requests] == ["t0ken"] * 3


def test_without_a_token_none_is_sent():
    with agent_answering(200, b"{}") as (agent, requests):
        agent.is_registered(INSTANCE)
    assert "X-Consul-Token" not in requests[0][2]


def test_proxies_of_the_environment_are_ignored(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with agent_answering(200, b"{}") as (agent, requests):
        assert not agent.is_registered(INSTANCE)
    assert len(requests) == 1


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (400, b"Invalid check"),
        (403, b"Permission denied"),
        (500, b"No cluster\nleader"),
        (302, b""),
        (500, b"x" * 9999),
    ],
)
def test_an_error_of_the_agent_names_its_address_and_reply(status, content):
    with agent_answering(status, content, token="t0ken") as (agent, _):
        for call in call_each_method(agent):
            with pytest.raises(ConsulUnavailable) as failure:
                call()
            message = str(failure.value)
            assert message.startswith(f"the Consul agent at {agent.url}: ")
            assert f"answered {status}: {' '.join(content.decode().split())[:300] or 'no message'}" in message
            assert "t0ken" not in message
            assert len(message) < 500


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b"null"])
def test_a_list_of_instances_that_is_not_a_json_object_is_an_error(content):
    with agent_answering(200, content) as (agent, _), pytest.raises(ConsulUnavailable, match="no JSON object"):
        agent.is_registered(INSTANCE)


def test_registering_fails_if_the_server_has_no_such_route():
    with agent_answering(404) as (agent, _), pytest.raises(ConsulUnavailable, match="answered 404"):
        agent.register("loaner", INSTANCE, "10.0.0.1", 5555, URL, is_ready=True)


def test_an_unreachable_agent_is_named_without_its_password():
    address = f"127.0.0.1:{free_port()}"
    agent = ConsulAgent(f"http://user:secret@{address}")
    for call in call_each_method(agent):
        with pytest.raises(ConsulUnavailable, match=rf"^the Consul agent at http://{address}: cannot be reached$"):
            call()
