"""Registration with Kong in all of its dialects."""

import json
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace

import pytest

from microkubes.gateway import KongGatewayRegistrator, RegistrationException, Registrator
from service.gateway.admin_api import Access
from service.gateway.definition import Definition, Plugin
from service.gateway.version import parse_gateway_version
from tests.conftest import ROOT
from tests.fakes.certificates import write_certificate
from tests.fakes.clocks import Clock
from tests.fakes.kong.fake_kong import FakeKong, running
from tests.support.ports import free_port

LOANER = {"name": "loaner", "paths": ["/loaner"], "host": "loaner.service.consul", "port": 5555}
DOWN = (500, b'{"message":"An unexpected error occurred"}', "application/json")


VERSIONS = ["3.9.3", "2.8.5", "1.2.0", "1.0.4", "0.14.1"]  # 1.x is simulated by 2.8.5 without later features


@pytest.fixture
def kong():
    with running(FakeKong()) as gateway:
        yield gateway


@pytest.fixture(params=VERSIONS)
def any_kong(request):
    with running(FakeKong(request.param)) as gateway:
        yield gateway


def register(kong: FakeKong, timeout_s: float = 5, **changes) -> None:
    KongGatewayRegistrator(kong.url, timeout_s).register(**{**LOANER, **changes})


def definition(**changes) -> Definition:
    return replace(Definition("loaner", ("/loaner",), "loaner.service.consul", 5555), **changes)


def reconcile(kong: FakeKong, declared: Definition, **options) -> list[str]:
    changes = KongGatewayRegistrator(kong.url, 5).reconcile(declared, **options)
    return [f"{change.action} {change.what}" for change in changes]


def paths(kong: FakeKong) -> list[str]:
    return kong.entities["apis"]["loaner"]["uris"] if kong.legacy else kong.routes["loaner"]["paths"]


def test_the_first_start_creates_the_service_and_its_route(any_kong):
    register(any_kong)
    assert paths(any_kong) == ["/loaner"]
    if any_kong.legacy:
        api = any_kong.entities["apis"]["loaner"]
        assert (api["upstream_url"], api["strip_uri"]) == ("http://loaner.service.consul:5555", True)
        return
    service, route = any_kong.services["loaner"], any_kong.routes["loaner"]
    assert (service["host"], service["port"], service["protocol"]) == ("loaner.service.consul", 5555, "http")
    assert (route["strip_path"], route["preserve_host"]) == (True, False)
    assert route["service"]["id"] == service["id"]
    if any_kong.version == "1.0.4":
        assert service.get("tags") is route.get("tags") is None
    else:
        assert route["tags"] == ["managed-by:loaner", "service:loaner"]
        assert service["tags"] == [*route["tags"], definition().declaration_tag]


def test_a_second_start_writes_nothing(any_kong):
    register(any_kong)
    before = len(any_kong.writes)
    assert before > 0
    register(any_kong)
    assert any_kong.writes[before:] == []


def test_only_changed_paths_are_written(any_kong):
    register(any_kong)
    before = len(any_kong.writes)
    register(any_kong, paths=["/loans", "/balances"])
    assert paths(any_kong) == ["/loans", "/balances"]
    written = any_kong.writes[before:]
    assert {method for method, _, _ in written} == {"PATCH"}
    declaration_tags = [] if any_kong.legacy or any_kong.version == "1.0.4" else [{"tags"}]
    assert [set(entity) for _, _, entity in written] == [{"uris"} if any_kong.legacy else {"paths"}, *declaration_tags]


def test_an_entity_of_another_owner_is_rejected_and_its_owner_named(any_kong):
    if any_kong.legacy:
        any_kong.answer("POST", "/apis/", {"name": "loaner", "uris": "/x", "upstream_url": "http://theirs:1"})
        owner = "http://theirs:1"
    else:
        any_kong.answer("PUT", "/services/loaner", {"host": "theirs"})
        owner = "host: theirs"
    with pytest.raises(RegistrationException, match=rf"belongs to another owner \(.*{owner}\).*--adopt"):
        register(any_kong)
    assert any_kong.writes == []


