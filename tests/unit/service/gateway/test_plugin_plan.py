"""A plugin's configuration on the gateway is the declared one, and nothing else; nobody fails for being second."""

import copy
import threading
from dataclasses import replace

import pytest

from service.gateway import KongGatewayRegistrator, RegistrationException
from service.gateway.definition import Definition, Plugin
from tests.fakes.kong.fake_kong import FakeKong, running

JWT = Plugin("jwt", {"config": {"key_claim_name": "kid"}})


@pytest.fixture(params=["3.9.3", "2.8.5"])
def kong(request):
    with running(FakeKong(request.param)) as gateway:
        yield gateway


def limit(**config) -> Plugin:
    return Plugin("rate-limiting", {"enabled": True, "config": {"policy": "local", **config}})


def definition(*plugins: Plugin, **changes) -> Definition:
    return replace(Definition("loaner", ("/loaner",), "loaner", 5555, plugins=plugins), **changes)


def reconcile(kong: FakeKong, declared: Definition) -> list[str]:
    changes = KongGatewayRegistrator(kong.url, 2).reconcile(declared)
    return [f"{change.action} {change.what}" for change in changes]


def found(kong: FakeKong, name: str) -> dict:
    return next(plugin for plugin in kong.entities["plugins"].values() if plugin["name"] == name)


def test_a_field_that_is_no_longer_declared_is_reset(kong):
    reconcile(kong, definition(limit(minute=60, hour=200)))
    assert "change plugin rate-limiting" in reconcile(kong, definition(limit(minute=60)))
    config = found(kong, "rate-limiting")["config"]
    assert (config["minute"], config["hour"], config["hide_client_headers"]) == (60, None, False)
    writes = len(kong.writes)
    assert reconcile(kong, definition(limit(minute=60))) == []
    assert kong.writes[writes:] == []


def test_a_list_that_is_no_longer_declared_is_reset(kong):
    restricted = Plugin("ip-restriction", {"config": {"allow": ["127.0.0.1"], "deny": ["10.0.0.1"]}})
    reconcile(kong, definition(restricted))
    reconcile(kong, definition(replace(restricted, fields={"config": {"allow": ["127.0.0.1"]}})))
    assert found(kong, "ip-restriction")["config"] == {
        "allow": ["127.0.0.1"], "deny": None, "message": None, "status": None,
    }  # fmt: skip


def test_a_default_that_was_changed_is_restored(kong):
    reconcile(kong, definition(limit(minute=60, fault_tolerant=False)))
    reconcile(kong, definition(limit(minute=60)))
    assert found(kong, "rate-limiting")["config"]["fault_tolerant"] is True


@pytest.mark.parametrize("fields", [{"hour": 5}, {"hide_client_headers": True}, {"minute": 1}])
def test_a_field_that_is_set_by_hand_is_reset_and_shown(kong, fields):
    reconcile(kong, definition(limit(minute=60)))
    before = copy.deepcopy(found(kong, "rate-limiting")["config"])
    found(kong, "rate-limiting")["config"] |= fields
    changes = KongGatewayRegistrator(kong.url, 2).reconcile(definition(limit(minute=60)), dry_run=True)
    assert [change.what for change in changes] == ["plugin rate-limiting"]
    assert all(f"'{name}': {value}" in str(changes[0]) for name, value in fields.items())
    assert reconcile(kong, definition(limit(minute=60))) == ["change plugin rate-limiting"]
    assert found(kong, "rate-limiting")["config"] == before


def test_other_fields_of_a_plugin_are_kept_when_its_configuration_is_replaced(kong):
    reconcile(kong, definition(limit(minute=60, hour=5)))
    found(kong, "rate-limiting")["protocols"] = ["https"]
    found(kong, "rate-limiting")["tags"].append("team:a")
    reconcile(kong, definition(limit(minute=60)))
    plugin = found(kong, "rate-limiting")
    assert (plugin["protocols"], "team:a" in plugin["tags"], plugin["enabled"]) == (["https"], True, True)
    assert plugin["service"] == {"id": kong.services["loaner"]["id"]}


def test_a_plugin_that_was_turned_off_is_turned_on(kong):
    reconcile(kong, definition(limit(minute=60)))
    found(kong, "rate-limiting")["enabled"] = False
    assert reconcile(kong, definition(limit(minute=60))) == ["change plugin rate-limiting"]
    assert found(kong, "rate-limiting")["enabled"] is True


def faster(kong: FakeKong, declared: Definition, before: tuple[str, str]):
    """Let another instance register completely just before a certain request of this one."""
    answer, done = kong.answer, threading.Event()

    def raced(method, path, body):
        if (method, path) == before and not done.is_set():
            done.set()
            kong.answer = answer
            reconcile(kong, declared)
        return answer(method, path, body)

    kong.answer = raced
    return done


@pytest.mark.parametrize("path", ["/services/loaner/plugins", "/consumers/loaner/jwt"])
def test_an_instance_that_was_slower_does_not_fail(kong, path):
    declared = definition(limit(minute=60), JWT, jwt_keys={"loaner-1": ("RS256", "PEM")})
    overtaken = faster(kong, declared, ("POST", path))
    reconcile(kong, declared)
    assert overtaken.is_set()
    assert len(kong.entities["plugins"]) == 2
    assert list(kong.jwt_keys) == ["loaner-1"]
    assert reconcile(kong, declared) == []


def test_a_key_id_of_another_consumer_is_an_error_that_changes_nothing(kong):
    kong.answer("PUT", "/consumers/theirs", {})
    kong.answer("POST", "/consumers/theirs/jwt", {"key": "loaner-1"})
    with pytest.raises(RegistrationException, match="another consumer has a jwt key with the id loaner-1"):
        reconcile(kong, definition(JWT, jwt_keys={"loaner-1": ("RS256", "PEM")}))
    assert (kong.services, kong.routes, kong.entities["plugins"]) == ({}, {}, {})
    assert list(kong.jwt_keys) == ["loaner-1"]


def test_a_changed_key_is_never_missing(kong):
    first = definition(JWT, jwt_keys={"a": ("RS256", "1"), "b": ("RS256", "1")})
    reconcile(kong, first)
    seen: list[set[str]] = []
    answer = kong.answer

    def watched(method, path, body):
        reply = answer(method, path, body)
        seen.append(set(kong.jwt_keys))
        return reply

    kong.answer = watched
    reconcile(kong, replace(first, jwt_keys={"b": ("RS256", "2"), "c": ("RS256", "3")}))
    assert all("b" in keys for keys in seen)
    assert [keys for keys in seen if not keys & {"a", "c"}] == []  # the new key is there before the old one goes
    assert {kid: key["rsa_public_key"] for kid, key in kong.jwt_keys.items()} == {"b": "2", "c": "3"}
