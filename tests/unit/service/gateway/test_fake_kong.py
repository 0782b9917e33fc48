"""The fake gateway returns the statuses and bodies of recorded gateways."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.fakes.kong.fake_kong import FakeKong, running
from tests.fakes.kong.fake_proxy import FakeProxy
from tests.fakes.kong.recorded import recording

# Fields that differ between runs, and references to other entities.
VOLATILE = {"id", "created_at", "updated_at", "service", "upstream"}
# Recorded requests that this service does not send.
SKIPPED_SCENARIOS = {
    "post conflicts", "bad requests", "proxied", "proxied, no route", "proxied, service down",
    "proxied, upstream without targets", "proxied through upstream", "proxied, name does not resolve",
    "database down, proxied",
}  # fmt: skip
SKIPPED_BODIES = [
    {"port": "x"}, {"tags": ["a,b"]}, {"methods": ["get"]}, {"paths": ["/x"], "methods": ["get"]},
]  # fmt: skip


def comparable(value: Any) -> Any:
    """Return a response without what differs between runs; messages about unique constraints contain ids."""
    if isinstance(value, dict):
        return {k: comparable(v) for k, v in value.items() if k not in VOLATILE and "UNIQUE" not in str(v)}
    return [comparable(entry) for entry in value] if isinstance(value, list) else value


def replay(kong: FakeKong, name: str) -> int:
    """Send the requests of a recording and compare the responses. Returns the number of compared responses."""
    compared = 0
    recorded_ids: dict[str, str] = {}
    for scenario, steps in recording(name).items():
        if scenario in SKIPPED_SCENARIOS:
            continue
        kong.database_up = scenario != "database down"
        for step in steps:
            request, expected = step["request"], step["response"]
            body = request.get("json")
            sent = {k: v for k, v in (body or {}).items() if k != "host"}
            if sent in SKIPPED_BODIES or "%20" in request["path"]:
                continue
            if request["method"] == "POST" and request["path"] == "/services":
                continue
            status, members = kong.answer(request["method"], request["path"], body)
            assert status == expected["status"], (scenario, request, members)
            if request["path"] == "/" and status == 200:
                assert members["version"] == expected["json"]["version"]
                assert members["configuration"]["database"] == expected["json"]["configuration"]["database"]
            elif request["path"] == "/status":
                assert members.get("database") == expected["json"].get("database")
            elif request["path"].endswith("/health"):
                assert comparable(members["data"]) == comparable(expected["json"]["data"])
            else:
                assert comparable(members) == comparable(expected.get("json")), (scenario, request)
            if isinstance(expected.get("json"), dict) and "service" in expected["json"]:
                # services have other ids than in the recording, but the same names
                names = {recorded_id: name for name, recorded_id in recorded_ids.items()}
                owner = next(n for n, service in kong.services.items() if service["id"] == members["service"]["id"])
                assert owner == names[expected["json"]["service"]["id"]], (scenario, request)
            if (
                request["path"].startswith("/services/")
                and request["path"].count("/") == 2
                and expected["status"] == 200
            ):
                recorded_ids[expected["json"]["name"]] = expected["json"]["id"]
            compared += 1
    return compared


def translated(value: Any, ids: dict[str, str]) -> Any:
    """Return a recorded path or body with the fake's ids instead of the recorded ones."""
    text = json.dumps(value)
    for recorded_id, own_id in ids.items():
        text = text.replace(recorded_id, own_id)
    return json.loads(text)


def ids_of(recorded: Any, own: Any) -> dict[str, str]:
    """Return the fake's ids by recorded ids, from two responses of the same form."""
    if isinstance(recorded, dict) and isinstance(own, dict):
        found = {recorded["id"]: own["id"]} if "id" in recorded and "id" in own else {}
        for name in recorded.keys() & own.keys():
            found |= ids_of(recorded[name], own[name])
        return found
    return {}


@pytest.mark.parametrize("version", ["3.9.3", "2.8.5"])
def test_responses_at_the_edges_equal_the_recorded_ones(version, report_measurement):
    """The gateway's calls and its health checks are replayed too, against services that answer as the recorded ones."""
    compared = 0
    for scenario, steps in recording(f"kong-{version}-edges").items():
        with strangers() as (ports, answer_with), running(FakeKong(version)) as kong, FakeProxy(kong) as proxy:
            ids: dict[str, str] = {}
            on_ports = {"18561": str(ports[0]), "18562": str(ports[1])}
            for step in steps:
                note = step.get("note", "")
                if "killed" in note:
                    answer_with("second", None)
                elif "401" in note:
                    answer_with("second", 401)
                elif "302" in note:
                    answer_with("second", 302)
                if "request" not in step:
                    continue
                request, expected = step["request"], step["response"]
                path = translated(request["path"], ids | on_ports)
                body = translated(request.get("json"), ids | on_ports)
                if step["to"] == "proxy":
                    status, members = proxy.call(request["method"], path)
                else:
                    proxy.check_health(times=3)
                    status, members = kong.answer(request["method"], path, body)
                assert status == expected["status"], (scenario, request, members)
                if status >= 400:
                    assert comparable(members).get("message") == comparable(expected["json"]).get("message")
                elif "/health" in path and "/upstreams" in path:
                    own = {t["target"]: t["health"] for t in members["data"]}
                    wanted = translated({t["target"]: t["health"] for t in expected["json"]["data"]}, on_ports)
                    assert own == wanted, (scenario, step)
                elif step["to"] == "proxy":
                    assert members == expected["json"], (scenario, step)
                elif expected.get("json") is not None and "data" not in expected["json"]:
                    assert equal_but_ports(members, expected["json"]), (scenario, request, members)
                    ids |= ids_of(expected["json"], members)
                compared += 1
    assert compared > 60
    report_measurement(f"kong-{version}-edges: {compared} responses equal the recorded ones")


def equal_but_ports(own: Any, recorded: Any) -> bool:
    own, recorded = comparable(own), comparable(recorded)
    for members in (own, recorded):
        for name in ("port", "target"):
            members.pop(name, None)
        members.pop("consumer", None)
    return own == recorded


@contextmanager
def strangers():
    """Serve two services on free ports, `first` and `second`, which return their name and the path of a request.

    Yields:
        Their ports, and a function that sets the status of one. None refuses connections.
    """
    statuses: dict[str, int | None] = {"first": 200, "second": 200}
    servers = []

    def handler(name: str) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status = statuses[name]
                if status is None:
                    self.close_connection = True
                    return
                content = json.dumps({"answered_by": name, "path": self.path}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler

    for name in statuses:
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler(name))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        servers.append((server, thread))
    try:
        yield [server.server_port for server, _ in servers], statuses.__setitem__
    finally:
        for server, thread in servers:
            server.shutdown()
            thread.join()
            server.server_close()


@pytest.mark.parametrize(
    ("name", "version", "database", "least"),
    [
        ("kong-3.9.3", "3.9.3", "postgres", 60),
        ("kong-2.8.5", "2.8.5", "postgres", 55),
        ("kong-0.14.1", "0.14.1", "postgres", 15),
        ("kong-3.9.3-dbless", "3.9.3", "off", 4),
    ],
)
def test_responses_equal_the_recorded_ones(name, version, database, least, report_measurement):
    compared = replay(FakeKong(version, database), name)
    assert compared >= least
    report_measurement(f"{name}: {compared} responses equal the recorded ones")


def test_recordings_are_of_the_named_versions():
    for name in ("3.9.3", "2.8.5", "0.14.1"):
        assert recording(f"kong-{name}")["root"][0]["response"]["json"]["version"] == name
