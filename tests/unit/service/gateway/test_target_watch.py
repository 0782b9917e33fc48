"""Living instances remove targets of instances that are gone; operators and instances that live are left alone."""

from contextlib import ExitStack

import pytest

from service.gateway import KongGatewayRegistrator, RegistrationException
from service.gateway.definition import Definition
from service.gateway.identity import Identity
from service.gateway.target_watch import TargetWatch
from tests.fakes.clocks import Clock
from tests.fakes.kong.fake_kong import FakeKong
from tests.fakes.kong.fake_kong import running as running_kong
from tests.support.neighbors import Neighbor, running
from tests.support.ports import free_port

SECRET = b"s" * 32
DECLARED = Definition("loaner", ("/loaner",), "unused", 5555, health_path="/ready")
OWN, BOUND_S = "127.0.0.1:1", 120


def identity(instance: str) -> Identity:
    return Identity("loaner", lambda: [SECRET], instance)


class Place:
    """A gateway whose upstream has a target of this instance, and the watch of this instance."""

    def __init__(self, kong: FakeKong) -> None:
        self.kong, self.clock = kong, Clock()
        self.registrator = KongGatewayRegistrator(kong.url, 2)
        self.registrator.reconcile(DECLARED)
        self.watch = TargetWatch(self.registrator, identity("own"), OWN, BOUND_S, self.clock)
        self.add(OWN, "own")

    def add(self, address: str, instance: str, health: str = "HEALTHY") -> str:
        self.registrator.add_target(DECLARED, address, instance)
        self.kong.health[address] = health
        return address

    def check(self, after_s: float = 0) -> list[str]:
        """Check after a while, and return the addresses of the remaining other targets."""
        self.clock.now += after_s
        self.watch.check(DECLARED, self.registrator.targets(DECLARED))
        return [address for address in self.kong.targets["loaner.upstream"] if address != OWN]


@pytest.fixture(params=["3.9.3", "2.8.5"])
def place(request):
    with running_kong(FakeKong(request.param)) as kong:
        yield Place(kong)


def test_a_target_that_stays_unhealthy_is_removed_after_the_bound(place, caplog):
    gone = place.add(f"127.0.0.1:{free_port()}", "gone", "UNHEALTHY")
    assert place.check() == [gone]
    assert place.check(BOUND_S - 1) == [gone]
    assert place.check(1) == []
    assert f"removed the target {gone} UNHEALTHY, instance gone from the upstream: it has been unhealthy" in caplog.text


def test_a_target_that_recovers_is_kept(place):
    address = place.add(f"127.0.0.1:{free_port()}", "slow", "UNHEALTHY")
    place.check()
    place.kong.health[address] = "HEALTHY"
    place.check(BOUND_S)
    place.kong.health[address] = "UNHEALTHY"
    assert place.check(1) == [address]
    assert place.check(BOUND_S - 1) == [address]
    assert place.check(1) == []


def test_a_target_that_proves_that_it_lives_is_kept(place):
    """It may not be ready, or the gateway may not reach it. Removing it would not help: it would add itself again."""
    with running(Neighbor(identity=identity("alive"))) as neighbor:
        place.add(neighbor.address, "alive", "UNHEALTHY")
        place.check()
        assert place.check(10 * BOUND_S) == [neighbor.address]


def test_a_target_that_another_instance_has_taken_over_is_kept(place):
    with running(Neighbor(identity=identity("successor"))) as neighbor:
        place.add(neighbor.address, "predecessor")
        assert place.check(10 * BOUND_S) == [neighbor.address]


@pytest.mark.parametrize("status", [200, 302, 401, 404, 503])
def test_a_stranger_at_the_address_is_removed_immediately(place, status, caplog):
    """Even one that answers 200 to everything, which the gateway takes for a healthy instance."""
    with running(Neighbor(status, echoes=True)) as stranger:
        place.add(stranger.address, "gone")
        assert place.check() == []
    assert "another service answers at its address" in caplog.text


def test_an_instance_of_an_earlier_release_is_judged_by_its_health_alone(place):
    """It has no id, and makes no proofs."""
    with running(Neighbor(body=b'{"status":"ok"}')) as earlier:
        place.kong.answer("POST", "/upstreams/loaner.upstream/targets",
                          {"target": earlier.address, "weight": 100, "tags": DECLARED.tags})  # fmt: skip
        place.kong.health[earlier.address] = "HEALTHY"
        assert place.check(10 * BOUND_S) == [earlier.address]
        place.kong.health[earlier.address] = "UNHEALTHY"
        place.check()
        assert place.check(BOUND_S) == []


def test_a_target_that_was_added_by_hand_is_kept(place):
    address = f"127.0.0.1:{free_port()}"
    place.kong.answer("POST", "/upstreams/loaner.upstream/targets", {"target": address})
    place.kong.health[address] = "UNHEALTHY"
    place.check()
    assert place.check(10 * BOUND_S) == [address]


def test_an_instance_that_the_gateway_does_not_reach_removes_no_unhealthy_target(place):
    """In a network split, each side would otherwise remove the other."""
    other = place.add(f"127.0.0.1:{free_port()}", "other", "UNHEALTHY")
    place.kong.health[OWN] = "UNHEALTHY"
    for after_s in (0, BOUND_S, BOUND_S):
        with pytest.raises(RegistrationException, match=f"checks of this instance, {OWN}, fail"):
            place.check(after_s)
    assert other in place.kong.targets["loaner.upstream"]


def test_a_removed_instance_that_lives_adds_itself_again(place):
    address = place.add(f"127.0.0.1:{free_port()}", "split", "UNHEALTHY")
    place.check()
    assert place.check(BOUND_S) == []
    assert place.registrator.add_target(DECLARED, address, "split")
    assert place.check(1) == [address]


def test_a_weight_of_0_is_respected(place):
    address = place.add(f"127.0.0.1:{free_port()}", "parked")
    place.kong.targets["loaner.upstream"][address]["weight"] = 0
    assert not place.registrator.add_target(DECLARED, address, "parked")
    assert place.registrator.add_target(DECLARED, address, "restarted")  # only the tags
    assert place.kong.targets["loaner.upstream"][address]["weight"] == 0
    shown = next(str(target) for target in place.registrator.targets(DECLARED) if target.address == address)
    assert shown == f"{address} HEALTHY, instance restarted, weight 0, kept: it gets no calls"


def test_a_target_has_one_owner_at_a_time(place):
    address = place.add("127.0.0.1:2", "first")
    place.add(address, "second")
    tags = place.kong.targets["loaner.upstream"][address]["tags"]
    assert [tag for tag in tags if tag.startswith("instance:")] == ["instance:second"]


def test_only_a_200_is_healthy():
    with ExitStack() as stack:
        kong = stack.enter_context(running_kong(FakeKong()))
        KongGatewayRegistrator(kong.url, 2).reconcile(DECLARED)
        active = kong.entities["upstreams"]["loaner.upstream"]["healthchecks"]["active"]
        assert active["healthy"]["http_statuses"] == [200]
        assert set(active["unhealthy"]["http_statuses"]) | {200} == set(range(100, 1000))  # all that Kong accepts
        assert 200 not in active["unhealthy"]["http_statuses"]
        assert min(active["unhealthy"][name] for name in ("http_failures", "tcp_failures", "timeouts")) > 0