def test_an_entity_of_another_owner_is_adopted_on_request(any_kong):
    if any_kong.legacy:
        any_kong.answer("POST", "/apis/", {"name": "loaner", "uris": "/x", "upstream_url": "http://theirs:1"})
    else:
        any_kong.answer("PUT", "/services/loaner", {"host": "theirs"})
    reconcile(any_kong, definition(), adopt=True)
    before = len(any_kong.writes)
    register(any_kong)
    assert any_kong.writes[before:] == []
    assert paths(any_kong) == ["/loaner"]


@pytest.mark.parametrize("version", [version for version in VERSIONS if version != "0.14.1"])
def test_a_route_of_another_owner_is_rejected(version):
    with running(FakeKong(version)) as kong:
        kong.answer("PUT", "/services/other", {"host": "other"})
        other = {"service": {"id": kong.services["other"]["id"]}}
        kong.answer("PUT", "/routes/loaner", {"paths": ["/x"], **other})
        with pytest.raises(RegistrationException, match=r"route loaner belongs to another owner.*service: "):
            register(kong)
        assert (kong.routes["loaner"]["paths"], kong.routes["loaner"]["service"]) == (["/x"], other["service"])
        reconcile(kong, definition(), adopt=True)
        assert kong.routes["loaner"]["service"] == {"id": kong.services["loaner"]["id"]}


def test_a_route_of_another_owner_under_the_own_service_is_rejected(kong):
    register(kong)
    kong.routes["loaner"]["tags"] = ["managed-by:them"]
    with pytest.raises(RegistrationException, match=r"route loaner belongs to another owner.*managed-by:them"):
        register(kong, paths=["/x"])
    assert kong.routes["loaner"]["paths"] == ["/loaner"]


def test_fields_and_tags_that_are_not_declared_are_kept(kong):
    register(kong)
    kong.services["loaner"] |= {"read_timeout": 5, "tags": [*kong.services["loaner"]["tags"], "team:a"]}
    register(kong, host="elsewhere")
    service = kong.services["loaner"]
    assert (service["host"], service["read_timeout"]) == ("elsewhere", 5)
    assert "team:a" in service["tags"]
    kong.services["loaner"]["tags"].remove("service:loaner")
    register(kong, host="elsewhere")
    declaration_tag = definition(host="elsewhere").declaration_tag
    assert sorted(kong.services["loaner"]["tags"]) == sorted(
        ["managed-by:loaner", "team:a", "service:loaner", declaration_tag]
    )


@pytest.mark.parametrize(
    ("version", "written"), [("3.9.3", "~/loans/\\d+"), ("2.8.5", "/loans/\\d+"), ("1.0.4", "/loans/\\d+")]
)
def test_a_regular_expression_is_written_in_the_notation_of_the_gateway(version, written):
    with running(FakeKong(version)) as kong:
        register(kong, paths=["~/loans/\\d+"])
        assert paths(kong) == [written]


def test_a_regular_expression_is_rejected_by_a_gateway_without_them():
    with running(FakeKong("0.14.1")) as kong:
        with pytest.raises(RegistrationException, match=r"Kong 0\.14\.1\) does not support regular expressions"):
            register(kong, paths=["~/x"])
        assert kong.writes == []


@pytest.mark.parametrize(
    "version",
    ["3.9.3.1", "3.4.3.12-enterprise-edition", "3.10.0", "2.8.5", "1.5.1", "1.1.0", "0.13.1", "10.0.0-rc.1"]
    + ["3." + "9" * 5000],
)
def test_every_spelling_of_a_version_is_understood(version):
    number = parse_gateway_version({"version": version, "configuration": {}}, "").number
    assert number[0] == int(version.split(".")[0])


@pytest.mark.parametrize("node", [{}, {"version": "3"}, {"version": 3}, {"version": "3.9.3"}, {"version": None}])
def test_a_server_without_a_version_is_rejected(kong, node):
    kong.fail = [(200, json.dumps(node).encode(), "application/json")]
    with pytest.raises(RegistrationException, match="is this Kong's Admin API"):
        register(kong)


