"""A declaration is kept up by the instances of its release; that of a release that is gone is replaced."""

from contextlib import suppress
from dataclasses import replace

import pytest

from service.gateway import KongGatewayRegistrator, RegistrationException
from service.gateway.definition import Definition, Plugin
from service.gateway.repair import COMPETITORS_INTERVAL_S, Repair
from tests.fakes.clocks import Clock
from tests.fakes.kong.fake_kong import FakeKong, running

BOUND_S = 120
OLD = Definition("loaner", ("/loaner",), "loaner", 5555, health_path="/ready")
NEW = replace(OLD, paths=("/loans",))


class Place:
    """A gateway, and the repair by an instance of the old release."""

    def __init__(self, kong: FakeKong, old: Definition, new: Definition) -> None:
        self.kong, self.clock, self.missing = kong, Clock(), []
        self.old, self.new = old, new
        self.registrator = KongGatewayRegistrator(kong.url, 2)
        self.registrator.reconcile(old)
        self.repair = Repair(self.registrator, old, BOUND_S, lambda: self.missing.append(1), self.clock)

    def paths(self, after_s: float = 0) -> list[str]:
        """Repair after a while, and return the paths of the route."""
        self.clock.now += after_s
        with suppress(RegistrationException):  # while another release's declaration differs
            self.repair(self.old)
        return self.kong.routes["loaner"]["paths"] if "loaner" in self.kong.routes else []


@pytest.fixture
def kong():
    with running(FakeKong()) as gateway:
        yield gateway


@pytest.fixture
def place(kong):
    return Place(kong, OLD, NEW)


def test_a_missing_route_is_reported_before_it_is_repaired(place):
    place.paths()
    assert not place.missing
    del place.kong.routes["loaner"]
    assert place.paths() == ["/loaner"]
    assert place.missing


def test_the_declaration_of_a_release_with_a_healthy_instance_stands(place):
    place.registrator.reconcile(NEW)
    place.registrator.add_target(NEW, "127.0.0.1:2", "new")
    assert place.paths() == ["/loans"]
    assert place.paths(10 * BOUND_S) == ["/loans"]
    with pytest.raises(RegistrationException, match="another release has declared the service; route loaner differs"):
        place.repair(OLD)


@pytest.mark.parametrize("end", ["removed", "unhealthy", "parked"])
def test_the_declaration_of_a_release_that_is_gone_is_replaced_after_the_bound(place, end):
    place.registrator.reconcile(NEW)
    place.registrator.add_target(NEW, "127.0.0.1:2", "new")
    place.paths()
    targets = place.kong.targets["loaner.upstream"]
    if end == "removed":
        targets.clear()
    elif end == "unhealthy":
        place.kong.health["127.0.0.1:2"] = "UNHEALTHY"
    else:
        targets["127.0.0.1:2"]["weight"] = 0
    assert place.paths() == ["/loans"]
    assert place.paths(BOUND_S - 1) == ["/loans"]
    assert place.paths(1) == ["/loaner"]
    assert place.registrator.inspect(OLD).declaration == OLD.declaration_tag


def test_a_release_that_starts_in_time_is_not_gone(place):
    place.registrator.reconcile(NEW)
    assert place.paths() == ["/loans"]
    place.registrator.add_target(NEW, "127.0.0.1:2", "new")
    assert place.paths(BOUND_S) == ["/loans"]
    place.kong.targets["loaner.upstream"].clear()
    assert place.paths(1) == ["/loans"]
    assert place.paths(BOUND_S - 1) == ["/loans"]


def test_without_targets_a_release_that_restores_nothing_is_gone(kong):
    place = Place(kong, replace(OLD, health_path=None), replace(NEW, health_path=None))
    place.registrator.reconcile(place.new)
    assert place.paths(BOUND_S) == ["/loans"]
    del kong.routes["loaner"]
    assert place.paths() == []
    assert place.paths(BOUND_S - 1) == []
    assert place.missing
    assert place.paths(1) == ["/loaner"]


def test_a_mark_that_was_removed_leaves_the_repair_to_everyone(place):
    place.kong.services["loaner"]["tags"] = OLD.tags
    place.kong.routes["loaner"]["paths"] = ["/elsewhere"]
    assert place.paths() == ["/loaner"]


def test_a_declaration_that_the_gateway_refuses_does_not_stop_the_repair(place):
    mistaken = replace(OLD, plugins=[Plugin("rate-limitin", {})])
    place.kong.routes["loaner"]["paths"] = ["/elsewhere"]
    for _ in range(2):
        with pytest.raises(RegistrationException, match="not enabled"):
            place.repair(mistaken)
    assert place.repair.standing == OLD
    assert place.kong.routes["loaner"]["paths"] == ["/loaner"]


def test_a_route_that_takes_calls_is_reported_until_it_is_gone(place):
    place.repair.check_competitors(OLD)
    place.kong.answer("PUT", "/services/stranger", {"host": "theirs"})
    place.kong.answer("PUT", "/services/stranger/routes/stranger", {"paths": ["/loaner/token"]})
    place.repair.check_competitors(OLD)  # read not long ago
    place.clock.now += COMPETITORS_INTERVAL_S
    for _ in range(2):
        with pytest.raises(RegistrationException, match="the route stranger of the service stranger"):
            place.repair.check_competitors(OLD)
    del place.kong.routes["stranger"]
    place.clock.now += COMPETITORS_INTERVAL_S
    place.repair.check_competitors(OLD)
