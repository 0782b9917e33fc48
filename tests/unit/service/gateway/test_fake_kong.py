"""The fake gateway returns the statuses and bodies of recorded gateways."""

from typing import Any

import pytest

from tests.fakes.kong.fake_kong import FakeKong
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