def test_a_data_plane_is_rejected():
    with pytest.raises(RegistrationException, match="control plane"):
        parse_gateway_version({"version": "3.9.3", "configuration": {"role": "data_plane"}}, "http://kong")


def test_a_gateway_without_a_database_is_rejected():
    with running(FakeKong(database="off")) as kong:
        with pytest.raises(RegistrationException, match="DB-less"):
            register(kong)
        assert kong.writes == []


def test_a_dry_run_returns_changes_and_writes_nothing(any_kong):
    changes = KongGatewayRegistrator(any_kong.url, 5).reconcile(definition(), dry_run=True)
    assert any_kong.writes == []
    assert all(str(change).startswith("+ ") for change in changes)
    register(any_kong)
    before = len(any_kong.writes)
    changes = KongGatewayRegistrator(any_kong.url, 5).reconcile(definition(paths=("/x",)), dry_run=True)
    assert "['/loaner'] -> ['/x']" in str(changes[0])
    assert any_kong.writes[before:] == []


def test_unregistering_removes_all_own_entities(any_kong):
    register(any_kong)
    registrator = KongGatewayRegistrator(any_kong.url, 5)
    assert registrator.unregister(definition(), dry_run=True) != []
    assert paths(any_kong) == ["/loaner"]
    registrator.unregister(definition())
    assert not any_kong.services
    assert not any_kong.routes
    assert not any_kong.entities["apis"]
    assert registrator.unregister(definition()) == []


def test_unregistering_rejects_an_entity_of_another_owner(kong):
    kong.answer("PUT", "/services/loaner", {"host": "theirs"})
    with pytest.raises(RegistrationException, match="belongs to another owner"):
        KongGatewayRegistrator(kong.url, 5).unregister(definition())
    assert "loaner" in kong.services


@pytest.mark.parametrize("version", ["3.9.3", "2.8.5"])
def test_targets_are_added_to_and_removed_from_an_upstream(version):
    with running(FakeKong(version)) as kong:
        declared, registrator = definition(health_path="/ready"), KongGatewayRegistrator(kong.url, 5)
        assert reconcile(kong, declared) == ["create upstream loaner.upstream", "create service loaner",
                                           "create route loaner"]  # fmt: skip
        assert reconcile(kong, declared) == []
        upstream = kong.entities["upstreams"]["loaner.upstream"]
        assert upstream["healthchecks"]["active"]["http_path"] == "/ready"
        assert upstream["healthchecks"]["active"]["timeout"] == 1  # not declared
        assert kong.services["loaner"]["host"] == "loaner.upstream"
        for target in ("10.0.0.1:5555", "[::1]:5555"):
            assert registrator.add_target(declared, target, "i1")
            before = len(kong.writes)
            assert not registrator.add_target(declared, target, "i1")
            assert kong.writes[before:] == []
        health = "unknown health" if version == "3.9.3" else "HEALTHY"
        shown = [f"10.0.0.1:5555 {health}, instance i1", f"[::1]:5555 {health}, instance i1"]
        assert list(map(str, registrator.targets(declared))) == shown
        first = registrator.targets(declared)[0]
        registrator.remove_target(declared, first)
        registrator.remove_target(declared, first)  # gone already
        assert list(kong.targets["loaner.upstream"]) == ["[::1]:5555"]
        registrator.unregister(declared)
        assert not kong.entities["upstreams"]


LIMIT = Plugin("rate-limiting", {"config": {"minute": 600, "policy": "local"}})
CORRELATION = Plugin("correlation-id", {"config": {"header_name": "X-Request-ID"}})


