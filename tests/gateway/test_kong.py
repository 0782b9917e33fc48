"""Registration with Kong 3: idempotent, bounded, and never at somebody else's cost."""

import re
import socket
import threading
import time

import pytest

from microkubes.gateway import KongGatewayRegistrator, RegistrationException, Registrator
from tests.gateway.stand_in import StandInKong, running

LOANER = {"name": "loaner", "paths": ["/loaner"], "host": "loaner.service.consul", "port": 5555}
DOWN = (500, b'{"message":"An unexpected error occurred"}', "application/json")


@pytest.fixture
def kong():
    with running(StandInKong()) as gateway:
        yield gateway


def register(kong: StandInKong, patience_s: float = 5, **changes) -> None:
    KongGatewayRegistrator(kong.url, patience_s).register(**{**LOANER, **changes})


def test_a_first_start_makes_a_service_and_a_route(kong):
    register(kong)
    service, route = kong.services["loaner"], kong.routes["loaner"]
    assert (service["host"], service["port"], service["protocol"]) == ("loaner.service.consul", 5555, "http")
    assert (route["paths"], route["strip_path"], route["service"]["id"]) == (["/loaner"], True, service["id"])
    assert service["tags"] == route["tags"] == ["managed-by:loaner", "service:loaner"]


def test_a_second_start_leaves_everything_as_it_is(kong):
    register(kong)
    before = (dict(kong.services), dict(kong.routes))
    register(kong)
    assert (kong.services, kong.routes) == before


def test_a_changed_path_is_brought_up_to_date(kong):
    register(kong)
    register(kong, paths=["/loans"])
    assert kong.routes["loaner"]["paths"] == ["/loans"]


def test_a_route_of_somebody_else_is_never_taken(kong):
    kong.answer("PUT", "/services/other", {"host": "other"})
    kong.answer("PUT", "/services/other/routes/loaner", {"paths": ["/x"]})
    with pytest.raises(RegistrationException, match="the route loaner belongs to another service"):
        register(kong)
    assert kong.routes["loaner"]["paths"] == ["/x"]


def test_a_service_of_somebody_else_is_never_taken(kong):
    kong.answer("PUT", "/services/loaner", {"host": "theirs", "tags": ["managed-by:them"]})
    with pytest.raises(RegistrationException, match=r"not ours.*managed-by:them"):
        register(kong)
    assert kong.services["loaner"]["host"] == "theirs"


def test_a_route_of_somebody_else_under_our_service_is_never_taken(kong):
    register(kong)
    kong.routes["loaner"]["tags"] = ["managed-by:them"]
    with pytest.raises(RegistrationException, match="a route named loaner exists and is not ours"):
        register(kong, paths=["/x"])
    assert kong.routes["loaner"]["paths"] == ["/loaner"]


@pytest.mark.parametrize("entity", [b'{"configuration":"x"}', b'{"id":1,"tags":7}', b'{"tags":{"a":1}}'])
def test_entities_of_another_shape_are_refused_and_no_fault(kong, entity):
    kong.fail = [(200, entity, "application/json")] * 9
    with pytest.raises(RegistrationException, match="not ours"):
        register(kong)


def test_a_gateway_that_drips_is_given_up_within_the_bound():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            try:
                peers.append(server.accept()[0])
                peers[0].sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                while True:
                    peers[0].sendall(b" ")
                    time.sleep(0.1)
            except OSError:
                return
            finally:
                if peers:
                    peers[0].close()

        peers: list[socket.socket] = []
        thread = threading.Thread(target=drip)
        thread.start()
        begun = time.monotonic()
        try:
            with pytest.raises(RegistrationException, match="too long"):
                KongGatewayRegistrator(f"http://127.0.0.1:{server.getsockname()[1]}", 1).register(**LOANER)
            assert time.monotonic() - begun < 6
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_gateway_that_floods_is_refused(kong):
    kong.fail = [(200, b" " * 1_100_000, "application/json")]
    with pytest.raises(RegistrationException, match="more than 1000000 bytes"):
        register(kong)


def test_a_gateway_without_a_database_is_refused_by_its_name():
    with running(StandInKong(database="off")) as kong:
        with pytest.raises(RegistrationException, match="DB-less"):
            register(kong)
        assert kong.writes == []


def test_a_gateway_that_comes_back_is_waited_for(kong):
    kong.fail = [DOWN, DOWN]
    register(kong)
    assert "loaner" in kong.routes


def test_a_gateway_that_stays_down_is_given_up_within_the_bound(kong):
    kong.fail = [DOWN] * 1000
    begun = time.monotonic()
    with pytest.raises(RegistrationException, match="answered 500: An unexpected error occurred"):
        register(kong, patience_s=1)
    assert time.monotonic() - begun < 4


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ((400, b'{"message":"schema violation"}', "application/json"), "answered 400: schema violation"),
        ((401, b'{"message":"No API key found in request"}', "application/json"), "answered 401: No API key"),
        ((403, b"{}", "application/json"), "answered 403: no message"),
        ((200, b"<html>hello</html>", "text/html"), "no JSON object"),
        ((200, b"[1]", "application/json"), "no JSON object"),
        ((302, b"", "text/html"), "answered 302"),
        ((415, b"<html>", "text/html"), "answered 415"),
    ],
)
def test_a_reply_that_will_not_get_better_fails_at_once(kong, reply, said):
    kong.fail = [reply]
    with pytest.raises(RegistrationException, match=said):
        register(kong)
    assert len(kong.requests) == 1


def test_an_address_where_nobody_listens_is_named():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(RegistrationException, match=f"{re.escape(url)}/: connection refused"):
        KongGatewayRegistrator(url, 0.5).register(**LOANER)


def test_a_failure_has_the_name_that_services_know(kong):
    kong.fail = [DOWN] * 99
    with pytest.raises(RegistrationException) as caught:
        register(kong, patience_s=0.1)
    assert type(caught.value) is RegistrationException


def test_a_gateway_that_closes_the_connection_is_given_up_within_the_bound():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            while True:
                try:
                    server.accept()[0].close()
                except OSError:
                    return

        thread = threading.Thread(target=hang_up)
        thread.start()
        try:
            with pytest.raises(RegistrationException, match=r"127\.0\.0\.1"):
                KongGatewayRegistrator(f"http://127.0.0.1:{server.getsockname()[1]}", 0.5).register(**LOANER)
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_gateway_that_never_answers_is_given_up_within_the_bound():
    with socket.create_server(("127.0.0.1", 0)) as server:
        begun = time.monotonic()
        with pytest.raises(RegistrationException, match="timed out"):
            KongGatewayRegistrator(f"http://127.0.0.1:{server.getsockname()[1]}", 1).register(**LOANER)
        assert time.monotonic() - begun < 5


@pytest.mark.parametrize("missing", ["name", "paths", "host"])
def test_what_is_missing_is_named(missing):
    with pytest.raises(ValueError, match=missing):
        KongGatewayRegistrator("http://127.0.0.1:1").register(**{**LOANER, missing: None})


@pytest.mark.parametrize(("changes", "said"), [({"paths": "/x"}, "as a list"), ({"port": "abc"}, "port as a number")])
def test_what_is_of_another_kind_is_named(changes, said):
    with pytest.raises(ValueError, match=said):
        KongGatewayRegistrator("http://127.0.0.1:1").register(**{**LOANER, **changes})


def test_a_registrator_without_a_gateway_says_so():
    with pytest.raises(TypeError, match="Registrator"):
        Registrator("http://127.0.0.1:1").register(**LOANER)
