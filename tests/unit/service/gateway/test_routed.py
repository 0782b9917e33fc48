"""Calls through the proxy count as arriving only if an instance of this service proves that it answered."""

from contextlib import ExitStack

import pytest

from service.gateway import KongGatewayRegistrator
from service.gateway.definition import Definition, Plugin
from service.gateway.identity import Identity
from service.gateway.routed import NotRouted, check_routed, wait_until_routed
from tests.fakes.kong.fake_kong import FakeKong
from tests.fakes.kong.fake_kong import running as running_kong
from tests.fakes.kong.fake_proxy import FakeProxy
from tests.support.neighbors import Neighbor, running

SECRET = b"s" * 32
OURS = Identity("loaner", lambda: [SECRET], "i1")
VERIFIER = Identity("loaner", lambda: [SECRET])


@pytest.fixture
def place():
    """A gateway, its proxy, and an instance of this service that is registered."""
    with ExitStack() as stack:
        kong = stack.enter_context(running_kong(FakeKong()))
        proxy = stack.enter_context(FakeProxy(kong))
        own = stack.enter_context(running(Neighbor(identity=OURS)))
        KongGatewayRegistrator(kong.url, 2).reconcile(declaration(own))
        yield kong, proxy, own


def declaration(own: Neighbor, **changes) -> Definition:
    return Definition("loaner", ("/loaner",), "127.0.0.1", own.port, **changes)


def check(proxy: FakeProxy, identity: Identity = VERIFIER) -> str:
    return check_routed(f"{proxy.url}/loaner", identity)


def test_an_instance_of_this_service_is_recognized(place):
    _, proxy, _ = place
    assert check(proxy) == f"{proxy.url}/loaner/healthcheck is routed to this service"


def test_another_instance_counts_too(place):
    _, proxy, own = place
    own.identity = Identity("loaner", lambda: [SECRET], "i2")
    assert check(proxy).endswith("is routed to this service")


@pytest.mark.parametrize("status", [200, 204, 301, 401, 403, 404, 500])
@pytest.mark.parametrize("echoes", [False, True])
def test_a_stranger_with_an_older_route_is_recognized(place, status, echoes):
    kong, proxy, _ = place
    with running(Neighbor(status, echoes=echoes)) as stranger:
        kong.answer("PUT", "/services/stranger", {"host": "127.0.0.1", "port": stranger.port})
        kong.answer("PUT", "/services/stranger/routes/stranger", {"paths": ["/loaner"]})
        kong.routes["stranger"]["created_at"] = 0
        with pytest.raises(NotRouted, match=f"another service answered {status}") as raised:
            check(proxy)
        assert raised.value.is_fault


def test_a_stranger_among_the_targets_is_recognized(place):
    kong, proxy, own = place
    declared = declaration(own, health_path="/ready")
    registrator = KongGatewayRegistrator(kong.url, 2)
    registrator.reconcile(declared)
    with running(Neighbor(200)) as stranger:
        for address in (own.address, stranger.address):
            registrator.add_target(declared, address, "i1")
        with pytest.raises(NotRouted, match="another service answered 200"):
            check(proxy)
    assert own.paths  # which answered some of the calls


def test_a_path_set_by_hand_that_only_answers_404_is_noticed(place):
    kong, proxy, own = place
    kong.services["loaner"]["path"] = "/elsewhere"
    own.status = 404
    with pytest.raises(NotRouted, match="answered 404, or this one at another path"):
        check(proxy)


@pytest.mark.parametrize("fields", [{"methods": ["POST"]}, {"hosts": ["api.example"]}, {"headers": {"x": ["a"]}}])
def test_a_route_that_does_not_match_is_noticed(place, fields):
    kong, proxy, _ = place
    kong.routes["loaner"] |= fields
    with pytest.raises(NotRouted, match=r"the gateway answered 404") as raised:
        check(proxy)
    assert raised.value.is_fault


def test_an_instance_that_is_not_reached_may_come_back(place):
    kong, proxy, _ = place
    kong.services["loaner"]["port"] = 9
    with pytest.raises(NotRouted, match="reaches no instance") as raised:
        check(proxy)
    assert not raised.value.is_fault


def test_an_earlier_release_is_no_fault_and_no_proof(place):
    _, proxy, own = place
    own.identity, own.body = None, b'{"status":"ok"}'
    with pytest.raises(NotRouted, match="an earlier release, or another service") as raised:
        check(proxy)
    assert not raised.value.is_fault


def test_a_plugin_that_answers_leaves_it_unproven(place):
    kong, proxy, own = place
    KongGatewayRegistrator(kong.url, 2).reconcile(declaration(own, plugins=[Plugin("key-auth", {})]))
    assert check(proxy).endswith("but not proven: the gateway itself answered 401, as a plugin does")


def test_without_a_signing_key_it_is_unproven(place):
    _, proxy, _ = place
    assert "not proven: KEYS_DIR has no signing key" in check(proxy, Identity("loaner", list))


def test_a_proxy_that_does_not_answer_is_a_fault():
    with pytest.raises(NotRouted, match="ConnectionError") as raised:
        check_routed("http://127.0.0.1:9/loaner", VERIFIER)
    assert raised.value.is_fault


def test_a_check_is_repeated_until_the_time_is_over():
    failures = [NotRouted("not yet", is_fault=True)] * 3

    def attempt() -> str:
        if failures:
            raise failures.pop()
        return "routed"

    assert wait_until_routed(attempt, 5, sleep=lambda _: None) == "routed"
    failures += [NotRouted("never", is_fault=True)] * 2
    with pytest.raises(NotRouted, match="never"):
        wait_until_routed(attempt, -1, sleep=lambda _: None)