@pytest.mark.parametrize("version", ["3.9.3", "2.8.5"])
def test_plugins_are_created_changed_and_removed_as_declared(version):
    with running(FakeKong(version)) as kong:
        assert "create plugin rate-limiting" in reconcile(kong, definition(plugins=[LIMIT, CORRELATION]))
        assert reconcile(kong, definition(plugins=[LIMIT, CORRELATION])) == []
        limit = next(p for p in kong.entities["plugins"].values() if p["name"] == "rate-limiting")
        assert limit["config"]["hide_client_headers"] is False  # not declared
        stricter = Plugin("rate-limiting", {"config": {"minute": 60, "policy": "local"}})
        assert reconcile(kong, definition(plugins=[stricter])) == [
            "change plugin rate-limiting", "remove plugin correlation-id", "change declaration of service loaner",
        ]  # fmt: skip
        [limit] = kong.entities["plugins"].values()
        assert (limit["config"]["minute"], limit["config"]["hide_client_headers"]) == (60, False)
        assert reconcile(kong, definition()) == ["change declaration of service loaner"]  # undeclared plugins are kept
        limit["tags"] = None
        with pytest.raises(RegistrationException, match="plugin rate-limiting belongs to another owner"):
            reconcile(kong, definition(plugins=[LIMIT]))


JWT = Plugin("jwt", {"config": {"key_claim_name": "kid"}})


def test_public_keys_are_registered_for_the_jwt_plugin(kong):
    keys = {"loaner-1": ("RS256", "PEM 1"), "loaner-2": ("ES256", "PEM 2")}
    declared = definition(plugins=[JWT], jwt_keys=keys)
    reconcile(kong, declared)
    assert {k: (v["algorithm"], v["rsa_public_key"]) for k, v in kong.jwt_keys.items()} == keys
    assert reconcile(kong, declared) == []
    replaced = {"loaner-2": ("ES256", "PEM 3")}
    assert reconcile(kong, replace(declared, jwt_keys=replaced)) == [
        "change jwt key loaner-2",
        "remove jwt key loaner-1",
    ]
    assert {k: v["rsa_public_key"] for k, v in kong.jwt_keys.items()} == {"loaner-2": "PEM 3"}
    kong.jwt_keys["loaner-2"]["tags"] = None
    with pytest.raises(RegistrationException, match="jwt key loaner-2 belongs to another owner"):
        reconcile(kong, declared)
    assert "remove consumer loaner" in reconcile(kong, definition(plugins=[]))


def test_secrets_in_plugin_configurations_are_not_shown(kong):
    secret = Plugin("oidc", {"config": {"client_secret": "s3cret", "redis": {"password": "s3cret", "port": 1}}})
    shown = "\n".join(map(str, KongGatewayRegistrator(kong.url, 5).reconcile(definition(plugins=[secret]))))
    assert "s3cret" not in shown
    assert "'port': 1" in shown
    next(iter(kong.entities["plugins"].values()))["config"]["client_secret"] = "0ther"
    shown = "\n".join(map(str, KongGatewayRegistrator(kong.url, 5).reconcile(definition(plugins=[secret]))))
    assert "***" in shown
    assert "0ther" not in shown


def test_two_releases_do_not_undo_each_other(kong):
    old, new = definition(), definition(paths=("/loans",))
    registrator = KongGatewayRegistrator(kong.url, 5)
    registrator.reconcile(old)
    registrator.reconcile(new)
    before = len(kong.writes)
    assert registrator.reconcile(old, own_declarations={old.declaration_tag}) == []
    assert registrator.reconcile(new, own_declarations={new.declaration_tag}) == []
    assert kong.writes[before:] == []
    kong.routes["loaner"]["paths"] = ["/elsewhere"]
    assert registrator.reconcile(old, own_declarations={old.declaration_tag}) == []
    assert [change.what for change in registrator.reconcile(new, own_declarations={new.declaration_tag})] == [
        "route loaner"
    ]
    registrator.reconcile(old)  # restarted
    assert kong.routes["loaner"]["paths"] == ["/loaner"]


def test_unregistering_removes_nothing_if_a_route_has_another_owner(kong):
    register(kong)
    theirs = {"paths": ["/theirs"], "service": {"id": kong.services["loaner"]["id"]}}
    kong.answer("PUT", "/routes/theirs", theirs)
    before = len(kong.writes)
    for dry_run in (True, False):
        with pytest.raises(
            RegistrationException,
            match="the route theirs of service loaner belongs to another owner; nothing was removed",
        ):
            KongGatewayRegistrator(kong.url, 5).unregister(definition(), dry_run=dry_run)
    assert kong.writes[before:] == []


