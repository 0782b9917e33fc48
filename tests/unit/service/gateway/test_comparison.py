"""What decides whether a call arrives is compared and repaired; a refused registration changes nothing."""

import copy
from dataclasses import replace

import pytest

from service.gateway import KongGatewayRegistrator, RegistrationException
from service.gateway.definition import Definition, Plugin
from tests.fakes.kong.fake_kong import FakeKong, running
from tests.fakes.kong.fake_proxy import FakeProxy

LIMIT = Plugin("rate-limiting", {"enabled": True, "config": {"minute": 60, "hour": 200, "policy": "local"}})
JWT = Plugin("jwt", {"config": {"key_claim_name": "kid"}})


@pytest.fixture(params=["3.9.3", "2.8.5"])
def kong(request):
    with running(FakeKong(request.param)) as gateway:
        yield gateway


def definition(**changes) -> Definition:
    return replace(Definition("loaner", ("/loaner",), "127.0.0.1", 9), **changes)


def registrator(kong: FakeKong) -> KongGatewayRegistrator:
    return KongGatewayRegistrator(kong.url, 2)


def reconcile(kong: FakeKong, declared: Definition, **options) -> list[str]:
    return [f"{change.action} {change.what}" for change in registrator(kong).reconcile(declared, **options)]


def state_of(kong: FakeKong) -> object:
    return copy.deepcopy((kong.entities, kong.targets, kong.jwt_keys))


@pytest.mark.parametrize(
    ("what", "fields"),
    [
        ("service", {"enabled": False}),
        ("service", {"path": "/elsewhere"}),
        ("service", {"protocol": "https"}),
        ("service", {"host": "elsewhere"}),
        ("service", {"port": 1}),
        ("route", {"methods": ["POST"]}),
        ("route", {"hosts": ["api.example"]}),
        ("route", {"headers": {"x-group": ["a"]}}),
        ("route", {"snis": ["api.example"]}),
        ("route", {"paths": ["/elsewhere"]}),
        ("route", {"protocols": ["https"]}),
        ("route", {"strip_path": False}),
        ("route", {"preserve_host": True}),
    ],
)
def test_each_field_that_keeps_calls_away_is_named_and_repaired(kong, what, fields):
    reconcile(kong, definition())
    entities = kong.services if what == "service" else kong.routes
    before = copy.deepcopy(entities["loaner"])
    entities["loaner"] |= fields
    state = registrator(kong).inspect(definition())
    assert [(change.what, set(change.fields)) for change in state.changes] == [(f"{what} loaner", set(fields))]
    assert reconcile(kong, definition()) == [f"change {what} loaner"]
    changed = {name for name, value in entities["loaner"].items() if value != before[name]}
    assert changed <= {"updated_at"}


def test_a_call_arrives_again_after_the_repair(kong):
    reconcile(kong, definition())
    with FakeProxy(kong) as proxy:
        assert proxy.call("GET", "/loaner/x")[0] == 502  # it is routed, and nothing listens
        kong.services["loaner"]["enabled"] = False
        assert proxy.call("GET", "/loaner/x")[0] == 404
        reconcile(kong, definition())
        assert proxy.call("GET", "/loaner/x")[0] == 502


def test_fields_of_operators_are_kept_and_named(kong):
    reconcile(kong, definition())
    kong.services["loaner"] |= {"retries": 0, "read_timeout": 5000}
    kong.routes["loaner"] |= {"request_buffering": False}
    state = registrator(kong).inspect(definition())
    assert state.changes == []
    assert state.kept == [
        "service loaner: retries 0",
        "service loaner: read_timeout 5000",
        "route loaner: request_buffering False",
    ]
    before = state_of(kong)
    assert reconcile(kong, definition()) == []
    assert state_of(kong) == before


def test_an_untouched_registration_has_no_kept_fields(kong):
    reconcile(kong, definition(health_path="/ready", plugins=[LIMIT]))
    state = registrator(kong).inspect(definition(health_path="/ready", plugins=[LIMIT]))
    assert (state.changes, state.kept, state.is_missing) == ([], [], False)


def test_a_missing_or_disabled_service_and_a_missing_route_count_as_missing(kong):
    assert registrator(kong).inspect(definition()).is_missing
    reconcile(kong, definition())
    kong.services["loaner"]["enabled"] = False
    assert registrator(kong).inspect(definition()).is_missing
    reconcile(kong, definition())
    del kong.routes["loaner"]
    assert registrator(kong).inspect(definition()).is_missing


