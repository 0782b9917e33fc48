"""Routes of other services with an overlapping path are named, and those that take calls are distinguished."""

import pytest

from service.gateway import KongGatewayRegistrator
from service.gateway.definition import Definition
from tests.fakes.kong.fake_kong import FakeKong, running
from tests.fakes.kong.fake_proxy import FakeProxy

LOANER = Definition("loaner", ("/loaner",), "127.0.0.1", 9)


@pytest.fixture
def kong():
    with running(FakeKong()) as gateway:
        yield gateway


def add(kong: FakeKong, **route) -> None:
    kong.answer("PUT", "/services/stranger", {"host": "127.0.0.1", "port": 8})
    kong.answer("PUT", "/services/stranger/routes/stranger", {"paths": ["/loaner"], **route})


def competitors(kong: FakeKong) -> list[str]:
    return list(map(str, KongGatewayRegistrator(kong.url, 2).competitors(LOANER)))


def test_an_older_route_with_the_same_path_takes_calls(kong):
    add(kong)
    KongGatewayRegistrator(kong.url, 2).reconcile(LOANER)
    assert competitors(kong) == [
        "the route stranger of the service stranger with the path /loaner takes calls for this service"
    ]
    with FakeProxy(kong) as proxy:
        assert proxy._route("GET", "/loaner/x", {})[1]["name"] == "stranger"


def test_a_newer_route_with_the_same_path_is_named(kong):
    KongGatewayRegistrator(kong.url, 2).reconcile(LOANER)
    add(kong)
    [named] = KongGatewayRegistrator(kong.url, 2).competitors(LOANER)
    assert (named.takes_calls, "is newer" in str(named)) == (False, True)


@pytest.mark.parametrize("path", ["/loaner/healthcheck", "/loaner/", "/loanerfoo", "~/loan.*", "~/(loaner|x)/[0-9]+"])
def test_a_more_specific_path_takes_calls_even_if_it_is_newer(kong, path):
    KongGatewayRegistrator(kong.url, 2).reconcile(LOANER)
    add(kong, paths=["/other", path])
    [named] = KongGatewayRegistrator(kong.url, 2).competitors(LOANER)
    assert named.path == path
    assert named.takes_calls == (path != "/loaner/")  # the same path but for its end


@pytest.mark.parametrize("route", [{"hosts": ["api.example"]}, {"methods": ["POST"]}, {"headers": {"x-group": ["a"]}}])
@pytest.mark.parametrize("paths", [["/loaner"], ["/loan"]])
def test_a_route_with_more_criteria_is_named_with_them(kong, route, paths):
    KongGatewayRegistrator(kong.url, 2).reconcile(LOANER)
    add(kong, paths=paths, **route)
    [named] = KongGatewayRegistrator(kong.url, 2).competitors(LOANER)
    assert not named.takes_calls
    assert f"takes calls for this service with {next(iter(route))} " in str(named)


@pytest.mark.parametrize("paths", [["/"], ["/other"], ["/loa"], ["~/other"]])
def test_a_route_that_steps_back_is_not_named(kong, paths):
    KongGatewayRegistrator(kong.url, 2).reconcile(LOANER)
    add(kong, paths=paths)
    assert competitors(kong) == []


def test_a_route_of_a_disabled_service_is_not_named(kong):
    add(kong)
    kong.services["stranger"]["enabled"] = False
    KongGatewayRegistrator(kong.url, 2).reconcile(LOANER)
    assert competitors(kong) == []


def test_the_paths_of_older_gateways_are_regular_expressions_by_their_syntax():
    with running(FakeKong("2.8.5")) as kong:
        KongGatewayRegistrator(kong.url, 2).reconcile(LOANER)
        add(kong, paths=["/loan.r", "/x"])
        assert competitors(kong) == []
        add(kong, paths=["/loan[a-z]+"])
        assert "path /loan[a-z]+ takes calls" in str(competitors(kong))


def test_apis_of_the_oldest_gateways_are_compared():
    with running(FakeKong("0.14.1")) as kong:
        kong.answer("POST", "/apis/", {"name": "stranger", "uris": "/loaner", "upstream_url": "http://theirs:1"})
        KongGatewayRegistrator(kong.url, 2).reconcile(LOANER)
        assert competitors(kong) == [
            "the route stranger of the service stranger with the path /loaner takes calls for this service"
        ]


def test_a_token_that_may_not_read_other_routes_does_not_stop_the_registration(kong, caplog):
    answer = kong.answer
    kong.answer = lambda method, path, body: (
        (403, {"message": "forbidden"}) if path.startswith("/routes?") else answer(method, path, body)
    )
    KongGatewayRegistrator(kong.url, 2).declare(LOANER)
    assert "loaner" in kong.routes
    assert "the routes of other services cannot be compared: GET" in caplog.text


def test_all_pages_of_routes_are_read(kong):
    add(kong)
    pages = {
        "/routes?size=500": {"data": [], "next": "/routes?offset=1&size=500"},
        "/routes?offset=1&size=500": kong.answer("GET", "/routes", None)[1],
    }
    answer = kong.answer
    kong.answer = lambda method, path, body: (200, pages[path]) if path in pages else answer(method, path, body)
    assert len(competitors(kong)) == 1


def test_pages_of_the_oldest_gateways_are_urls():
    """Their host need not be the one by which the gateway is reached."""
    with running(FakeKong("0.14.1")) as kong:
        kong.answer("POST", "/apis/", {"name": "stranger", "uris": "/loaner", "upstream_url": "http://theirs:1"})
        second = kong.answer("GET", "/apis", None)[1]
        pages = {
            "/apis?size=100": {"data": [], "next": "http://elsewhere/apis?size=100&offset=a%2Fb", "offset": "a/b"},
            "/apis?size=100&offset=a%2Fb": second,
        }
        answer = kong.answer
        kong.answer = lambda method, path, body: (200, pages[path]) if path in pages else answer(method, path, body)
        assert len(competitors(kong)) == 1


def test_a_registration_names_them_in_the_log(kong, caplog):
    add(kong)
    KongGatewayRegistrator(kong.url, 2).declare(LOANER)
    assert f"{kong.url}: the route stranger of the service stranger" in caplog.text