def test_unregistering_from_a_gateway_without_tags_rejects_a_service_with_another_host():
    with running(FakeKong("1.0.4")) as kong:
        kong.answer("PUT", "/services/loaner", {"host": "other.example"})
        route = {"paths": ["/theirs"], "service": {"id": kong.services["loaner"]["id"]}}
        kong.answer("PUT", "/routes/loaner", route)
        kong.answer("PUT", "/upstreams/loaner.upstream", {})
        with pytest.raises(RegistrationException, match="belongs to another owner"):
            KongGatewayRegistrator(kong.url, 5).unregister(definition())
        assert kong.writes == []


def test_a_consumer_of_another_owner_is_kept(kong):
    kong.answer("PUT", "/consumers/loaner", {"tags": ["theirs"]})
    register(kong)
    KongGatewayRegistrator(kong.url, 5).unregister(definition())
    assert not kong.services
    assert "loaner" in kong.entities["consumers"]


@pytest.mark.parametrize("version", ["3.9.3", "1.0.4"])
def test_service_discovery_can_change_between_consul_and_upstream(version):
    with running(FakeKong(version)) as kong:
        reconcile(kong, definition(health_path="/ready"))
        reconcile(kong, definition())
        assert kong.services["loaner"]["host"] == "loaner.service.consul"
        assert ("loaner.upstream" in kong.entities["upstreams"]) == (version == "1.0.4")  # its owner is unknown
        reconcile(kong, definition(health_path="/ready"))
        assert kong.services["loaner"]["host"] == "loaner.upstream"


def test_an_entity_removed_between_reading_and_writing_is_created_again(kong):
    register(kong)
    original = kong.answer

    def answer(method, path, body):
        if (method, path) == ("PATCH", "/routes/loaner"):
            kong.routes.pop("loaner", None)
        return original(method, path, body)

    kong.answer = answer
    reconcile(kong, replace(definition(paths=("/x",)), plugins=None))
    assert kong.routes["loaner"]["paths"] == ["/x"]


@pytest.mark.parametrize("version", ["1.0.4", "0.14.1"])
def test_plugins_are_rejected_by_a_gateway_without_tags(version):
    with running(FakeKong(version)) as kong:
        with pytest.raises(RegistrationException, match=rf"Kong {version}\).*use Kong 1\.1 or later"):
            reconcile(kong, definition(plugins=[LIMIT]))
        assert kong.writes == []


def test_credentials_are_sent_with_every_request(kong):
    access = Access({"Kong-Admin-Token": "t0ken", "apikey": "k3y"})
    KongGatewayRegistrator(f"{kong.url}", 5, access).reconcile(definition())
    assert all((h["Kong-Admin-Token"], h["apikey"]) == ("t0ken", "k3y") for h in kong.headers)


@pytest.fixture
def certificate(tmp_path):
    return write_certificate(tmp_path / "gateway.pem")


def test_a_gateway_with_a_private_authority_needs_its_file(certificate):
    with running(FakeKong(), certificate=certificate) as kong:
        with pytest.raises(RegistrationException, match="the certificate is not trusted"):
            register(kong)
        KongGatewayRegistrator(kong.url, 5, Access(ca_file=str(certificate))).reconcile(definition())
        assert "loaner" in kong.routes


NGINX_400 = b"<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head></html>"


@pytest.mark.parametrize("page", [NGINX_400, b"Client sent an HTTP request to an HTTPS server.\n"])
def test_a_plain_request_to_a_port_with_tls_is_named(kong, page):
    kong.fail = [(400, page, "text/html")]
    with pytest.raises(RegistrationException, match="the port uses TLS; the URL must begin with https://"):
        register(kong)
    assert len(kong.requests) == 1


def test_a_port_with_tls_that_ends_plain_connections_is_named(certificate):
    with running(FakeKong(), certificate=certificate) as kong:
        kong.url = kong.url.replace("https:", "http:")
        with pytest.raises(RegistrationException, match="if the port uses TLS, the URL must begin with https://"):
            register(kong, timeout_s=1)