@pytest.mark.parametrize("adds_plugins", [False, True])
def test_a_foreign_route_is_found_before_the_first_write(kong, adds_plugins):
    kong.answer("PUT", "/services/other", {"host": "other"})
    kong.answer("PUT", "/routes/loaner", {"paths": ["/x"], "service": {"id": kong.services["other"]["id"]}})
    before = state_of(kong)
    with pytest.raises(RegistrationException, match="route loaner belongs to another owner"):
        reconcile(kong, definition(plugins=[LIMIT] if adds_plugins else None))
    assert (state_of(kong), kong.writes) == (before, [])


def test_a_foreign_plugin_consumer_or_key_is_found_before_the_first_write(kong):
    keys = {"loaner-1": ("RS256", "PEM")}
    reconcile(kong, definition(plugins=[LIMIT, JWT], jwt_keys=keys))
    limit = next(p for p in kong.entities["plugins"].values() if p["name"] == "rate-limiting")
    changed = definition(paths=("/y",), plugins=[replace(LIMIT, fields={"config": {"minute": 1}}), JWT],
                         jwt_keys={"loaner-1": ("RS256", "PEM 2")})  # fmt: skip
    for entity in (limit, kong.entities["consumers"]["loaner"], kong.jwt_keys["loaner-1"]):
        tags, entity["tags"] = entity["tags"], ["theirs"]
        before, writes = state_of(kong), len(kong.writes)
        with pytest.raises(RegistrationException, match="belongs to another owner"):
            reconcile(kong, changed)
        assert (state_of(kong), kong.writes[writes:]) == (before, [])
        entity["tags"] = tags


@pytest.mark.parametrize("plugin", [Plugin("rate-limitin", {}), Plugin("cors", {"config": {"orgins": ["*"]}})])
@pytest.mark.parametrize("can_validate", [True, False])
def test_a_refused_plugin_changes_nothing(kong, plugin, can_validate):
    reconcile(kong, definition(plugins=[LIMIT]))
    if not can_validate:  # as before Kong 2.0: the plugin itself is refused, and what came before is undone
        answer = kong.answer
        kong.answer = lambda method, path, body: (
            (404, {"message": "Not found"}) if path.startswith("/schemas") else answer(method, path, body)
        )
    before, writes = state_of(kong), len(kong.writes)
    mistaken = definition(host="elsewhere", paths=("/y",), plugins=[replace(LIMIT, fields={"config": {}}), plugin])
    with pytest.raises(RegistrationException, match="answered 400: schema violation"):
        reconcile(kong, mistaken)
    if can_validate:
        assert kong.writes[writes:] == []
        with pytest.raises(RegistrationException, match="schema violation"):
            reconcile(kong, mistaken, dry_run=True)
    after = state_of(kong)
    for entities in (*before[0].values(), *after[0].values()):
        for entity in entities.values():
            entity.pop("updated_at", None)
    assert after == before
    # so the instances that declared it go on repairing
    kong.routes["loaner"]["paths"] = ["/elsewhere"]
    declared = definition(plugins=[LIMIT])
    assert reconcile(kong, declared, own_declarations={declared.declaration_tag}) == ["change route loaner"]


def test_a_refused_first_registration_leaves_nothing(kong):
    answer = kong.answer
    kong.answer = lambda method, path, body: (
        (404, {"message": "Not found"}) if path.startswith("/schemas") else answer(method, path, body)
    )
    with pytest.raises(RegistrationException, match="schema violation"):
        reconcile(kong, definition(health_path="/ready", plugins=[LIMIT, Plugin("rate-limitin", {})]))
    assert not any(kong.entities.values())


def test_the_mark_is_written_last(kong):
    declared = definition(health_path="/ready", plugins=[LIMIT])
    reconcile(kong, declared)
    method, path, entity = kong.writes[-1]
    assert (method, path, entity["tags"][-1]) == ("PATCH", "/services/loaner", declared.declaration_tag)
    assert all(declared.declaration_tag not in str(body) for _, _, body in kong.writes[:-1])


def test_the_route_is_created_after_the_plugins(kong):
    reconcile(kong, definition(plugins=[LIMIT]))
    paths = [path for _, path, _ in kong.writes]
    assert paths.index("/services/loaner/plugins") < paths.index("/services/loaner/routes/loaner")


def test_instances_on_different_ports_have_one_declaration_in_upstream_mode(kong):
    first, second = definition(health_path="/ready", port=5001), definition(health_path="/ready", port=5002)
    assert first.declaration_tag == second.declaration_tag
    reconcile(kong, first)
    writes = len(kong.writes)
    assert reconcile(kong, second) == []
    assert kong.writes[writes:] == []
    del kong.routes["loaner"]  # and the first one still repairs
    assert reconcile(kong, first, own_declarations={first.declaration_tag}) == ["create route loaner"]


def test_the_port_is_part_of_the_declaration_without_an_upstream():
    assert definition(port=5001).declaration_tag != definition(port=5002).declaration_tag
