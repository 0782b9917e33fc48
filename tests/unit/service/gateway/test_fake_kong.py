"""The stand-in gateway answers as the recorded ones do, statuses and members alike."""

from typing import Any

import pytest

from tests.fakes.kong.fake_kong import StandInKong
from tests.fakes.kong.recorded import recording

# What differs from run to run, and which other entity it belongs to.
PASSING = {"id", "created_at", "updated_at", "service", "upstream"}
# Recorded, but of no concern: these requests cannot come from this service.
NEVER_ASKED = {
    "post conflicts", "bad requests", "proxied", "proxied, no route", "proxied, service down",
    "proxied, upstream without targets", "proxied through upstream", "proxied, name does not resolve",
    "database down, proxied",
}  # fmt: skip
NEVER_SENT = [
    {"port": "x"}, {"tags": ["a,b"]}, {"methods": ["get"]}, {"paths": ["/x"], "methods": ["get"]},
]  # fmt: skip


def comparable(value: Any) -> Any:
    """What does not differ from run to run; a message may name an id."""
    if isinstance(value, dict):
        return {k: comparable(v) for k, v in value.items() if k not in PASSING and "UNIQUE" not in str(v)}
    return [comparable(entry) for entry in value] if isinstance(value, list) else value


def replay(kong: StandInKong, name: str) -> int:
    """Ask whatever was asked in a recording, in its order. Returns: how many answers were compared."""
    compared = 0
    recorded_ids: dict[str, str] = {}
    for scenario, steps in recording(name).items():
        if scenario in NEVER_ASKED:
            continue
        kong.database_up = scenario != "database down"
        for step in steps:
            asked, told = step["request"], step["response"]
            body = asked.get("json")
            sent = {k: v for k, v in (body or {}).items() if k != "host"}
            if sent in NEVER_SENT or "%20" in asked["path"]:
                continue
            if asked["method"] == "POST" and asked["path"] == "/services":
                continue
            status, members = kong.answer(asked["method"], asked["path"], body)
            assert status == told["status"], (scenario, asked, members)
            if asked["path"] == "/" and status == 200:
                assert members["version"] == told["json"]["version"]
                assert members["configuration"]["database"] == told["json"]["configuration"]["database"]
            elif asked["path"] == "/status":
                assert members.get("database") == told["json"].get("database")
            elif asked["path"].endswith("/health"):
                assert comparable(members["data"]) == comparable(told["json"]["data"])
            else:
                assert comparable(members) == comparable(told.get("json")), (scenario, asked)
            if isinstance(told.get("json"), dict) and "service" in told["json"]:
                # whose it is: the services have other ids here, and the same names
                names = {told_id: name for name, told_id in recorded_ids.items()}
                owner = next(n for n, service in kong.services.items() if service["id"] == members["service"]["id"])
                assert owner == names[told["json"]["service"]["id"]], (scenario, asked)
            if asked["path"].startswith("/services/") and asked["path"].count("/") == 2 and told["status"] == 200:
                recorded_ids[told["json"]["name"]] = told["json"]["id"]
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
def test_every_exchange_is_answered_as_it_was_recorded(name, version, database, least, say):
    compared = replay(StandInKong(version, database), name)
    assert compared >= least
    say(f"{name}: {compared} recorded exchanges answered alike")


def test_the_versions_are_those_of_the_recorded_gateways():
    for name in ("3.9.3", "2.8.5", "0.14.1"):
        assert recording(f"kong-{name}")["root"][0]["response"]["json"]["version"] == name