def test_a_port_without_tls_is_named(kong):
    kong.url = kong.url.replace("http:", "https:")
    with pytest.raises(RegistrationException, match="the port does not use TLS; the URL must begin with http://"):
        register(kong)


def test_a_workspace_prefixes_every_path_except_the_root(kong):
    kong.answer = lambda method, path, body, original=kong.answer: original(method, path.replace("/team/", "/"), body)
    KongGatewayRegistrator(kong.url, 5, Access(workspace="team")).reconcile(definition())
    assert kong.requests[0][1] == "/"
    assert all(path.startswith("/team/") for _, path, _ in kong.requests[1:])


def test_all_pages_are_read_up_to_a_limit(kong):
    reconcile(kong, definition(plugins=[LIMIT]))
    path = "/services/loaner/plugins"
    pages = {path: {"data": [], "next": f"{path}?offset=1"}, f"{path}?offset=1": kong.answer("GET", path, None)[1]}
    kong.answer = lambda method, path, body, original=kong.answer: (
        (200, pages[path]) if path in pages else original(method, path, body)
    )
    assert reconcile(kong, definition(plugins=[LIMIT])) == []
    pages[f"{path}?offset=1"] = pages[path]  # endless
    with pytest.raises(RegistrationException, match="more than 100 pages"):
        reconcile(kong, definition(plugins=[LIMIT]))


def test_registration_retries_until_the_database_of_the_gateway_is_back(kong):
    kong.database_up = False
    timer = threading.Timer(1.5, lambda: setattr(kong, "database_up", True))
    timer.start()
    register(kong, timeout_s=10)
    timer.join()
    assert "loaner" in kong.routes


def test_an_error_names_the_database_of_the_gateway_as_the_cause(kong):
    kong.database_up = False
    with pytest.raises(RegistrationException, match=r"answered 500.*\(the gateway cannot reach its database\)"):
        register(kong, timeout_s=0.5)


def test_registration_retries_until_a_gateway_starts_20_s_later(monkeypatch):
    port, clock, gateway = free_port(), Clock(), FakeKong()
    starts_at = clock.now + 20
    with ExitStack() as stack:

        def sleep(seconds: float) -> None:
            before, clock.now = clock.now, clock.now + seconds
            if before < starts_at <= clock.now:
                stack.enter_context(running(gateway, port))

        for module in ("service.gateway.admin_api", "security.json_client"):
            monkeypatch.setattr(f"{module}.time", SimpleNamespace(monotonic=clock, sleep=sleep))
        KongGatewayRegistrator(f"http://127.0.0.1:{port}").register(**LOANER)  # with the default timeout
        assert clock.now >= starts_at
        assert "loaner" in gateway.routes


# Starts 16 processes that register when the last of them has started.
JOIN = """
import os, sys, traceback
from service.gateway.kong import KongGatewayRegistrator
from service.gateway.definition import Definition, Plugin
url = sys.argv[1]
plugins = [Plugin("rate-limiting", {"config": {"minute": 600, "policy": "local"}})]
declared = Definition("loaner", ("/loaner",), "loaner", 5555, "/ready", plugins)
barrier, opener = os.pipe()

def join(number):
    os.close(opener)
    os.read(barrier, 1)  # ends when every process has closed the other side
    registrator = KongGatewayRegistrator(url)
    registrator.reconcile(declared)
    registrator.add_target(declared, f"10.0.0.{number}:5555", str(number))

children = []
for number in range(16):
    child = os.fork()
    if child == 0:
        try:
            join(number)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    children.append(child)
os.close(opener)
sys.exit(any([os.waitpid(child, 0)[1] for child in children]))
"""


