"""The stand-in gateway answers as the recorded ones do, statuses and members alike."""

import pytest

from tests.conftest import recording
from tests.gateway.stand_in import StandInKong

# What differs from run to run.
PASSING = {"id", "created_at", "updated_at", "service"}


def _replay(kong: StandInKong, steps: list[dict]) -> None:
    for step in steps:
        asked, told = step["request"], step["response"]
        status, members = kong.answer(asked["method"], asked["path"], asked.get("json"))
        assert status == told["status"], asked
        if status == 200 and asked["path"] != "/":
            assert set(members) == set(told["json"]), asked
            assert {k: v for k, v in members.items() if k not in PASSING} == {
                k: v for k, v in told["json"].items() if k not in PASSING
            }, asked
        elif status != 200:
            assert members == told["json"], asked


@pytest.mark.parametrize("scenario", ["service put creates", "service put resets omitted fields"])
def test_services_answer_as_recorded(scenario):
    _replay(StandInKong(), recording("kong-3.9.3")[scenario])


def test_absence_answers_as_recorded():
    steps = [s for s in recording("kong-3.9.3")["service absent"] if not s["request"]["path"].endswith("/routes")]
    _replay(StandInKong(), steps)


def test_routes_answer_as_recorded_and_can_be_stolen():
    kong, recorded = StandInKong(), recording("kong-3.9.3")
    _replay(kong, recorded["service put creates"])
    listing = ("GET", "/services/loaner/routes")
    used = [s for s in recorded["route put creates"] if (s["request"]["method"], s["request"]["path"]) != listing]
    _replay(kong, used)
    _replay(kong, recorded["route put under a missing service"])
    owner = kong.routes["loaner"]["service"]
    theft = [s for s in recorded["route theft"] if s["request"]["method"] == "PUT"][:2]
    _replay(kong, theft)
    assert kong.routes["loaner"]["service"] != owner


def test_refusals_answer_as_recorded():
    _replay(StandInKong(), recording("kong-3.9.3")["schema violations"][:2])


def test_a_gateway_without_a_database_answers_as_recorded():
    _replay(StandInKong(database="off"), recording("kong-3.9.3-dbless")["writes refused"][:1])


def test_the_members_that_are_looked_at_are_those_of_real_gateways():
    for name, database in (("kong-3.9.3", "postgres"), ("kong-3.9.3-dbless", "off")):
        told = recording(name)["root"][0]["response"]["json"]
        assert StandInKong(database).answer("GET", "/", None)[1]["configuration"]["database"] == database
        assert told["configuration"]["database"] == database
