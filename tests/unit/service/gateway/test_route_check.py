"""The gateway is asked for the service's name only once the name is known."""

import logging
import threading
import time

import pytest

from service.gateway.definition import Definition
from service.gateway.identity import Identity
from service.gateway.instance import Instance, Timing
from service.gateway.kong import KongGatewayRegistrator
from service.gateway.registrator import RegistrationException
from service.gateway.route_check import RouteCheck, resolves
from tests.fakes.kong.fake_kong import FakeKong, running

DECLARED = Definition("loaner", ("/loaner",), "loaner.service.consul", 5555)


def test_no_request_is_sent_for_a_name_that_is_not_known():
    asked, known = [], []
    check = RouteCheck("loaner.service.consul", lambda: bool(known), lambda: str(asked.append(1)))
    with pytest.raises(RegistrationException, match=r"loaner\.service\.consul is not known yet"):
        check()
    assert not asked
    known.append(1)
    check()
    assert asked


def test_a_name_without_an_address_does_not_resolve():
    assert resolves("127.0.0.1")
    assert resolves("localhost")
    assert not resolves("loaner.invalid")
    assert not resolves("x" * 64 + ".invalid")


def test_an_instance_is_registered_as_declared_only_once_it_is_routed(caplog):
    failures, states, routed = [RegistrationException("not yet")] * 2, [], threading.Event()

    def check() -> str:
        if failures:
            raise failures.pop()
        routed.set()
        return "the gateway routes to this service"

    with running(FakeKong()) as kong, caplog.at_level(logging.INFO):
        registrator = KongGatewayRegistrator(kong.url, 5)
        registrator.declare(DECLARED)
        instance = Instance(
            registrator, lambda: DECLARED, "127.0.0.1", 1, lambda: True, Timing(600), Identity("loaner", list, "i1"),
            on_state=states.append, check_route=check,
        )  # fmt: skip
        started_at = time.monotonic()
        instance.start()
        assert routed.wait(20)
        assert time.monotonic() - started_at < 20  # and not after an interval of 600 s
        instance.deregister()
    assert states[:3] == [False, False, True]
    assert caplog.text.count("not yet") == 1
    assert "the gateway routes to this service" in caplog.text