@pytest.mark.parametrize("version", ["3.9.3", "2.8.5"])
def test_16_processes_can_register_at_the_same_time(version, report_measurement):
    with running(FakeKong(version)) as kong:
        done = subprocess.run(
            [sys.executable, "-c", JOIN, kong.url], cwd=ROOT, capture_output=True, text=True, timeout=90
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert (list(kong.services), list(kong.routes)) == (["loaner"], ["loaner"])
        assert len(kong.targets["loaner.upstream"]) == 16
        assert len(kong.entities["plugins"]) == 1
    report_measurement(
        f"16 concurrent registrations with Kong {version}: one service, one route, 16 targets, no failure, "
        f"{len(kong.writes)} writes"
    )


def test_a_response_that_arrives_byte_by_byte_times_out():
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
            with pytest.raises(RegistrationException, match="timed out"):
                KongGatewayRegistrator(f"http://127.0.0.1:{server.getsockname()[1]}", 1).register(**LOANER)
            assert time.monotonic() - begun < 6
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_response_that_is_too_large_is_rejected(kong):
    kong.fail = [(200, b" " * 1_100_000, "application/json")]
    with pytest.raises(RegistrationException, match="more than 1000000 bytes"):
        register(kong)


def test_registration_retries_after_temporary_errors(kong):
    kong.fail = [DOWN, DOWN]
    register(kong)
    assert "loaner" in kong.routes


def test_registration_fails_when_the_timeout_is_over(kong):
    kong.fail = [DOWN] * 1000
    begun = time.monotonic()
    with pytest.raises(RegistrationException, match="answered 500: An unexpected error occurred"):
        register(kong, timeout_s=1)
    assert time.monotonic() - begun < 4


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ((400, b'{"message":"schema violation"}', "application/json"), "answered 400: schema violation"),
        ((400, b'{"message":"a\\nb' + b"x" * 900_000 + b'"}', "application/json"), "answered 400: a bx{100,297}$"),
        ((401, b'{"message":"No API key found in request"}', "application/json"), "answered 401: No API key"),
        ((403, b"{}", "application/json"), "answered 403: no message"),
        ((200, b"<html>hello</html>", "text/html"), "without a JSON object"),
        ((200, b"[1]", "application/json"), "without a JSON object"),
        ((302, b"", "text/html"), "answered 302"),
        ((415, b"<html>", "text/html"), "answered 415"),
    ],
)
def test_a_permanent_error_is_not_retried(kong, reply, message):
    kong.fail = [reply]
    with pytest.raises(RegistrationException, match=message):
        register(kong)
    assert len(kong.requests) == 1


def test_an_address_without_a_server_is_named():
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(RegistrationException, match=f"{re.escape(url)}/: connection refused"):
        KongGatewayRegistrator(url, 0.5).register(**LOANER)


def test_failures_have_the_public_exception_type(kong):
    kong.fail = [DOWN] * 99
    with pytest.raises(RegistrationException) as caught:
        register(kong, timeout_s=0.1)
    assert type(caught.value) is RegistrationException


def test_closed_connections_are_retried_until_the_timeout():
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


def test_a_gateway_that_never_responds_times_out():
    with socket.create_server(("127.0.0.1", 0)) as server:
        begun = time.monotonic()
        with pytest.raises(RegistrationException, match="timed out"):
            KongGatewayRegistrator(f"http://127.0.0.1:{server.getsockname()[1]}", 1).register(**LOANER)
        assert time.monotonic() - begun < 5


@pytest.mark.parametrize("missing", ["name", "paths", "host"])
def test_a_missing_argument_is_named(missing):
    with pytest.raises(ValueError, match=missing):
        KongGatewayRegistrator("http://127.0.0.1:1").register(**{**LOANER, missing: None})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"paths": "/x"}, "as a list"),
        ({"paths": [None]}, "paths such as"),
        ({"paths": ["x"]}, "paths such as"),
        ({"port": "abc"}, "port as a number"),
        ({"port": 70000}, "from 1 to 65535"),
        ({"port": True}, "from 1 to 65535"),
        ({"name": "../status?x="}, "a name of letters"),
    ],
)
def test_a_malformed_argument_is_rejected(changes, message):
    with pytest.raises(ValueError, match=message):
        KongGatewayRegistrator("http://127.0.0.1:1").register(**{**LOANER, **changes})


def test_the_base_class_does_not_register():
    with pytest.raises(TypeError, match="Registrator"):
        Registrator("http://127.0.0.1:1").register(**LOANER)
